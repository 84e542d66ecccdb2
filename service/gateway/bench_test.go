package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// measured is a fleet of one runner behind a gateway.
type measured struct {
	client      *client.Client
	url, header string
}

func measure(t testing.TB) *measured {
	t.Helper()
	f := fleet.New(t, service.Config{Name: "r1"})
	g, err := gateway.New(t.Context(), f.Conn(), gateway.Config{Secret: secret, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	server := httptest.NewServer(g.Handler())
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return &measured{f.Client(), server.URL, "Bearer " + token(t, auth.ScopeAdmin)}
}

func (m *measured) do(b *testing.B, method, path, body string) *http.Response {
	b.Helper()
	req, _ := http.NewRequestWithContext(b.Context(), method, m.url+path, strings.NewReader(body))
	req.Header.Set("Authorization", m.header)
	res, err := transport.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		b.Fatalf("%s: %s", res.Status, text)
	}
	return res
}

func taskOf(argv ...string) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}
}

// BenchmarkRun is true from the request to its result: by NATS to its last record,
// over HTTP to the run's final one.
func BenchmarkRun(b *testing.B) {
	m := measure(b)
	b.Run("nats", m.runByNATS)
	b.Run("http", m.runByHTTP)
}

func (m *measured) runByNATS(b *testing.B) {
	for b.Loop() {
		m.oneByNATS(b)
	}
}

func (m *measured) oneByNATS(b *testing.B) {
	if out, err := m.client.Run(b.Context(), client.Target{}, taskOf("true"), client.RunEvents{}); err != nil || !out.OK() {
		b.Fatal(out, err)
	}
}

func (m *measured) runByHTTP(b *testing.B) {
	for b.Loop() {
		m.oneByHTTP(b)
	}
}

func (m *measured) oneByHTTP(b *testing.B) {
	res := m.do(b, "POST", "/api/v1/runs", `{"argv":["true"],"wait":"20s"}`)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// BenchmarkLag is how long a line takes from its printing, as it tells itself, to
// who follows: by NATS, and by events.
func BenchmarkLag(b *testing.B) {
	m := measure(b)
	b.Run("nats", m.lagByNATS)
	b.Run("events", m.lagByEvents)
}

var ticker = []string{"bash", "-c", `for i in $(seq 200); do echo $EPOCHREALTIME; sleep 0.005; done`}

// lags are in milliseconds.
type lags []float64

func (l *lags) add(b *testing.B, text string) {
	at, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", "."), 64)
	if err != nil {
		b.Fatal(err)
	}
	*l = append(*l, float64(time.Now().UnixNano())/1e6-at*1e3)
}

const p50 = "p50-ms"

func (l lags) report(b *testing.B) {
	slices.Sort(l)
	b.ReportMetric(l[len(l)/2], p50)
	b.ReportMetric(l[len(l)*99/100], "p99-ms")
}

func (m *measured) lagByNATS(b *testing.B) {
	var all lags
	for b.Loop() {
		_, err := m.client.Run(b.Context(), client.Target{}, taskOf(ticker...), client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
			if r.End == nil {
				all.add(b, string(r.Text))
			}
			return nil
		}})
		if err != nil {
			b.Fatal(err)
		}
	}
	all.report(b)
}

func (m *measured) lagByEvents(b *testing.B) {
	var all lags
	for b.Loop() {
		run, err := m.client.Start(b.Context(), client.Target{}, taskOf(ticker...))
		if err != nil {
			b.Fatal(err)
		}
		res := m.do(b, "GET", "/api/v1/runs/"+run.GetId()+"/events", "")
		e := scanEvents(res)
		for got, ok := e.next(); ok; got, ok = e.next() {
			if _, text, found := strings.Cut(got.data, `"message":"`); found && got.kind == "" {
				all.add(b, strings.TrimSuffix(text, `"}`))
			}
		}
		_ = res.Body.Close()
	}
	all[min(len(all)-1, 5):].report(b)
}

// BenchmarkDownload reads a log of a million lines: as the command does, over
// HTTP, and a part of it by Range.
func BenchmarkDownload(b *testing.B) {
	m := measure(b)
	run := m.million(b)
	b.Run("nats", func(b *testing.B) { m.readByNATS(b, run) })
	for name, query := range map[string]string{"http": "", "stdout": "?stream=stdout"} {
		b.Run(name, func(b *testing.B) { m.readByHTTP(b, run, query) })
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			res := m.do(b, "GET", "/api/v1/runs/"+run.GetId()+"/log/search?q=999999", "")
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		b.SetBytes(run.GetBytes())
	})
}

