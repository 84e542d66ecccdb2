package bench

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

const webName = "bench-http"

// webRunner is a runner that serves the fleet over HTTP, which is most of its
// memory, and its metrics.
type webRunner struct {
	cmd     *exec.Cmd
	address string
	dir     string
}

// startWeb starts one beside the runner that is measured.
func (r *rig) startWeb(ctx context.Context) (*webRunner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &webRunner{dir: filepath.Join(r.dir, webName)}
	if w.address, err = freeAddress(); err != nil {
		return nil, err
	}
	w.cmd = r.serve(ctx, self, "--name", webName, "--pool", webName, "--slots", "600", "--http", w.address, "--data", w.dir)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start a runner: %w", err)
	}
	r.web = w.cmd
	return w, r.waitForRunners(ctx, 2, func(c *pb.Card) bool { return len(c.GetLanguages()) > 0 })
}

func (r *rig) endWeb() error {
	defer func() { r.web = nil }()
	return endProcess(r.web)
}

func (w *webRunner) memory() float64 { return statusOf(w.cmd, "VmRSS") }

// goroutines by its /metrics; 0 if they can't be had.
func (w *webRunner) goroutines() float64 {
	secret, err := os.ReadFile(filepath.Join(w.dir, "jwt-secret"))
	if err != nil {
		return 0
	}
	token, err := auth.Token(strings.TrimSpace(string(secret)), "bench", nil, time.Hour)
	if err != nil {
		return 0
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+w.address+"/metrics", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) == 2 && strings.HasPrefix(fields[0], "runnel_goroutines{") {
			value, _ := strconv.ParseFloat(fields[1], 64) // 0 where it can't be read
			return value
		}
	}
	return 0
}
