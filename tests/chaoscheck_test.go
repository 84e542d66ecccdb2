//go:build linux

package tests

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// settleTimeout is how long a fleet to which nothing happens any more has to end all runs.
const settleTimeout = time.Minute

// until polls a condition.
func (c *chaos) until(what string, timeout time.Duration, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(timeout); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Errorf("still not: %s", what)
			return
		}
	}
}

func (c *chaos) connect() (*nats.Conn, *client.Client) {
	c.t.Helper()
	nc, err := dialSite(c.url, c.seedFile)
	if err != nil {
		c.t.Fatal(err)
	}
	asks, err := client.New(nc, client.Options{Timeout: 5 * time.Second})
	if err != nil {
		c.t.Fatal(err)
	}
	return nc, asks
}

// settle ends what does not end by itself and waits for the rest.
func (c *chaos) settle() {
	nc, asks := c.connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	for id, kind := range c.asked {
		if kind != "stubborn" && kind != "endless" {
			continue
		}
		if _, err := asks.Abort(ctx, id, time.Millisecond); err != nil && client.Code(err) != 404 {
			c.t.Errorf("cannot abort run %s: %v", id, err)
		}
	}
	live := &pb.Query{All: true, States: []pb.State{pb.State_PENDING, pb.State_RUNNING}}
	c.until("every run is final", settleTimeout, func() bool {
		reply, err := asks.Query(ctx, live)
		return err == nil && len(reply.GetRuns()) == 0
	})
	if reply, err := asks.Query(ctx, live); err != nil || len(reply.GetRuns()) > 0 {
		c.t.Errorf("runs that are not final: %v, %v", reply.GetRuns(), err)
	}
}

// check compares what Runnel says with what the oracle knows.
func (c *chaos) check() {
	nc, asks := c.connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	known := map[string]*pb.Run{}
	for q := (&pb.Query{All: true, Limit: 500}); ; {
		reply, err := asks.Query(ctx, q)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, run := range reply.GetRuns() {
			known[run.GetId()] = run
		}
		if q.Next = reply.GetNext(); q.Next == "" {
			break
		}
	}
	for id := range c.accepted {
		if known[id] == nil {
			c.t.Errorf("run %s was accepted and is not known", id)
		}
	}
	for id, kind := range c.asked {
		run, starts := known[id], c.oracle.starts(id)
		if starts > 1 || starts == 1 && run == nil {
			c.t.Errorf("run %s (%s) was started %d times; its record is %v", id, kind, starts, run)
		}
		if run == nil {
			continue
		}
		c.happen("runs " + strings.TrimSpace(run.GetState().String()+" "+run.GetReason()))
		if err := c.checkRun(nc, run, starts); err != nil {
			c.t.Errorf("run %s (%s), %s %s on %s: %v", id, kind, run.GetState(), run.GetReason(), run.GetRunner(), err)
		}
	}
	nc.Close()
	c.nothingLeft()
}

func (c *chaos) checkRun(nc *nats.Conn, run *pb.Run, starts int) error {
	id := run.GetId()
	if !store.Final(run.GetState()) {
		return errors.New("it is not final")
	}
	text, end, err := readLog(nc, run.GetLogStream(), run.GetLogSubject())
	if err != nil {
		return err
	}
	complete := run.GetState() == pb.State_COMPLETE
	switch {
	case run.GetReason() == pb.ReasonRejected:
		if starts > 0 || len(text) > 0 {
			err = errors.Join(err, errors.New("it was started"))
		}
	case complete && (run.GetExitCode() != 0 || !c.oracle.through(id)):
		err = errors.Join(err, fmt.Errorf("exit code %d, and the task is through: %v", run.GetExitCode(), c.oracle.through(id)))
	}
	if run.GetLogComplete() != (run.GetReason() != pb.ReasonLost) {
		err = errors.Join(err, fmt.Errorf("logComplete is %v", run.GetLogComplete()))
	}
	err = errors.Join(err, c.oracle.printed(id, text, complete))
	if end.State != run.GetState().String() || end.Reason != run.GetReason() || end.Bytes != run.GetBytes() || end.SHA256 != run.GetSha256() || end.Bytes != int64(len(text)) {
		err = errors.Join(err, fmt.Errorf("the log ends with %+v and has %d bytes, the record says %d", end, len(text), run.GetBytes()))
	}
	return err
}

