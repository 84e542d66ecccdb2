package store

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestZZ(t *testing.T) {
	s := open(t, server(t), Config{})
	fill(t, s, 10000)
	b := s.runs
	for _, batch := range []int{1024, 4096, 10001} {
		for _, nohdr := range []bool{true, false} {
			var c0 = cpu()
			start := time.Now()
			const rounds = 20
			best := time.Hour
			for range rounds {
				start := time.Now()
				p := newPage(filter{states: []pb.State{pb.State_RUNNING}}, 0, nil)
				_ = p
				seq := uint64(1)
				n := 0
				inbox := b.nc.NewInbox()
				ch := make(chan *nats.Msg, 10100)
				sub, _ := b.nc.ChanSubscribe(inbox, ch)
				for {
					b.nc.PublishRequest("$JS.API.DIRECT.GET."+b.name, inbox, []byte(fmt.Sprintf(`{"seq":%d,"batch":%d,"no_hdr":%v}`, seq, batch, nohdr)))
					done := false
					for m := range ch {
						if m.Header != nil && m.Header.Get("Status") != "" {
							l, _ := strconv.Atoi(m.Header.Get("Nats-Last-Sequence"))
							seq = uint64(l) + 1
							done = m.Header.Get("Nats-Num-Pending") == "0"
							break
						}
						n++
						pk, err := peek(m.Data, nil)
						if err != nil {
							t.Fatal(err)
						}
						p.matches(pk)
					}
					if done {
						break
					}
				}
				sub.Unsubscribe()
				if n != 10000 {
					t.Fatal(n)
				}
				best = min(best, time.Since(start))
			}
			fmt.Println("nohdr", nohdr, batch, "wall", time.Since(start)/rounds, "best", best, "cpu", (cpu()-c0)/rounds)
		}
	}
	c0 := cpu()
	start := time.Now()
	best := time.Hour
	for range 20 {
		start := time.Now()
		query(t, s, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		best = min(best, time.Since(start))
	}
	fmt.Println("query", "wall", time.Since(start)/20, "best", best, "cpu", (cpu()-c0)/20)
}
