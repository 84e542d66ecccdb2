package service_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
)

// clock asks runner web1 for spec.maint.clock.
func (f *fleet) clock(query string) answer {
	f.t.Helper()
	return f.ask("runner.maint.at.web1", `{"kind":"runner","spec":{"maint":{"clock":`+query+`}}}`)
}

// millis is a number in the reply.
func (a answer) millis(t *testing.T, path ...string) float64 {
	t.Helper()
	n, isNumber := a.at(path...).(float64)
	if !isNumber {
		t.Errorf("%v is no number: %s", path, a.Data)
	}
	return n
}

// near allows for a busy machine.
func near(got, want float64) bool { return math.Abs(got-want) < 2000 }

// serveNTP is a server that is ahead of this host; change, if not nil, makes it
// lie, and an answer of nil is silence.
func serveNTP(t *testing.T, ahead time.Duration, change func(p []byte) []byte) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		question := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			now := time.Now().Add(ahead)
			stamp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
			p := make([]byte, 48)
			p[0], p[1] = 4<<3|4, 2                                        // version 4, server; stratum 2
			binary.BigEndian.PutUint64(p[16:], stamp-60<<32)              // reference
			copy(p[24:32], question[min(40, n):])                         // origin
			binary.BigEndian.PutUint64(p[32:], stamp)                     // received
			if binary.BigEndian.PutUint64(p[40:], stamp); change != nil { // sent
				p = change(p)
			}
			if p != nil {
				_, _ = conn.WriteTo(p, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// A base of whole seconds stands for the whole second; an exact one for itself.
// Milliseconds, positive when this host is behind, dangerous above 5,000.
func TestClockDifference(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	const hour = 3600_000
	for _, c := range []struct {
		query     string
		want      float64
		dangerous bool
	}{
		{fmt.Sprintf(`{"time":%d}`, time.Now().Unix()), 0, false},
		{fmt.Sprintf(`{"time":"%d"}`, time.Now().Unix()+3600), hour, true},
		{fmt.Sprintf(`{"time":%d}`, time.Now().Unix()-3600), -hour, true},
		{fmt.Sprintf(`{"timeNanos":%d}`, time.Now().Add(3*time.Second).UnixNano()), 3000, false},
		{fmt.Sprintf(`{"timeNanos":%d}`, time.Now().Add(-10*time.Second).UnixNano()), -10000, true},
		{fmt.Sprintf(`{"timeNanos":%d}`, time.Now().Add(10*time.Second).UnixNano()), 10000, true},
		{`{"time":1}`, -1000 * float64(time.Now().Unix()-1), true},
		{`{"time":9223372036854775807}`, math.MaxInt64, true},
	} {
		before := time.Now()
		a := f.clock(c.query).ok(t)
		diff := a.millis(t, "clock", "diff", "time")
		if !near(diff, c.want) || a.at("clock", "diff", "dangerous") != c.dangerous {
			t.Errorf("%s: got %s, want %v", c.query, a.Data, c.want)
		}
		// The parts that an exact comparison needs: the host's own time, and the
		// difference in full.
		if offset := a.millis(t, "clock", "offset"); math.Abs(offset-diff) > 0.5 {
			t.Errorf("%s: offset %v, difference %v", c.query, offset, diff)
		}
		if local := time.Unix(0, int64(a.millis(t, "clock", "localNanos"))); local.Before(before.Add(-time.Millisecond)) || local.After(time.Now()) {
			t.Errorf("%s: localNanos is %v, want one during the request", c.query, local)
		}
		if a.millis(t, "clock", "sync", "status") != 3 || a.text("error") != "" || a.text("runner") != "web1" || a.text("clock", "server") != "" {
			t.Errorf("%s: got %s, want nothing checked", c.query, a.Data)
		}
		if _, isText := a.at("clock", "kernel", "state").(string); !isText {
			t.Errorf("%s: no kernel in %s", c.query, a.Data)
		}
	}
}

// Exactly what the old runner says of a time that is none.
func TestInvalidClockTime(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{NTPServers: []string{serveNTP(t, 0, nil)}}})
	for _, query := range []string{`{}`, `{"time":0}`, `{"time":-1}`, `{"time":-1,"sync":true}`, `{"timeNanos":-1}`, `{"time":1,"timeNanos":-1}`} {
		a := f.clock(query)
		if a.Header.Get("Nats-Service-Error") != "invalid clock time" || a.Header.Get("Nats-Service-Error-Code") != "400" || a.text("error") != "invalid clock time" {
			t.Errorf("%s: got %v %s", query, a.Header, a.Data)
		}
		diff, _ := a.at("clock", "diff").(map[string]any)
		if len(diff) != 2 || diff["time"] != 0.0 || diff["dangerous"] != true || a.at("clock", "sync", "status") != 2.0 {
			t.Errorf("%s: got %s", query, a.Data)
		}
	}
	// With NTP no time is needed.
	for _, query := range []string{`{"ntp":true}`, `{"ntp":true,"time":0}`} {
		f.clock(query).ok(t)
	}
	if a := f.ask("runner.maint.any", `{"kind":"runner","spec":{"maint":{}}}`); a.text("error") != "invalid clock time" || a.at("clock", "sync", "status") != 2.0 {
		t.Errorf("without a clock: got %s", a.Data)
	}
	for _, bad := range []string{`{"time":"soon"}`, `{"time":1.5}`, `{"time":9223372036854775808}`, `{"sync":"yes"}`, `[]`, `{"nosuch":1}`} {
		f.refused(400, "", "runner.maint.any", `{"kind":"runner","spec":{"maint":{"clock":`+bad+`}}}`)
	}
	f.clock(`{"time":1}`).ok(t)
}

