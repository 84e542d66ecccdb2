package service_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runnel-io/runnel/service"
)

const protobuf = "application/protobuf"

// The envelope is the same on every endpoint.
func TestEnvelope(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	f.over(f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"over"},"spec":{"task":{"commands":["true"]}}}`).ok(t))
	f.record("over")
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		subject, good := "runner."+verb+".any", verbs[verb]
		t.Run(verb, func(t *testing.T) {
			g := *f
			g.t = t
			for _, body := range []string{
				good,
				strings.Replace(good, `{`, `{"apiVersion":"v1",`, 1),
				strings.Replace(good, `{`, `{"apiVersion":"","metadata":{"name":"for people"},`, 1),
				" \n" + good + "\n ",
			} {
				g.ask(subject, body).ok(t)
			}
			for _, c := range []struct{ text, body string }{
				{"invalid kind", strings.Replace(good, `"kind":"runner",`, ``, 1)},
				{"invalid kind", strings.Replace(good, `runner`, `Runner`, 1)},
				{"invalid kind", `{}`},
				{"apiVersion", strings.Replace(good, `{`, `{"apiVersion":"v2",`, 1)},
				{"nosuch", strings.Replace(good, `{`, `{"nosuch":1,`, 1)},
				{"nosuch", strings.Replace(good, `"spec":{`, `"spec":{"nosuch":{},`, 1)},
				{"nosuch", strings.Replace(good, `"`+verb+`":{`, `"`+verb+`":{"nosuch":1,`, 1)},
				{"JSON", good + `{}`},
				{"JSON", good + `x`},
				{"spec." + verb, `{"kind":"runner"}`},
				{"spec." + verb, `{"kind":"runner","spec":{}}`},
				{"null", strings.Replace(good, `"spec":{`, `"spec":null,"metadata":{`, 1)},
				{"null", fmt.Sprintf(`{"kind":"runner","spec":{%q:null}}`, verb)},
				{"kind", strings.Replace(good, `{`, `{"kind":"runner",`, 1)}, // twice
			} {
				g.refused(400, c.text, subject, c.body)
			}
		})
	}
}

// No request, whatever its bytes, stops the process or hangs, and the next one
// is served.
func TestNoise(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	random := make([]byte, 1<<20-1024)
	chacha := rand.NewChaCha8([32]byte{7})
	_, _ = chacha.Read(random)
	letters := strings.Repeat("x", 1<<20-1024)
	noise := map[string]string{
		"empty":               ``,
		"blank":               " \n",
		"null":                `null`,
		"number":              `1`,
		"array":               `[]`,
		"string":              `"runner"`,
		"half":                `{"kind":"runner","spec":{`,
		"not UTF-8":           "{\"kind\":\"runner\xff\"}",
		"random":              string(random),
		"zeroes":              string(make([]byte, 1<<20-1024)),
		"letters":             letters,
		"a long string":       `"` + letters[4:] + `"`,
		"a long kind":         `{"kind":"` + letters[32:] + `"}`,
		"a long field":        `{"` + letters[32:] + `":1}`,
		"a long field, twice": `{"kind":"runner","` + letters[:500000] + `":1,"` + letters[:500000] + `":1}`,
		"quotes":              `{"kind":"` + strings.Repeat(`\u0000`, 170000) + `"}`,
		"deep objects":        strings.Repeat(`{"spec":`, 130000),
		"deep arrays":         strings.Repeat(`[`, 1<<20-1024),
		"deep, with null":     strings.Repeat(`[`, 1<<19) + `null` + strings.Repeat(`]`, 1<<19-1024),
		"deep value":          `{"kind":"runner","spec":{"task":{"commands":["true"],"limits":{"stack":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}}}}`,
		"a long run":          `{"kind":"runner","spec":{"abort":{"run":"` + letters[64:] + `"}}}`,
		"a long list of runs": `{"kind":"runner","spec":{"query":{"runs":[` + strings.Repeat(`"a",`, 200000) + `"a"]}}}`,
		"a long next":         `{"kind":"runner","spec":{"query":{"all":true,"next":"` + letters[128:] + `"}}}`,
		"a long path":         `{"kind":"runner","spec":{"glance":{"dir":{"path":"/` + letters[128:] + `"},"file":{"path":"/x"}}}}`,
	}
	bodies := map[string]string{"": "JSON", protobuf: "protobuf"}
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		for contentType, form := range bodies {
			for _, name := range slices.Sorted(maps.Keys(noise)) {
				a := f.noise("runner."+verb+".any", contentType, noise[name])
				if code := a.Header.Get("Nats-Service-Error-Code"); !strings.HasPrefix(code, "4") {
					t.Errorf("%s %s on %s: got code %q, want a 4xx: %.200s", form, name, verb, code, a.Data)
				}
			}
		}
	}
	endpoints := []string{"runner.task.any", "runner.task.pool.default.any"} // left at times, so not of micro
	for _, e := range f.micro("$SRV.INFO.runner").Endpoints {
		endpoints = append(endpoints, e.Subject)
	}
	for _, subject := range endpoints {
		for _, body := range []string{"", string(random), letters} {
			if reply := f.noise(subject, "", body); reply.Header.Get("Nats-Service-Error-Code") != "400" {
				t.Errorf("%s: got %v", subject, reply.Header)
			}
		}
		verb := strings.Split(subject, ".")[1]
		if reply := f.ask(subject, verbs[verb]); reply.Header.Get("Nats-Service-Error-Code") != map[string]string{"abort": "404"}[verb] {
			t.Errorf("%s is not served any more: %s", subject, reply.Data)
		}
	}
}

// noise asks and wants some answer, soon.
func (f *fleet) noise(subject, contentType, body string) *nats.Msg {
	f.t.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	if contentType != "" {
		msg.Header.Set("Content-Type", contentType)
	}
	reply, err := f.nc.RequestMsg(msg, 10*time.Second)
	if err != nil {
		f.t.Fatalf("%s %q, %d bytes (%.40q): %v", subject, contentType, len(body), body, err)
	}
	return reply
}

// pbuf writes a message by hand: a stranger has the .proto files alone.
type pbuf []byte

func (b pbuf) text(field protowire.Number, s string) pbuf {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func (b pbuf) message(field protowire.Number, m pbuf) pbuf { return b.text(field, string(m)) }

func (b pbuf) varint(field protowire.Number, n uint64) pbuf {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

// field returns the last value of a field: []byte or uint64.
func (b pbuf) field(t *testing.T, path ...protowire.Number) any {
	t.Helper()
	var found any
	for rest := []byte(b); len(rest) > 0; {
		n, typ, size := protowire.ConsumeTag(rest)
		if size < 0 {
			t.Fatalf("not protobuf: %x", b)
		}
		rest = rest[size:]
		value := rest[:protowire.ConsumeFieldValue(n, typ, rest)]
		rest = rest[len(value):]
		if n != path[0] {
			continue
		}
		if typ == protowire.VarintType {
			found, _ = protowire.ConsumeVarint(value)
		} else {
			found, _ = protowire.ConsumeBytes(value)
		}
	}
	if inner, ok := found.([]byte); ok && len(path) > 1 {
		return pbuf(inner).field(t, path[1:]...)
	}
	return found
}

// What a client of the old gRPC runner encodes decodes here, field by field.
func TestOldFieldNumbers(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	envelope := func(spec pbuf) string {
		return string(pbuf{}.text(1, "v1").text(2, "runner").message(3, pbuf{}.text(1, "old client")).message(4, pbuf{}.message(1, spec)))
	}
	ask := func(verb, body string) pbuf {
		t.Helper()
		reply := f.noise("runner."+verb+".any", protobuf, body)
		if e := reply.Header.Get("Nats-Service-Error"); e != "" {
			t.Fatalf("%s is refused: %s", verb, e)
		}
		if got := reply.Header.Get("Content-Type"); got != protobuf {
			t.Errorf("%s: the reply is %q", verb, got)
		}
		return reply.Data
	}
	run := func(task pbuf) ran {
		t.Helper()
		reply := ask("task", envelope(task))
		const run, id, subject = 1, 1, 11
		return f.over(answer{body: map[string]any{"run": map[string]any{
			"id": string(reply.field(t, run, id).([]byte)), "logSubject": string(reply.field(t, run, subject).([]byte)),
		}}})
	}
	t.Run("task with commands, params and log", func(t *testing.T) {
		param := pbuf{}.text(1, "GREETING").text(2, "hello")
		got := run(pbuf{}.text(1, "name").message(3, param).text(4, "echo").text(4, "$GREETING").message(5, pbuf{}.varint(1, 3)))
		if got.stdout != "hello\n" || got.records[0].Message != "hel" || got.records[0].Tag != "BOL" {
			t.Errorf("got %+v", got)
		}
		if name := f.record(got.id)["name"]; name != "name" {
			t.Errorf("got name %v", name)
		}
	})
	t.Run("task with a gzipped file", func(t *testing.T) {
		file := pbuf{}.text(1, string(gzipped("#!/bin/bash\necho zip"))).varint(2, 1)
		if got := run(pbuf{}.message(2, file)); got.stdout != "zip\n" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("task with a language", func(t *testing.T) {
		reply := f.noise("runner.task.any", protobuf, envelope(pbuf{}.message(6, pbuf{}.text(1, "nosuch"))))
		if reply.Header.Get("Nats-Service-Error-Code") != "400" {
			t.Errorf("got %v", reply.Header)
		}
	})
	t.Run("task with a language and what it had then", func(t *testing.T) {
		reply := f.noise("runner.task.any", protobuf, envelope(pbuf{}.message(6, pbuf{}.text(1, "nosuch").text(2, "image"))))
		if text := reply.Header.Get("Nats-Service-Error"); strings.Contains(text, "field") {
			t.Errorf("got %v", text)
		}
	})
	t.Run("glance", func(t *testing.T) {
		file := pbuf{}.text(1, "/proc/version").varint(2, 4096)
		glance := pbuf{}.message(1, pbuf{}.text(1, "/usr")).message(2, file).message(3, pbuf{}.varint(1, 1))
		reply := ask("glance", envelope(glance))
		content, _ := base64.StdEncoding.DecodeString(string(reply.field(t, 2, 1).([]byte)))
		if !bytes.HasPrefix(content, []byte("Linux version")) || reply.field(t, 2, 2) != uint64(1) {
			t.Errorf("file: got %q", content)
		}
		if reply.field(t, 1, 1, 1) == nil {
			t.Error("dir.entries.name is not there")
		}
		for _, path := range [][]protowire.Number{{3, 1, 1, 1}, {3, 1, 1, 2}, {3, 2, 1, 1}, {3, 2, 2}, {3, 2, 3, 1}, {3, 2, 4}, {3, 2, 5, 1}, {3, 2, 6, 1, 5}} {
			if reply.field(t, path...) == nil {
				t.Errorf("sys field %v is not there", path)
			}
		}
	})
	t.Run("maint", func(t *testing.T) {
		reply := ask("maint", envelope(pbuf{}.message(1, pbuf{}.varint(1, uint64(time.Now().UnixMilli()-3600_000)))))
		if reply.field(t, 1, 1, 2) != uint64(1) {
			t.Errorf("an hour is not dangerous: %s", hex.EncodeToString(reply))
		}
	})
}

// The form of the reply is that of the request, and its content type says so;
// only errors are always JSON.
func TestContentType(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	request := string(pbuf{}.text(2, "runner").message(4, pbuf{}.message(1, pbuf{}.varint(2, 1))))
	for _, c := range []struct{ header, value string }{
		{"Content-Type", protobuf},
		{"content-type", protobuf},
		{"CONTENT-TYPE", "Application/Protobuf"},
		{"Content-Type", " application/protobuf; charset=x"},
	} {
		msg := &nats.Msg{Subject: "runner.query.any", Data: []byte(request), Header: nats.Header{c.header: {c.value}}}
		reply, err := f.nc.RequestMsg(msg, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Header.Get("Nats-Service-Error") != "" || reply.Header.Get("Content-Type") != protobuf {
			t.Errorf("%+v: got %v %s", c, reply.Header, reply.Data)
		}
		if runner, _ := pbuf(reply.Data).field(t, 2, 1).([]byte); string(runner) != "web1" {
			t.Errorf("%+v: got service.runner %q", c, runner)
		}
	}
	for _, contentType := range []string{"", "application/json", "text/plain", "application/x-protobuf"} {
		a := f.ask("runner.query.any", verbs["query"], "Content-Type", contentType).ok(t)
		if got := a.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%q: the reply is %q", contentType, got)
		}
	}
	f.refused(400, "invalid kind", "runner.query.any", "", "Content-Type", protobuf)
	f.refused(400, "protobuf", "runner.query.any", verbs["query"], "Content-Type", protobuf)
	a := f.ask("runner.query.any", "", "Content-Type", protobuf)
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("an error is %q", got)
	}
}

// Scalars are there, zero or not; messages that are not there are left out;
// integers are numbers, taken as strings too; bytes are base64.
func TestJSONForm(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["cat"],"stdin":"aGk=","log":{"width":"2"}}}}`).ok(t)
	for field, want := range map[string]any{
		"exitCode": 0.0, "state": "RUNNING", "reason": "", "signal": "", "error": "", "lines": 0.0, "bytes": 0.0,
		"logComplete": false, "aborting": false, "group": "", "attempt": 1.0, "logStream": "RUNNER_LOG",
	} {
		if got := reply.at("run", field); got != want {
			t.Errorf("run.%s: got %#v, want %#v", field, got, want)
		}
	}
	for _, absent := range []string{"ended", "compile"} {
		if got, there := reply.at("run").(map[string]any)[absent]; there {
			t.Errorf("run.%s: got %v", absent, got)
		}
	}
	if reply.at("service", "initialized") != true || reply.at("service", "healthy") != true || reply.text("service", "runner") != "web1" {
		t.Errorf("got service %v", reply.at("service"))
	}
	got := f.over(reply)
	if got.stdout != "hi" || len(got.records) != 2 {
		t.Errorf("got %+v", got)
	}
	record := f.record(got.id)
	if record["bytes"] != 2.0 || record["logComplete"] != true || record["sha256"] != got.end.SHA256 {
		t.Errorf("the record in KV is %v", record)
	}
	if a := f.ask("runner.maint.any", verbs["maint"]).ok(t); a.at("clock", "diff", "dangerous") != true {
		t.Errorf("got %s", a.Data)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(f.ask("runner.query.any", verbs["query"]).Data, &raw); err != nil || string(raw["next"]) != `""` {
		t.Errorf("query: next is %s", raw["next"])
	}
}
