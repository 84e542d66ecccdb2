package subjects

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesOfASpace(t *testing.T) {
	s, err := New("acme.runner")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		s.Request(Task, At("web1")):      "acme.runner.task.at.web1",
		s.Request(Task, PoolAny("db")):   "acme.runner.task.pool.db.any",
		s.Request(Glance, PoolAll("db")): "acme.runner.glance.pool.db.all",
		s.Request(Query, Any):            "acme.runner.query.any",
		s.Log("web1", "42"):              "acme.runner.log.web1.42",
		s.LogAny("42"):                   "acme.runner.log.*.42",
		s.LogStream():                    "ACME_RUNNER_LOG",
		s.RunsBucket():                   "acme_runner_runs",
		s.FleetBucket():                  "acme_runner_fleet",
		s.Service():                      "acme_runner",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, bad := range []string{".", "a.", ".a", "a..b", "Runner", "a_b", "a b", "a.*", "a.>", "runner.log", "runner.task", strings.Repeat("a", 65)} {
		if _, err := New(bad); err == nil {
			t.Errorf("prefix %q was accepted", bad)
		}
	}
	if s, err := New(""); err != nil || s.Prefix() != "runner" {
		t.Errorf("empty prefix: got %q, %v", s.Prefix(), err)
	}
}

// Two prefixes share nothing: neither a stream nor a bucket nor a service nor a subject.
func TestPrefixesShareNothing(t *testing.T) {
	prefix := rapid.StringMatching(`[a-z][a-z-]{0,3}(\.(log|task|[a-z]{1,3})){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		a, errA := New(prefix.Draw(t, "a"))
		b, errB := New(prefix.Draw(t, "b"))
		if errA != nil || errB != nil || a == b {
			t.Skip()
		}
		if a.LogStream() == b.LogStream() || a.RunsBucket() == b.RunsBucket() || a.Service() == b.Service() {
			t.Fatalf("%v and %v share a stream, a bucket or a service", a, b)
		}
		if strings.HasPrefix(b.Log("r", "x"), strings.TrimSuffix(a.LogAll(), ">")) {
			t.Fatalf("%v has the log of %v in its stream", a, b)
		}
	})
}

func TestLegaliseGivesATokenAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "host")
		got := Legalise(s)
		if err := Token(got); err != nil {
			t.Fatalf("Legalise(%q): %v", s, err)
		}
		if Token(s) == nil && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-") && got != s {
			t.Fatalf("Legalise changed the token %q to %q", s, got)
		}
	})
}

func TestParseLogReadsWhatLogWrote(t *testing.T) {
	s, _ := New("")
	if runner, run, ok := s.ParseLog(s.Log("web1", "42")); !ok || runner != "web1" || run != "42" {
		t.Errorf("got %q %q %v", runner, run, ok)
	}
	for _, bad := range []string{"runner.log.web1", "runner.log.web1.a.b", "other.log.web1.a", "runner.log.*.a", "runner.log.a."} {
		if _, _, ok := s.ParseLog(bad); ok {
			t.Errorf("%q was read as a log subject", bad)
		}
	}
}

func TestScopes(t *testing.T) {
	for scope, want := range map[Scope][2]bool{
		All: {true, false}, Any: {false, true}, At("all"): {false, false}, At("any"): {false, false},
		PoolAll("x"): {true, false}, PoolAny("x"): {false, true},
	} {
		if got := [2]bool{scope.Many(), scope.IsAny()}; got != want {
			t.Errorf("%s: many, any = %v, want %v", scope, got, want)
		}
	}
}
