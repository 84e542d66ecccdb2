package tests

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// lone is a gateway in a process of its own: the real program. The fleet has a
// server and a runner in others.
type lone struct {
	t      *testing.T
	asks   *client.Client
	url    string
	token  string
	client *http.Client
	cmd    *rig.Process
	idle   int64 // bytes that it has when it has done nothing yet
}

func newLone(t *testing.T) *lone {
	t.Helper()
	server := newProcess(t, "server", processConfig{Port: rig.FreePort(t)})
	url, seed := fmt.Sprintf("nats://127.0.0.1:%d", server.cfg.Port), filepath.Join(server.cfg.DataDir, "user.nk")
	newProcess(t, "a", processConfig{Runner: "a", URL: url, SeedFile: seed})
	g := &lone{t: t, asks: fleetClient(t, url, seed), client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	t.Cleanup(g.client.CloseIdleConnections)
	home := t.TempDir()
	cmd := exec.Command(rig.Program(t), "--server", url, "--nkey", seed, "gateway", "--http", "127.0.0.1:0", "--jwt-secret", mcpSecret, "--data", home)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home)
	g.cmd = rig.Run(t, cmd)
	g.cmd.Says("gateway on ")
	g.url = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`).FindString(g.cmd.Output())
	var err error
	if g.token, err = auth.Token(mcpSecret, "me", []auth.Scope{auth.ScopeRead}, time.Hour); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the gateway is ready", func() bool {
		res, err := g.get("/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode == http.StatusOK
	})
	g.idle = g.memory()
	return g
}

func fleetClient(t *testing.T, url, seed string) *client.Client {
	t.Helper()
	c, err := client.New(dialed(t, url, seed), client.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (g *lone) start(command string) *pb.Run {
	g.t.Helper()
	task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{command}}}}
	run, err := g.asks.Start(rig.Within(g.t, time.Minute), client.Target{On: "a"}, task)
	if err != nil {
		g.t.Fatal(err)
	}
	return run
}

// get begins a request; its answer may take minutes.
func (g *lone) get(path string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), "GET", g.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return g.client.Do(req)
}

// memory is what the gateway has of its own, in bytes.
func (g *lone) memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		g.t.Error(err)
	}
	return kib << 10
}

// grows says by how much the gateway's memory is above what an idle one has, at
// most, while something is done.
func (g *lone) grows(do func()) int64 {
	stop, done := make(chan struct{}), make(chan struct{})
	peak := g.memory()
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, g.memory())
			case <-stop:
				return
			}
		}
	}()
	do()
	close(stop)
	<-done
	return peak - g.idle
}

// within fails where the whole size takes more memory than it may. A small one
// says nothing.
func (g *lone) within(what string, grown, limit int64) {
	g.t.Helper()
	g.t.Logf("%s: the gateway's memory grew by %d MiB", what, grown>>20)
	if os.Getenv("RUNNEL_LONG") != "" && grown > limit {
		g.t.Errorf("%s: the gateway's memory grew by %d bytes, want %d at most", what, grown, limit)
	}
}

func long(small, whole int) int {
	if os.Getenv("RUNNEL_LONG") != "" {
		return whole
	}
	return small
}

// One reader of a log of a gibibyte gets all of it, or the part that he wants, and
// the gateway holds little of it.
func TestGatewayReadsALargeLog(t *testing.T) {
	g := newLone(t)
	size := int64(long(24<<20, 1<<30))
	line := strings.Repeat("0123456789", 10)
	run := g.start(fmt.Sprintf("yes %s | head -c %d", line, size))
	if _, err := g.asks.Wait(rig.Within(t, 3*time.Minute), run.GetId()); err != nil {
		t.Fatal(err)
	}
	want := func(from, to int64) hash.Hash {
		h := sha256.New()
		text := bytes.Repeat([]byte(line+"\n"), 1000)
		for at := from; at < to; {
			piece := text[at%int64(len(line)+1):]
			piece = piece[:min(int64(len(piece)), to-at)]
			_, _ = h.Write(piece)
			at += int64(len(piece))
		}
		return h
	}
	path := "/api/v1/runs/" + run.GetId() + "/log"
	for _, c := range []struct {
		name, query, header string
		from, to            int64
	}{
		{"whole", "", "X: y", 0, size},
		{"standard output", "?stream=stdout", "X: y", 0, size},
		{"the last half", "?stream=stdout", fmt.Sprintf("Range: bytes=%d-", size/2), size / 2, size},
		{"a kilobyte", "?stream=stdout", fmt.Sprintf("Range: bytes=%d-%d", size/3, size/3+999), size / 3, size/3 + 1000},
		{"the end", "?stream=stdout", "Range: bytes=-5000", size - 5000, size},
	} {
		grown := g.grows(func() {
			res, err := g.get(path+c.query, c.header)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			got := sha256.New()
			n, err := io.Copy(got, res.Body)
			if err != nil || n != c.to-c.from && !(n == c.to-c.from+1 && c.to == size) {
				t.Errorf("%s: %d bytes, want %d (%v, %s)", c.name, n, c.to-c.from, err, res.Status)
			} else if n == c.to-c.from && !bytes.Equal(got.Sum(nil), want(c.from, c.to).Sum(nil)) {
				t.Errorf("%s: not the bytes that are wanted", c.name)
			}
		})
		g.within(c.name, grown, 32<<20)
	}
}

// Followers of one flood share one reader; slow ones hold nobody up, and cost
// little.
func TestGatewaySharesAReader(t *testing.T) {
	g := newLone(t)
	followers, lines := long(20, 200), long(5_000, 100_000)
	gate := filepath.Join(t.TempDir(), "go")
	run := g.start(fmt.Sprintf("until [ -e %s ]; do sleep .05; done; seq -f 'a line of the flood that is as long as lines are: %%.0f' %d", gate, lines))
	var begun, over sync.WaitGroup
	grown := g.grows(func() {
		for i := range followers {
			begun.Add(1)
			over.Go(func() {
				slow := time.Duration(0)
				if i%4 == 0 {
					slow = 20 * time.Millisecond
				}
				if n, err := g.follow(run.GetId(), slow, begun.Done); err != nil || n != lines {
					t.Errorf("follower %d has %d lines, want %d: %v", i, n, lines, err)
				}
			})
		}
		begun.Wait()
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Error(err)
		}
		over.Wait()
	})
	g.within(fmt.Sprintf("%d followers of %d lines", followers, lines), grown, 64<<20)
}

// follow reads a log's events to the end and counts its lines, which must be in
// order.
func (g *lone) follow(run string, slow time.Duration, begun func()) (lines int, err error) {
	res, err := g.get("/api/v1/events?topics=log:" + run)
	begun()
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	in := bufio.NewReaderSize(res.Body, 16<<10)
	for goesOn := false; ; {
		text, err := in.ReadSlice('{')
		if err == io.EOF || bytes.Contains(text, []byte("event: end")) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		goesOn = goesOn || bytes.Contains(text, []byte(`"tag":"BOL"`)) // the record before is a piece of a line
		if ahead, _ := in.Peek(24); bytes.HasPrefix(ahead, []byte(`"pos":`)) {
			digits, _, _ := bytes.Cut(ahead[len(`"pos":`):], []byte{','})
			n, err := strconv.Atoi(string(digits))
			if goesOn && n == lines {
				goesOn = false
				continue
			}
			goesOn = false
			if err != nil || n != lines+1 {
				return lines, fmt.Errorf("line %s behind %d", digits, lines)
			}
			lines++
			if lines%500 == 0 {
				time.Sleep(slow)
			}
		}
	}
}