func TestClockScopes(t *testing.T) {
	f := three(t)
	body := `{"kind":"runner","spec":{"maint":{"clock":{"time":1}}}}`
	for scope, want := range map[string]string{"all": "a b c", "pool.web.all": "a b"} {
		answers := f.askAll(len(strings.Fields(want)), "runner.maint."+scope, body)
		for name, a := range answers {
			if a.ok(t).text("runner") != name || a.at("clock", "diff", "dangerous") != true {
				t.Errorf("%s: got %s", name, a.Data)
			}
		}
	}
	for scope, want := range map[string]string{"at.b": "b", "pool.db.any": "b", "any": "a b c"} {
		if got := f.ask("runner.maint."+scope, body).ok(t).text("runner"); !strings.Contains(want, got) {
			t.Errorf("%s: %s answered", scope, got)
		}
	}
}

func TestClockNTP(t *testing.T) {
	f := newFleet(t)
	server := serveNTP(t, 7*time.Second, nil)
	f.start(service.Config{Settings: service.Settings{NTPServers: []string{server}}})
	a := f.clock(`{"ntp":true}`).ok(t)
	if !near(a.millis(t, "clock", "diff", "time"), 7000) || !near(a.millis(t, "clock", "offset"), 7000) || a.at("clock", "diff", "dangerous") != true {
		t.Errorf("got %s, want 7 s behind", a.Data)
	}
	if a.text("clock", "server") != server || a.at("clock", "stratum") != 2.0 || a.millis(t, "clock", "uncertainty") <= 0 || a.at("clock", "sync", "status") != 3.0 {
		t.Errorf("got %s", a.Data)
	}
}

