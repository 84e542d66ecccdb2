package service_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/wire"
)

// verbs are what every runner answers, each with the body of a good request.
var verbs = map[string]string{
	"task":   `{"kind":"runner","spec":{"task":{"commands":["true"]}}}`,
	"glance": `{"kind":"runner","spec":{"glance":{}}}`,
	"maint":  `{"kind":"runner","spec":{"maint":{"clock":{"time":1}}}}`,
	"query":  `{"kind":"runner","spec":{"query":{"all":true}}}`,
	"abort":  `{"kind":"runner","spec":{"abort":{"run":"over"}}}`,

	"schedule": `{"kind":"runner","spec":{"schedule":{"list":{}}}}`,
}

// newFleetWith is newFleet with a server of a configuration of one's own.
func newFleetWith(t *testing.T, cfg embedded.Config) *fleet {
	t.Helper()
	cfg.InProcessOnly = true
	f := &fleet{t: t, server: rig.Embedded(t, cfg)}
	f.nc = f.connect()
	return f
}

// refused asks for what must be refused: both headers, a JSON body that agrees
// with them, and text that says why.
func (f *fleet) refused(code int, text, subject, body string, header ...string) {
	f.t.Helper()
	a := f.ask(subject, body, header...)
	a.isError(f.t, code, text)
}

func (a answer) isError(t *testing.T, code int, text string) {
	t.Helper()
	if got := a.Header.Get("Nats-Service-Error-Code"); got != strconv.Itoa(code) {
		t.Errorf("%.200s: got code %q, want %d: %.300s", a.Subject, got, code, a.Data)
	}
	if got := a.at("code"); got != float64(code) {
		t.Errorf("got code %v in the body, want the number %d: %.300s", got, code, a.Data)
	}
	inHeader, _ := a.at("error").(string)
	if inHeader == "" || a.Header.Get("Nats-Service-Error") != inHeader {
		t.Errorf("got error %q in the header and %q in the body", a.Header.Get("Nats-Service-Error"), inHeader)
	}
	if !strings.Contains(inHeader, text) {
		t.Errorf("got error %q, want %q in it", inHeader, text)
	}
}

func (a answer) ok(t *testing.T) answer {
	t.Helper()
	if e := a.Header.Get("Nats-Service-Error"); e != "" {
		t.Fatalf("refused: %s", a.Data)
	}
	return a
}

// text is a string in the reply.
func (a answer) text(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// ran is a run that is over, as a stranger sees it.
type ran struct {
	id             string
	stdout, stderr string
	records        []wire.Record
	messages       int
	end            *wire.Record
}

// run runs spec.task to its end.
func (f *fleet) run(task string) ran {
	f.t.Helper()
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":`+task+`}}`).ok(f.t)
	return f.over(reply)
}

// over reads the log of an accepted run to its end.
func (f *fleet) over(reply answer) ran {
	f.t.Helper()
	r := ran{id: reply.text("run", "id")}
	var out, err strings.Builder
	log := wire.Log{Stdout: &out, Stderr: &err, Each: func(rec wire.Record) { r.records = append(r.records, rec) }}
	if e := log.Replay(f.nc, reply.text("run", "logSubject"), cmp.Or(f.patience, 30*time.Second)); e != nil {
		f.t.Fatalf("run %s: %v", r.id, e)
	}
	r.stdout, r.stderr, r.end, r.messages = out.String(), err.String(), log.End, log.Messages
	return r
}

// record is the run's final record in KV. "Final means the log is complete", so
// it comes after EOF: wait for it.
func (f *fleet) record(id string) map[string]any {
	f.t.Helper()
	var record map[string]any
	rig.Eventually(f.t, "run "+id+" is final", func() bool {
		record = f.kv(id)
		return record["state"] != "PENDING" && record["state"] != "RUNNING"
	})
	return record
}

// kv is what "nats kv get runner_runs ID" shows now.
func (f *fleet) kv(id string) (record map[string]any) {
	f.t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	kv, err := js.KeyValue("runner_runs")
	if err != nil {
		f.t.Fatal(err)
	}
	entry, err := kv.Get(id)
	if err != nil {
		f.t.Fatalf("run %s: %v", id, err)
	}
	if err := json.Unmarshal(entry.Value(), &record); err != nil {
		f.t.Fatalf("the record of %s is not JSON: %v", id, err)
	}
	return record
}

// firstLine is the first line that a run prints, while it runs.
func (f *fleet) firstLine(reply answer) string {
	f.t.Helper()
	var out strings.Builder
	log := wire.Log{Stdout: &out}
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	sub, err := js.SubscribeSync(reply.text("run", "logSubject"), nats.OrderedConsumer(), nats.BindStream(wire.Stream))
	if err != nil {
		f.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	for !strings.Contains(out.String(), "\n") {
		msg, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			f.t.Fatalf("no line yet: %v", err)
		}
		if err := log.Add(msg.Header.Get("Runner-Seq"), msg.Data); err != nil {
			f.t.Fatal(err)
		}
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	return line
}

// askAll asks a scope of many and returns the answers by runner.
func (f *fleet) askAll(runners int, subject, body string, header ...string) map[string]answer {
	f.t.Helper()
	inbox := f.nc.NewInbox()
	sub, err := f.nc.SubscribeSync(inbox)
	if err != nil {
		f.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	msg := &nats.Msg{Subject: subject, Reply: inbox, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		msg.Header[header[i]] = []string{header[i+1]}
	}
	if err := f.nc.PublishMsg(msg); err != nil {
		f.t.Fatal(err)
	}
	answers := map[string]answer{}
	for len(answers) < runners {
		reply, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			f.t.Fatalf("%s: %d of %d answers: %v", subject, len(answers), runners, err)
		}
		a := answer{Msg: reply}
		if err := json.Unmarshal(reply.Data, &a.body); err != nil {
			f.t.Fatalf("%s: the reply is not JSON: %v: %s", subject, err, reply.Data)
		}
		answers[reply.Header.Get("Runner-Name")] = a
	}
	return answers
}

// quote is a string as JSON has it.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprint("a string that can't be JSON: ", err))
	}
	return string(b)
}
