package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// benchWorld is a fleet of one runner behind a gateway.
func benchWorld(b *testing.B) (c *client.Client, url, header string) {
	b.Helper()
	f := fleet.New(b, service.Config{Name: "r1"})
	g, err := gateway.New(b.Context(), f.Conn(), gateway.Config{Secret: secret, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.Close)
	server := httptest.NewServer(g.Handler())
	b.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	text, err := auth.Token(secret, "me", []auth.Scope{auth.ScopeAdmin}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	return f.Client(), server.URL, "Bearer " + text
}

func benchDo(b *testing.B, method, url, body, header string) *http.Response {
	b.Helper()
	req, _ := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	req.Header.Set("Authorization", header)
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
	c, url, header := benchWorld(b)
	b.Run("nats", func(b *testing.B) {
		for b.Loop() {
			if out, err := c.Run(b.Context(), client.Target{}, taskOf("true"), client.RunEvents{}); err != nil || !out.OK() {
				b.Fatal(out, err)
			}
		}
	})
	b.Run("http", func(b *testing.B) {
		for b.Loop() {
			res := benchDo(b, "POST", url+"/api/v1/runs", `{"argv":["true"],"wait":"20s"}`, header)
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}

// BenchmarkLag is how long a line takes from its printing, as it tells itself, to
// who follows: by NATS, and by events.
func BenchmarkLag(b *testing.B) {
	c, url, header := benchWorld(b)
	ticker := []string{"bash", "-c", `for i in $(seq 200); do echo $EPOCHREALTIME; sleep 0.005; done`}
	report := func(b *testing.B, lags []float64) {
		slices.Sort(lags)
		b.ReportMetric(lags[len(lags)/2], "p50-ms")
		b.ReportMetric(lags[len(lags)*99/100], "p99-ms")
	}
	lag := func(text string) float64 {
		at, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", "."), 64)
		if err != nil {
			b.Fatal(err)
		}
		return float64(time.Now().UnixNano())/1e6 - at*1e3
	}
	b.Run("nats", func(b *testing.B) {
		var lags []float64
		for b.Loop() {
			_, err := c.Run(b.Context(), client.Target{}, taskOf(ticker...), client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
				if r.End == nil {
					lags = append(lags, lag(string(r.Text)))
				}
				return nil
			}})
			if err != nil {
				b.Fatal(err)
			}
		}
		report(b, lags)
	})
	b.Run("events", func(b *testing.B) {
		var lags []float64
		for b.Loop() {
			run, err := c.Start(b.Context(), client.Target{}, taskOf(ticker...))
			if err != nil {
				b.Fatal(err)
			}
			res := benchDo(b, "GET", url+"/api/v1/runs/"+run.GetId()+"/events", "", header)
			e := scanEvents(res)
			for got, ok := e.next(); ok; got, ok = e.next() {
				if _, text, found := strings.Cut(got.data, `"message":"`); found && got.kind == "" {
					lags = append(lags, lag(strings.TrimSuffix(text, `"}`)))
				}
			}
			_ = res.Body.Close()
		}
		report(b, lags[min(len(lags)-1, 5):])
	})
}

// BenchmarkDownload reads a log of a million lines: as the command does, over
// HTTP, and a part of it by Range.
func BenchmarkDownload(b *testing.B) {
	c, url, header := benchWorld(b)
	out, err := c.Run(b.Context(), client.Target{}, taskOf("seq", "-f", "line %.0f of a million", "1000000"), client.RunEvents{})
	if err != nil {
		b.Fatal(err)
	}
	run, err := c.Wait(context.Background(), out.Run.GetId())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("nats", func(b *testing.B) {
		for b.Loop() {
			n := int64(0)
			if _, err := c.Follow(b.Context(), run, client.FollowOptions{}, func(r lines.Record) error { n += int64(len(r.Text)); return nil }); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
		b.SetBytes(run.GetBytes())
	})
	for name, query := range map[string]string{"http": "", "stdout": "?stream=stdout"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				res := benchDo(b, "GET", url+"/api/v1/runs/"+run.GetId()+"/log"+query, "", header)
				n, err := io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if err != nil || n != run.GetBytes() {
					b.Fatal(fmt.Errorf("%d of %d bytes: %w", n, run.GetBytes(), err))
				}
			}
			b.SetBytes(run.GetBytes())
		})
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			res := benchDo(b, "GET", url+"/api/v1/runs/"+run.GetId()+"/log/search?q=999999", "", header)
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		b.SetBytes(run.GetBytes())
	})
}