// Who lies is believed in nothing: an error without the caller's own time,
// indeterminate with it, and the clock untouched.
func TestClockLies(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"kiss of death": func(p []byte) []byte { p[1] = 0; copy(p[12:], "DENY"); return p },
		"stratum 0":     func(p []byte) []byte { p[1] = 0; return p },
		"leap 3":        func(p []byte) []byte { p[0] |= 3 << 6; return p },
		"silence":       func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			f.start(service.Config{Settings: service.Settings{NTPServers: []string{serveNTP(t, time.Hour, change)}}})
			a := f.clock(`{"ntp":true}`)
			if a.Header.Get("Nats-Service-Error-Code") != "503" || !strings.Contains(a.text("error"), "no NTP server") || a.text("error") != a.Header.Get("Nats-Service-Error") {
				t.Errorf("got %v %s", a.Header, a.Data)
			}
			if a.at("clock", "diff", "dangerous") != true || a.at("clock", "sync", "status") != 3.0 {
				t.Errorf("got %s, want nothing known", a.Data)
			}
			began := time.Now()
			a = f.clock(fmt.Sprintf(`{"time":%d,"sync":true,"force":true}`, began.Unix())).ok(t)
			if took := time.Since(began); took > 4*time.Second+slack(0) {
				t.Errorf("took %v, want at most 4 s", took)
			}
			if a.at("clock", "sync", "status") != 2.0 || a.at("clock", "sync", "action") != "" || a.at("clock", "diff", "dangerous") != false || a.text("error") == "" {
				t.Errorf("got %s", a.Data)
			}
		})
	}
}

// The policy may keep the clock from being set: a 403 that names the rule, with
// the comparison all the same.
func TestClockPolicy(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{NTPServers: []string{serveNTP(t, 0, nil)}, Policy: &policy.Policy{Clock: policy.ClockRules{ForbidSet: true}}}})
	for _, query := range []string{`{"ntp":true,"sync":true,"force":true}`, fmt.Sprintf(`{"time":%d,"sync":true}`, time.Now().Unix())} {
		a := f.clock(query)
		if a.Header.Get("Nats-Service-Error-Code") != "403" || !strings.Contains(a.text("error"), "clock.forbidSet") || a.Header.Get("Nats-Service-Error") != a.text("error") {
			t.Errorf("%s: got %v %s", query, a.Header, a.Data)
		}
		if a.at("clock", "sync", "status") != 2.0 || a.at("clock", "sync", "action") != "" {
			t.Errorf("%s: got %s", query, a.Data)
		}
	}
	f.clock(`{"ntp":true}`).ok(t)
	f.start(service.Config{Name: "silent", Settings: service.Settings{Policy: &policy.Policy{Verbs: []string{"glance"}}}})
	f.refused(403, "verbs", "runner.maint.at.silent", verbs["maint"])
}

// The numbers of the old protocol, both ways.
func TestMaintProtobuf(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	ask := func(seconds int64) (pbuf, string) {
		clock := pbuf{}.varint(1, uint64(seconds)).varint(2, 0)
		body := pbuf{}.text(1, "v1").text(2, "runner").message(4, pbuf{}.message(1, pbuf{}.message(1, clock)))
		reply := f.noise("runner.maint.at.web1", protobuf, string(body))
		return reply.Data, reply.Header.Get("Nats-Service-Error")
	}
	reply, failed := ask(time.Now().Unix() - 3600)
	millis, _ := reply.field(t, 1, 1, 1).(uint64)
	if !near(float64(int64(millis)), -3600_000) || reply.field(t, 1, 1, 2) != uint64(1) || reply.field(t, 1, 2, 1) != uint64(3) || failed != "" {
		t.Errorf("got %x, %s", reply, failed)
	}
	for _, seconds := range []int64{0, -5} {
		reply, failed = ask(seconds)
		text, _ := reply.field(t, 2).([]byte)
		if failed != "invalid clock time" || string(text) != failed || reply.field(t, 1, 1, 2) != uint64(1) || reply.field(t, 1, 2, 1) != uint64(2) {
			t.Errorf("time %d: got %x, %s", seconds, reply, failed)
		}
		if _, there := reply.field(t, 1, 1, 1).(uint64); there {
			t.Errorf("time %d: got a difference: %x", seconds, reply)
		}
	}
}