// million is a run of a million lines that has ended.
func (m *measured) million(t testing.TB) *pb.Run {
	t.Helper()
	out, err := m.client.Run(t.Context(), client.Target{}, taskOf("seq", "-f", "line %.0f of a million", "1000000"), client.RunEvents{})
	if err != nil {
		t.Fatal(err)
	}
	run, err := m.client.Wait(context.Background(), out.Run.GetId())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func (m *measured) readByNATS(b *testing.B, run *pb.Run) {
	for b.Loop() {
		n := int64(0)
		if _, err := m.client.Follow(b.Context(), run, client.FollowOptions{}, func(r lines.Record) error { n += int64(len(r.Text)); return nil }); err != nil || n == 0 {
			b.Fatal(n, err)
		}
	}
	b.SetBytes(run.GetBytes())
}

func (m *measured) readByHTTP(b *testing.B, run *pb.Run, query string) {
	for b.Loop() {
		res := m.do(b, "GET", "/api/v1/runs/"+run.GetId()+"/log"+query, "")
		n, err := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || n != run.GetBytes() {
			b.Fatal(fmt.Errorf("%d of %d bytes: %w", n, run.GetBytes(), err))
		}
	}
	b.SetBytes(run.GetBytes())
}

// recordByNATS is what HTTP gives, asked for by NATS: true until its record is final.
func (m *measured) recordByNATS(b *testing.B) {
	run, err := m.client.Start(b.Context(), client.Target{}, taskOf("true"))
	if err == nil {
		run, err = m.client.Wait(b.Context(), run.GetId())
	}
	if err != nil || run.GetState() != pb.State_COMPLETE {
		b.Fatal(run, err)
	}
}

// settling is a pause between two runs. By NATS a run is over for who asked when its
// log has ended; the runner has still to write its record, and whoever comes right
// behind would wait for that as well.
const settling = 5 * time.Millisecond

// inTurn are the medians of ways to run true, one after the other, so that all see
// the same machine.
func inTurn(b *testing.B, ways ...func(*testing.B)) []time.Duration {
	all := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, one := range ways {
			time.Sleep(settling)
			began := time.Now()
			one(b)
			all[i] = append(all[i], time.Since(began))
		}
	}
	medians := make([]time.Duration, len(ways))
	for i, times := range all {
		slices.Sort(times)
		medians[i] = times[len(times)/2]
	}
	return medians
}

// BenchmarkRunInTurn says how much longer true takes over HTTP than by NATS: to the
// end of its log, and to its final record.
func BenchmarkRunInTurn(b *testing.B) {
	m := measure(b)
	took := inTurn(b, m.oneByNATS, m.recordByNATS, m.oneByHTTP)
	b.ReportMetric(float64(took[0])/1e6, "nats-ms")
	b.ReportMetric(float64(took[1])/1e6, "nats-record-ms")
	b.ReportMetric(float64(took[2])/1e6, "http-ms")
	b.ReportMetric(float64(took[2])/float64(took[0]), "http/nats")
}

// What HTTP costs beside NATS, in one run on a quiet machine.
func TestBudgets(t *testing.T) {
	if os.Getenv("RUNNEL_LONG") == "" {
		t.Skip("it needs a quiet machine: tests/prove budgets")
	}
	of := func(f func(*testing.B)) testing.BenchmarkResult {
		t.Helper()
		got := testing.Benchmark(f)
		if got.N == 0 {
			t.Fatal("a measurement failed")
		}
		return got
	}
	within := func(what string, got, limit float64) {
		t.Helper()
		t.Logf("%s: %.3f, %.3f at most", what, got, limit)
		if got > limit {
			t.Errorf("%s: %.3f is above %.3f", what, got, limit)
		}
	}
	m := measure(t)
	var took []time.Duration
	of(func(b *testing.B) { took = inTurn(b, m.oneByNATS, m.oneByHTTP) })
	within(fmt.Sprintf("a run of true over HTTP, of its %v by NATS", took[0]), float64(took[1])/float64(took[0]), 1.3)
	within("ms of a line's way by events", of(m.lagByEvents).Extra[p50], of(m.lagByNATS).Extra[p50]+1)
	run := m.million(t)
	read := of(func(b *testing.B) { m.readByNATS(b, run) }).NsPerOp()
	for _, query := range []string{"", "?stream=stdout"} {
		down := of(func(b *testing.B) { m.readByHTTP(b, run, query) }).NsPerOp()
		within(fmt.Sprintf("a million lines downloaded (%s), of their %v by NATS", query, time.Duration(read)), float64(down)/float64(read), 2)
	}
	j := manyJobs(t)
	within("ms of 1,000 jobs", float64(of(j.whole).NsPerOp())/1e6, 10)
	within("ms of 1,000 jobs that have not changed", float64(of(j.unchanged).NsPerOp())/1e6, 1)
}
