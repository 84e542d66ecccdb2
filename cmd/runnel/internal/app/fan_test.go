package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/quick"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// numbered are so many names.
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("web", i+1))
	}
	return names
}

func TestNamesOfMany(t *testing.T) {
	for n, want := range map[int]string{
		0:    "",
		1:    "web1",
		2:    "web1, web2",
		8:    "web1, web2, web3, web4, web5, web6, web7, web8",
		9:    "web1, web2, web3, web4, web5, web6, web7, web8 and 1 more",
		1000: "web1, web2, web3, web4, web5, web6, web7, web8 and 992 more",
	} {
		if got := Names(numbered(n)); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestCausesOfFailures(t *testing.T) {
	for name, c := range map[string]struct {
		why  map[string]string
		want string
	}{
		"nobody":           {nil, ""},
		"one":              {map[string]string{"web1": "exit 3"}, "web1: exit 3"},
		"one cause":        {map[string]string{"web2": "exit 3", "web1": "exit 3"}, "web1, web2: exit 3"},
		"two causes":       {map[string]string{"b": "late", "a": "exit 3", "c": "exit 3"}, "a, c: exit 3; b: late"},
		"three":            {map[string]string{"a": "1", "b": "2", "c": "3"}, "a: 1; b: 2; c: 3"},
		"a fourth":         {map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}, "a: 1; b: 2; c: 3; 1 more cause"},
		"more":             {map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}, "a: 1; b: 2; c: 3; 2 more causes"},
		"in several lines": {map[string]string{"a": "no\nway\x1b[2J"}, "a: no way\uFFFD[2J"},
	} {
		if got := Causes(c.why); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A summary is a line, however many failed and whatever they say.
func TestCausesAreALine(t *testing.T) {
	check := func(why map[string]string) bool {
		text := Causes(why)
		return !strings.ContainsAny(text, "\n\r\x1b") && (text == "") == (len(why) == 0)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestFanOutsInALine(t *testing.T) {
	no := errors.New("no such file")
	for name, c := range map[string]struct {
		lists client.FanLists
		said  string
		code  int
	}{
		"all well":    {client.FanLists{OK: []string{"a", "b"}}, "runnel: 2 runners: 2 ok\n", 0},
		"one":         {client.FanLists{OK: []string{"a"}}, "runnel: 1 runner: 1 ok\n", 0},
		"some left":   {client.FanLists{OK: []string{"a"}, Skipped: []string{"b", "c"}}, "runnel: 3 runners: 1 ok, 2 skipped (b, c)\n", 0},
		"unexpected":  {client.FanLists{OK: []string{"a"}, Unexpected: []string{"x"}}, "runnel: 2 runners: 1 ok, 1 unexpected (x)\n", 0},
		"one failed":  {client.FanLists{OK: []string{"a"}, Failed: []string{"b"}, Errors: map[string]error{"b": no}}, "runnel: 2 runners: 1 ok, 1 failed (b: no such file)\n", 1},
		"all failed":  {client.FanLists{Failed: []string{"a", "b"}, Errors: map[string]error{"a": no, "b": no}}, "runnel: 2 runners: 0 ok, 2 failed (a, b: no such file)\n", 1},
		"one missing": {client.FanLists{OK: []string{"a"}, Missing: []string{"b"}}, "runnel: 2 runners: 1 ok, 1 missing (b)\n", 125},
		"too few":     {client.FanLists{OK: []string{"a"}, Short: 2}, "runnel: 1 runner: 1 ok, 2 fewer than expected\n", 125},
		"none of two": {client.FanLists{Short: 2}, "runnel: 0 runners: 0 ok, 2 fewer than expected\n", 125},
		"the worst counts": {
			client.FanLists{OK: []string{"a"}, Failed: []string{"b"}, Missing: []string{"c"}, Errors: map[string]error{"b": no}},
			"runnel: 3 runners: 1 ok, 1 failed (b: no such file), 1 missing (c)\n", 125,
		},
	} {
		var out, errOut bytes.Buffer
		a := New(Stdio{Out: &out, Err: &errOut})
		err := a.SayFan(&c.lists)
		if got := cli.Report(err, io.Discard); got != c.code {
			t.Errorf("%s: got code %d, want %d", name, got, c.code)
		}
		if errOut.String() != c.said || out.Len() > 0 {
			t.Errorf("%s: got %q, want %q on standard error", name, errOut.String(), c.said)
		}
	}
	// Nobody was meant: there is nothing to sum up.
	for name, lists := range map[string]client.FanLists{"nobody": {}, "all were left out": {Skipped: []string{"a"}}} {
		var errOut bytes.Buffer
		if err := New(Stdio{Out: &errOut, Err: &errOut}).SayFan(&lists); !errors.Is(err, client.ErrNoMatch) || errOut.Len() > 0 {
			t.Errorf("%s: got %v, %q, want %v", name, err, errOut.String(), client.ErrNoMatch)
		}
	}
}

func TestListsAsJSON(t *testing.T) {
	var out bytes.Buffer
	a := New(Stdio{Out: &out, Err: io.Discard})
	if err := a.PrintLists(&client.FanLists{OK: []string{"a"}, Missing: []string{"b"}, Short: 1}); err != nil {
		t.Fatal(err)
	}
	// Lists are never null: jq '.summary.failed | length' works without a runner.
	if got, want := out.String(), `{"summary":{"failed":[],"missing":["b"],"ok":["a"],"skipped":[],"unexpected":[]}}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	out.Reset()
	if err := a.PrintSummary([]string{"x"}, []string{"y"}, &client.FanLists{OK: []string{"a"}, Failed: []string{"b"}, Skipped: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"summary":{"failed":["y"],"missing":[],"ok":["x"],"skipped":["s"],"unexpected":[]}}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Each reply is a line with its runner's name, in the order that is asked for. An
// answer that could not be read is none; a refusal is.
func TestRepliesAsJSON(t *testing.T) {
	code := int32(403)
	answers := map[string]client.Reply[*pb.MaintReply]{
		"web1": {Message: &pb.MaintReply{Clock: &pb.ClockReply{Offset: 1.5}}},
		"web2": {Message: &pb.MaintReply{Error: "no", Code: &code}, Err: &client.RemoteError{Code: 403, Text: "no"}},
		"web3": {Err: errors.New("cannot read the answer")},
	}
	var out bytes.Buffer
	a := New(Stdio{Out: &out, Err: io.Discard})
	result := &client.FanResult[*pb.MaintReply]{Answers: answers}
	if err := PrintReplies(a, result, []string{"web3", "web2"}, []string{"web1"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		reply := new(pb.MaintReply)
		if err := pb.UnmarshalJSON([]byte(line), reply); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, fmt.Sprint(reply.GetRunner(), " ", reply.GetCode(), " ", reply.GetError(), reply.GetClock().GetOffset()))
	}
	if want := []string{"web2 403 no 0", "web1 0 1.5"}; len(got) != 2 || !strings.HasPrefix(got[0], "web2 403 no") || !strings.HasPrefix(got[1], "web1 0 ") {
		t.Errorf("got %q, want %q", got, want)
	}
	glances := &client.FanResult[*pb.GlanceReply]{Answers: map[string]client.Reply[*pb.GlanceReply]{"db1": {Message: &pb.GlanceReply{}}}}
	out.Reset()
	if err := PrintReplies(a, glances, []string{"db1"}); err != nil || !strings.Contains(out.String(), `"runner":"db1"`) {
		t.Errorf("got %q, %v, want the runner's name", out.String(), err)
	}
}

// A message on one line is what is on the wire.
func TestMessagesAsJSON(t *testing.T) {
	var out bytes.Buffer
	a := New(Stdio{Out: &out, Err: io.Discard})
	run := &pb.Run{Id: "r1", State: pb.State_RUNNING, Command: "echo <a> & b\nc", ExitCode: 0}
	if err := a.PrintJSON(run); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
		t.Errorf("got %q, want one line", text)
	}
	back := new(pb.Run)
	if err := pb.UnmarshalJSON([]byte(text), back); err != nil || back.GetCommand() != run.GetCommand() || back.GetState() != pb.State_RUNNING {
		t.Errorf("got %v, %v", back, err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil || fields["state"] != "RUNNING" {
		t.Errorf("got %v, %v, want a state in words", fields, err)
	}
	a.Out = failing{}
	if err := a.PrintJSON(run); err == nil {
		t.Error("a write that fails is silent")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWordsWithTheirNumber(t *testing.T) {
	got := counted(map[string]int{"b": 2, "a": 1, "c": 0})
	if want := []string{"a\t1 runner", "b\t2 runners", "c\t0 runners"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := counted(nil); got != nil {
		t.Errorf("of nothing: got %q", got)
	}
}

// Progress counts answers, on a terminal; elsewhere it is silent.
func TestProgressOfAFanOut(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var errOut bytes.Buffer
		a := New(Stdio{Out: io.Discard, Err: &errOut})
		a.ErrLook.Terminal, a.ErrLook.Width = terminal, 80
		opts, done := a.FanProgress(client.FanOptions{Batch: 7, Limit: "3"})
		if opts.Batch != 7 || opts.Limit != "3" {
			t.Errorf("the options are not those that were given: %+v", opts)
		}
		opts.Expected([]string{"a", "b"})
		opts.Answered("a")
		done()
		if !terminal && errOut.Len() > 0 {
			t.Errorf("in a pipe: %q", errOut.String())
		}
	}
	_, done := New(Stdio{Out: io.Discard, Err: io.Discard}).FanProgress(client.FanOptions{})
	done() // nobody was asked
}

func TestSelectorsAreExpressions(t *testing.T) {
	for key, want := range map[string]bool{"env": true, "_x9": true, "rack.unit": false, "a-b": false, "9x": false, "": false, "ä": false} {
		if got := identifier.MatchString(key); got != want {
			t.Errorf("%q: identifier %t, want %t", key, got, want)
		}
	}
}
