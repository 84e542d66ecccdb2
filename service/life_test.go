package service_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// A caller is a client with nothing of ours: a connection, and JSON.
type caller struct {
	t  *testing.T
	nc *nats.Conn
}

// two are two clients; together lets both do the same at once.
type two [2]caller

func (f *fleet) two() two {
	return two{{f.t, f.connect()}, {f.t, f.connect()}}
}

func together[T any](c two, do func(caller) T) (got [2]T) {
	var wg sync.WaitGroup
	for i := range c {
		wg.Go(func() { got[i] = do(c[i]) })
	}
	wg.Wait()
	return got
}

// A heard is an answer, or why there is none.
type heard struct {
	err  error
	code int
	text string // of the error
	by   string
	run  map[string]any
	runs []map[string]any
	next string
}

func (h heard) String() string {
	if h.err != nil || h.code != 0 {
		return fmt.Sprintf("%v %d %s", h.err, h.code, h.text)
	}
	return fmt.Sprintf("run %v runs %v", h.run, h.runs)
}

const patience = 40 * time.Second

// ask sends a request until it is answered, as a client in a fleet must: what was
// on its way to a runner that died, or was stopped, is lost with it. Every
// request here can be asked again.
func (c caller) ask(subject, body string) (msg *nats.Msg, err error) {
	try := time.Second
	if wait := waitIn.FindStringSubmatch(body); wait != nil {
		d, _ := time.ParseDuration(wait[1])
		try += d
	}
	for deadline := time.Now().Add(patience); ; {
		msg, err = c.nc.Request(subject, []byte(body), try)
		if !errors.Is(err, nats.ErrTimeout) || time.Now().After(deadline) {
			return msg, err
		}
	}
}

var waitIn = regexp.MustCompile(`"wait":"([^"]*)"`)

func (c caller) request(subject, spec, metadata string) heard {
	body := `{"kind":"runner","metadata":{` + metadata + `},"spec":` + spec + `}`
	msg, err := c.ask(subject, body)
	if err != nil {
		return heard{err: err}
	}
	var got struct {
		Run   map[string]any
		Runs  []map[string]any
		Next  string
		Error string
		Code  int
	}
	if err := json.Unmarshal(msg.Data, &got); err != nil {
		return heard{err: fmt.Errorf("%w: %s", err, msg.Data)}
	}
	code, _ := strconv.Atoi(msg.Header.Get("Nats-Service-Error-Code"))
	if code != got.Code {
		c.t.Errorf("%s: the header says %d, the body %d", subject, code, got.Code)
	}
	return heard{nil, code, got.Error, msg.Header.Get("Runner-Name"), got.Run, got.Runs, got.Next}
}

func (c caller) task(scope, id, task string) heard {
	return c.request("runner.task."+scope, `{"task":`+task+`}`, `"id":"`+id+`"`)
}

func (c caller) query(query string) heard {
	return c.request("runner.query.any", `{"query":`+query+`}`, "")
}

func (c caller) abort(scope, id, wait string) heard {
	return c.request("runner.abort."+scope, `{"abort":{"run":"`+id+`","wait":"`+wait+`"}}`, "")
}

// start starts a task that must be accepted.
func (c caller) start(scope, id, task string) heard {
	c.t.Helper()
	h := c.task(scope, id, task)
	if h.err != nil || h.code != 0 {
		c.t.Fatalf("task %s: %v", id, h)
	}
	return h
}

// commands is a task of these.
func commands(shell string, more ...string) string {
	quoted, _ := json.Marshal([]string{shell})
	return `{` + strings.Join(append(more, `"commands":`+string(quoted)), ",") + `}`
}

const final = `"states":["COMPLETE","FAILED","ABORTED","TIMEDOUT"]`

// final waits for a run's end and returns its record.
func (c caller) final(id string) map[string]any {
	c.t.Helper()
	return c.wait(id, final)
}

// wait waits until a query for the run has a match.
func (c caller) wait(id, states string) map[string]any {
	c.t.Helper()
	var last heard
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		last = c.query(`{"runs":["` + id + `"],` + states + `,"wait":"500ms"}`)
		if len(last.runs) == 1 {
			return last.runs[0]
		}
	}
	c.t.Fatalf("run %s has not come to be %s: %v; it is %v", id, states, last, c.query(`{"runs":["`+id+`"]}`))
	return nil
}