// endRecord is the last line of a log.
type endRecord struct {
	State, Reason, SHA256 string
	Bytes                 int64
}

// readLog reads a run's text by the wire's own rules.
func readLog(nc *nats.Conn, stream, subject string) (text []byte, end endRecord, err error) {
	js, err := nc.JetStream()
	if err != nil {
		return nil, end, err
	}
	sub, err := js.SubscribeSync(subject, nats.OrderedConsumer(), nats.BindStream(stream))
	if err != nil {
		return nil, end, err
	}
	defer sub.Unsubscribe()
	for seq, ended := 1, false; ; seq++ {
		msg, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			return text, end, fmt.Errorf("after %d messages of its log: %w", seq-1, err)
		}
		if got := msg.Header.Get("Runner-Seq"); got != strconv.Itoa(seq) {
			return text, end, fmt.Errorf("message %d of its log says that it is %s", seq, got)
		}
		for line := range bytes.Lines(msg.Data) {
			var r struct {
				Message, Raw, Tag string
				Messages          []string
			}
			if err := json.Unmarshal(line, &r); err != nil {
				return text, end, err
			}
			switch {
			case ended:
				return text, end, errors.New("its log goes on after its end")
			case r.Tag == "EOF":
				ended = true
				if err := json.Unmarshal(line, &end); err != nil {
					return text, end, err
				}
				continue
			case r.Raw != "":
				raw, err := base64.StdEncoding.DecodeString(r.Raw)
				if err != nil {
					return text, end, err
				}
				r.Message = string(raw)
			}
			if r.Messages == nil {
				r.Messages = []string{r.Message}
			}
			for _, m := range r.Messages {
				text = append(text, m...)
				if r.Tag != "BOL" {
					text = append(text, '\n')
				}
			}
		}
		meta, err := msg.Metadata()
		if err != nil {
			return text, end, err
		}
		if meta.NumPending == 0 {
			if !ended {
				err = errors.New("its log has no end")
			}
			return text, end, err
		}
	}
}

// consumerLife is what a consumer may live on whose client was killed, and some time for the server to notice.
const consumerLife = 45 * time.Second

// nothingLeft looks for what runs and requests must not leave behind.
func (c *chaos) nothingLeft() {
	c.t.Helper()
	if left := c.processes(); len(left) > 0 {
		c.t.Errorf("processes are left behind: %q", left)
	}
	for _, r := range c.runners {
		name := "runnel-" + r.instance() + "-"
		var left []string
		for _, pattern := range []string{filepath.Join(os.TempDir(), name+"*"), filepath.Join(r.cfg.DataDir, "spool", "*")} {
			files, _ := filepath.Glob(pattern)
			left = append(left, files...)
		}
		_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
			// The mark of whose leaves they are lives as long as the runner.
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), name) && !strings.HasPrefix(d.Name(), name+"@") {
				left = append(left, path)
			}
			return nil // what goes away under our eyes is no error
		})
		if len(left) > 0 {
			c.t.Errorf("runner %s has left behind: %q", r.name, left)
		}
	}
	nc, _ := c.connect()
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	var left []string
	c.until("no consumer is left", consumerLife, func() bool {
		left = consumers(js)
		return len(left) == 0
	})
	if len(left) > 0 {
		c.t.Errorf("consumers are left behind: %q", left)
	}
}

func (c *chaos) processes() (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err == nil && bytes.Contains(cmdline, []byte(c.oracle.mark)) {
			found = append(found, string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func consumers(js jetstream.JetStream) (found []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		if err != nil {
			return append(found, err.Error())
		}
		all := stream.ListConsumers(ctx)
		for consumer := range all.Info() {
			found = append(found, info.Config.Name+" "+consumer.Name)
		}
		if err := all.Err(); err != nil {
			return append(found, err.Error())
		}
	}
	if err := streams.Err(); err != nil {
		return append(found, err.Error())
	}
	return found
}

// stopAll ends all processes as a service manager does.
func (c *chaos) stopAll() {
	for _, r := range c.runners {
		if err := r.stop(); err != nil {
			c.t.Errorf("%v\n%s", err, r.tail())
		}
	}
	if left := c.processes(); len(left) > 0 {
		c.t.Errorf("after the runners' end, processes are left behind: %q", left)
	}
	for _, server := range c.servers {
		if err := server.stop(); err != nil {
			c.t.Error(err)
		}
	}
}
