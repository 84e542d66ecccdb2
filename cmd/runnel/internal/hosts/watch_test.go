package hosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// newWatch is a `runnel ls --watch` that writes into the buffer.
func newWatch(asJSON bool) (*fleetWatch, *bytes.Buffer) {
	var out bytes.Buffer
	return &fleetWatch{App: app.New(app.Stdio{Out: &out, Err: &out}), asJSON: asJSON, runners: map[string]watched{}}, &out
}

var clockTime = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  `)

// said is what was written since the last time, without the times of day.
func said(t *testing.T, out *bytes.Buffer) string {
	t.Helper()
	text := out.String()
	out.Reset()
	if n := len(clockTime.FindAllString(text, -1)); n != strings.Count(text, "\n") {
		t.Errorf("%d of the lines begin with a time: %q", n, text)
	}
	return clockTime.ReplaceAllString(text, "")
}

// In a pipe a line is a change; that a runner lives is none.
func TestWatchTellsOfChangesOnly(t *testing.T) {
	w, out := newWatch(false)
	card := func(change func(*client.Runner)) client.Runner {
		r := runner("web1", "ready", true)
		r.Card.Pools, r.Card.Labels = []string{"web"}, map[string]string{"env": "prod"}
		change(&r)
		return r
	}
	for _, step := range []struct {
		what string
		card client.Runner
		want string
	}{
		{"it comes", card(func(*client.Runner) {}), "web1          online     2/64  web  env=prod  1.2.3\n"},
		{"it lives", card(func(r *client.Runner) { r.Age, r.Rev = time.Second, 7 }), ""},
		{"its load is no news", card(func(r *client.Runner) { r.Card.Load = 12 }), ""},
		{"it runs more", card(func(r *client.Runner) { r.Card.Running = 3 }), "web1          online     3/64  web  env=prod  1.2.3\n"},
		{"it drains", card(func(r *client.Runner) { r.Card.State = "draining" }), "web1          draining   2/64  web  env=prod  1.2.3\n"},
		{"it stops", card(func(r *client.Runner) { r.Online = false }), "web1          offline    -  web  env=prod  1.2.3\n"},
		{"it is another version", card(func(r *client.Runner) { r.Card.Version, r.Card.Labels = "1.3.0", nil }), "web1          online     2/64  web  -  1.3.0\n"},
		{"it is forgotten", card(func(r *client.Runner) { r.Forgotten = true }), "web1          forgotten\n"},
		{"it is forgotten again", card(func(r *client.Runner) { r.Forgotten = true }), ""},
		{"it comes back", card(func(*client.Runner) {}), "web1          online     2/64  web  env=prod  1.2.3\n"},
	} {
		if err := w.take(step.card); err != nil {
			t.Fatal(err)
		}
		if got := said(t, out); got != step.want {
			t.Errorf("%s: got %q, want %q", step.what, got, step.want)
		}
	}
}

// A name that came over the wire can't move the cursor.
func TestWatchIsPrintable(t *testing.T) {
	w, out := newWatch(false)
	r := runner("web1", "ready", true)
	r.Card.Version = "1\x1b[2J\n2"
	if err := w.take(r); err != nil {
		t.Fatal(err)
	}
	if got := said(t, out); strings.ContainsRune(got, 0x1b) || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

// Nobody tells that a runner has gone: its card becomes too old.
func TestWatchSeesCardsAge(t *testing.T) {
	w, out := newWatch(false)
	now := time.Now()
	for name, age := range map[string]time.Duration{"young": 0, "old": store.DefaultOnlineFor - time.Millisecond} {
		r := runner(name, "ready", true)
		r.Age = age
		w.runners[name] = watched{Runner: r, came: now.Add(-time.Second)}
	}
	for range 3 { // and says so once
		if err := w.age(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := said(t, out), "old           offline    -    -  1.2.3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if w.runners["old"].Online || !w.runners["young"].Online {
		t.Errorf("online: old %t, young %t", w.runners["old"].Online, w.runners["young"].Online)
	}
}

func TestWatchAsJSON(t *testing.T) {
	w, out := newWatch(true)
	gone := runner("web1", "ready", false)
	gone.Forgotten = true
	for _, r := range []client.Runner{runner("web1", "ready", true), runner("web1", "ready", true), gone} {
		if err := w.take(r); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var one struct {
			Online, Forgotten bool
			Card              struct{ Name string }
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, fmt.Sprint(one.Card.Name, one.Online, one.Forgotten))
	}
	if want := "web1true false,web1false true"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A terminal has a table that is drawn over the one before, and no line is left of
// a longer one.
func TestWatchDrawsOverItself(t *testing.T) {
	w, out := newWatch(false)
	draw := func() string {
		t.Helper()
		out.Reset()
		if err := w.draw(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got, want := draw(), "\rno runner has been seen yet\x1b[K\n\x1b[J"; got != want {
		t.Errorf("nobody: got %q, want %q", got, want)
	}
	for _, name := range []string{"web2", "web1"} {
		w.runners[name] = watched{Runner: runner(name, "ready", true), came: time.Now()}
	}
	got := draw()
	if !strings.HasPrefix(got, "\x1b[1A\rRUNNER") || !strings.HasSuffix(got, "\x1b[K\n\x1b[J") {
		t.Errorf("two: got %q", got)
	}
	if first, second := strings.Index(got, "\rweb1"), strings.Index(got, "\rweb2"); first < 0 || second < first {
		t.Errorf("not in order: %q", got)
	}
	if got := draw(); !strings.HasPrefix(got, "\x1b[3A\r") {
		t.Errorf("the same again: got %q", got)
	}
}

// The age that is shown goes on between two cards.
func TestWatchShowsAgesAsTheyGrow(t *testing.T) {
	w, out := newWatch(false)
	r := runner("web1", "ready", true)
	r.Age = 0
	w.runners["web1"] = watched{Runner: r, came: time.Now().Add(-2 * time.Hour)}
	if err := w.draw(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "  2h\x1b[K") {
		t.Errorf("got %q, want an age of two hours", out.String())
	}
	if w.runners["web1"].Age != 0 {
		t.Error("drawing has changed what is known")
	}
}

func TestCardAsJSON(t *testing.T) {
	var out bytes.Buffer
	r := runner("web1", "ready", true)
	r.LastSeen = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	r.Card.Started = nil
	if err := printRunnerJSON(app.New(app.Stdio{Out: &out, Err: &out}), r); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String()[:len(`{"online":true,"lastSeen":"2026-01-02T02:04:05Z","card":{`)], `{"online":true,"lastSeen":"2026-01-02T02:04:05Z","card":{`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var got struct{ Card json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	card := new(pb.Card)
	if err := pb.UnmarshalJSON(got.Card, card); err != nil || card.GetSlots() != 64 || card.GetVersion() != "1.2.3" {
		t.Errorf("got %v, %v: the card is not as on the wire", card, err)
	}
}
