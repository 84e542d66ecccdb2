package logs

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

// proxy stands between the writer and the server; it can hold back or lose what the server says.
type proxy struct {
	listener net.Listener
	server   string
	mu       sync.Mutex
	pass     *sync.Cond
	holding  bool
	conns    []net.Conn
	wg       sync.WaitGroup
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: strings.TrimPrefix(server, "nats://")}
	p.pass = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.hold(false)
		listener.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		upstream, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, upstream)
		p.mu.Unlock()
		p.wg.Go(func() { io.Copy(upstream, client); upstream.Close() })
		p.wg.Go(func() { p.answers(client, upstream); client.Close() })
	}
}

func (p *proxy) answers(client, upstream net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := upstream.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.holding {
			p.pass.Wait()
		}
		p.mu.Unlock()
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// hold keeps what the server says until it is turned off.
func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holding = on
	p.pass.Broadcast()
}

// cut ends all connections; what was held back is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.holding = false
	p.pass.Broadcast()
}

func TestAckComesLateOrNever(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"late", "never"} {
		t.Run(how, func(t *testing.T) {
			h := newHost(t)
			p := newProxy(t, h.srv.URL())
			nc, js := h.connect("nats://" + p.listener.Addr().String())
			w := Open(h.config(js))
			var want strings.Builder
			log := &stored{h.js, space.LogStream(), space.Log("web1", runID)}
			published, err := h.nc.SubscribeSync(space.LogAny(runID))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				text := numbered(i*10, i*10+10)
				want.WriteString(text)
				rig.Eventually(t, "it is connected", nc.IsConnected) // it could not be while the server is held
				p.hold(true)
				write(t, w, text)
				rig.Eventually(t, "it is stored", func() bool {
					m, err := log.last(h.ctx())
					return err == nil && m.runnerSeq == uint64(i+1)
				})
				if how == "never" {
					p.cut()
				} else {
					for range 2 {
						msg, err := published.NextMsg(5 * time.Second)
						if err != nil || runnerSeq(msg.Header) != uint64(i+1) {
							t.Fatalf("%v, %v; want message %d twice", msg, err, i+1)
						}
					}
					p.hold(false)
				}
				h.settled(w)
				for n, _, _ := published.Pending(); n > 0; n-- {
					if _, err := published.NextMsg(time.Second); err != nil {
						t.Fatal(err)
					}
				}
			}
			h.close(w)
			follow(t, h.ctx(), h.js, h.options()).whole(t, want.String())
			if last, err := log.last(h.ctx()); err != nil || last.seq != 5 {
				t.Errorf("the stream has %d messages (%v), want 5", last.seq, err)
			}
			h.noSpool()
		})
	}
}

// startCluster starts three servers in this process and returns where they are.
func startCluster(t *testing.T) (urls string) {
	t.Helper()
	for range 3 { // somebody may have taken a port in between
		if servers := tryCluster(t); servers != nil {
			var all []string
			for _, s := range servers {
				all = append(all, s.ClientURL())
			}
			rig.Eventually(t, "the cluster has a leader", func() bool {
				for _, s := range servers {
					if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
						return true
					}
				}
				return false
			})
			return strings.Join(all, ",")
		}
	}
	t.Fatal("the cluster does not start")
	return ""
}

func tryCluster(t *testing.T) []*server.Server {
	t.Helper()
	var ports []int
	var routes []string
	for range 3 {
		ports = append(ports, rig.FreePort(t))
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", ports[len(ports)-1]))
	}
	dir := t.TempDir()
	var servers []*server.Server
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i)),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		go s.Start()
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(15 * time.Second) {
			return nil
		}
	}
	return servers
}

// The stream's leader steps down again and again while a run writes.
func TestLeaderChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	const (
		period  = 300 * time.Millisecond
		writing = 8 * time.Second
	)
	urls := startCluster(t)
	nc, js := dial(t, urls)
	h := &host{t: t, dir: t.TempDir(), nc: nc, js: js}
	rig.Eventually(t, "the stream is made", func() bool {
		return EnsureStream(h.ctx(), js, space, StreamConfig{Replicas: 3}) == nil
	})
	options := h.options()
	options.Live = true
	sub, err := Listen(nc, space.LogAny(runID))
	if err != nil {
		t.Fatal(err)
	}
	freshOptions := options
	freshOptions.Fresh = sub
	fresh := inBackground(t, h.ctx(), js, freshOptions)
	_, otherJS := dial(t, urls)
	consumer := inBackground(t, h.ctx(), otherJS, options)

	stop := make(chan struct{})
	var stepping sync.WaitGroup
	changes := 0
	admin, _ := dial(t, urls)
	stepping.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(period):
			}
			_, err := admin.Request("$JS.API.STREAM.LEADER.STEPDOWN."+space.LogStream(), nil, time.Second)
			if err == nil {
				changes++
			} else if err != nats.ErrTimeout && err != nats.ErrNoResponders {
				t.Error(err)
			}
		}
	})

	cfg := h.config(js)
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	w := Open(cfg)
	var want strings.Builder
	n := 0
	for began := time.Now(); time.Since(began) < writing; n++ {
		text := numbered(n, n+1)
		want.WriteString(text)
		if err := w.Write(lines.Stdout, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if n%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	stepping.Wait()
	totals := h.close(w)
	t.Logf("%d lines in %d messages, %d leader changes", totals.Lines, w.number+1, changes)
	if changes < 10 {
		t.Errorf("%d leader changes, want more", changes)
	}
	for name, o := range map[string]*output{"fresh": fresh(), "consumer": consumer(), "past": follow(t, h.ctx(), js, h.options())} {
		t.Run(name, func(t *testing.T) { o.whole(t, want.String()) })
	}
	h.noSpool()
}