// A log is a run's output as it is stored.
type storedLog struct {
	lines []string // of text, both streams
	end   map[string]any
	ends  int
	sum   string // of the text, computed here
	bytes int
}

// log reads all that is stored of a run, which must have its end, by the wire's
// own rules.
func (c caller) log(subject string) (l storedLog, err error) {
	js, err := c.nc.JetStream()
	if err != nil {
		return l, err
	}
	sub, err := js.SubscribeSync(subject, nats.OrderedConsumer(), nats.BindStream("RUNNER_LOG"))
	if err != nil {
		return l, err
	}
	defer sub.Unsubscribe()
	hash, seq := sha256.New(), 0
	for {
		msg, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			return l, fmt.Errorf("after %d lines: %w", len(l.lines), err)
		}
		if seq++; msg.Header.Get("Runner-Seq") != strconv.Itoa(seq) {
			return l, fmt.Errorf("message %d says it is %s", seq, msg.Header.Get("Runner-Seq"))
		}
		for line := range bytes.Lines(msg.Data) {
			var r struct {
				Message  string
				Messages []string
				Raw      string
				Tag      string
			}
			if err := json.Unmarshal(line, &r); err != nil {
				return l, fmt.Errorf("%q: %w", line, err)
			}
			if r.Tag == "EOF" {
				l.ends++
				err = errors.Join(err, json.Unmarshal(line, &l.end))
				continue
			}
			if r.Messages == nil {
				r.Messages = []string{r.Message}
			}
			for _, text := range r.Messages {
				if r.Raw != "" {
					raw, _ := base64.StdEncoding.DecodeString(r.Raw)
					text = string(raw)
				}
				l.lines = append(l.lines, text)
				if r.Tag != "BOL" {
					text += "\n"
				}
				l.bytes += len(text)
				hash.Write([]byte(text))
			}
		}
		if meta, metaErr := msg.Metadata(); err != nil || metaErr != nil || meta.NumPending == 0 {
			l.sum = hex.EncodeToString(hash.Sum(nil))
			if l.ends != 1 {
				err = errors.Join(err, fmt.Errorf("%d ends", l.ends))
			}
			return l, errors.Join(err, metaErr)
		}
	}
}

// agrees says how a run's record and its log contradict each other.
func (c caller) agrees(run map[string]any) (storedLog, error) {
	l, err := c.log(run["logSubject"].(string))
	if err != nil {
		return l, fmt.Errorf("run %v: %w", run["id"], err)
	}
	for _, field := range []string{"state", "exitCode", "lines", "bytes", "sha256"} {
		if got, want := fmt.Sprint(l.end[field]), fmt.Sprint(run[field]); got != want {
			err = errors.Join(err, fmt.Errorf("run %v: %s is %s in the log and %s in the record", run["id"], field, got, want))
		}
	}
	if l.sum != run["sha256"] || float64(l.bytes) != run["bytes"] {
		err = errors.Join(err, fmt.Errorf("run %v: text of %d bytes hashes to %s; the record says %v and %v", run["id"], l.bytes, l.sum, run["bytes"], run["sha256"]))
	}
	return l, err
}

// processesWith lists the processes one of whose arguments has this in it.
func processesWith(t *testing.T, text string) (found []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err == nil && bytes.Contains(cmdline, []byte(text)) {
			found = append(found, filepath.Base(dir)+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// mark is a number of seconds that no other test sleeps: it finds a run's
// processes whatever they do to their session, parents or environment.
func mark() string {
	marks.Lock()
	defer marks.Unlock()
	marks.n++
	return fmt.Sprintf("%d.%05d", 86400+marks.n, os.Getpid())
}

var marks struct {
	sync.Mutex
	n int
}

// benchFleet is a runner and a client, without a word.
type benchFleet struct {
	b  *testing.B
	nc *nats.Conn
}

func newBenchFleet(b *testing.B) *benchFleet {
	b.Helper()
	server := rig.Embedded(b, embedded.Config{InProcessOnly: true})
	s, err := service.Start(b.Context(), rig.Connect(b, server), service.Config{Name: "a", DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return &benchFleet{b, rig.Connect(b, server)}
}

func (f *benchFleet) request(subject, body string) *nats.Msg {
	msg, err := f.nc.Request(subject, []byte(body), patience)
	if err != nil || msg.Header.Get("Nats-Service-Error-Code") != "" {
		f.b.Fatalf("%s: %v %v", subject, err, msg)
	}
	return msg
}
