package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

const (
	// blockSize is how often one way is timed before it is another's turn.
	blockSize = 20
	// quiet is between two blocks: a runner writes final records and removes leaves
	// behind a run's end, and they must not count as the next way's.
	quiet = 100 * time.Millisecond
)

// way is one of several ways to do the same, and how long it took.
type way func() (time.Duration, error)

// timed makes a way of what is timed from its call to its return.
func timed(do func() error) way {
	return func() (time.Duration, error) {
		began := time.Now()
		err := do()
		return time.Since(began), err
	}
}

// inBlocks times each way n times: in blocks with quiet between them, their order
// reversed each time. What comes first in a block is not counted: it is slower
// for all, after the quiet.
func inBlocks(ctx context.Context, n int, ways ...way) ([][]time.Duration, error) {
	times := make([][]time.Duration, len(ways))
	for round := 0; len(times[0]) < n; round++ {
		for i := range ways {
			if round%2 == 1 {
				i = len(ways) - 1 - i
			}
			if err := rest(ctx); err != nil {
				return nil, err
			}
			for j := range min(blockSize, n-len(times[i])) + 1 {
				took, err := ways[i]()
				if err != nil {
					return nil, err
				}
				if j > 0 {
					times[i] = append(times[i], took)
				}
			}
		}
	}
	return times, nil
}

// rest keeps quiet.
func rest(ctx context.Context) error {
	select {
	case <-time.After(quiet):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rates does each way n times, inFlight at a time, in rounds that alternate, and
// returns how often a second.
func rates(ctx context.Context, n int, ways ...func() error) ([]float64, error) {
	const rounds = 4
	each := max(1, n/rounds)
	took := make([]time.Duration, len(ways))
	for round := range rounds {
		for i := range ways {
			if round%2 == 1 {
				i = len(ways) - 1 - i
			}
			if err := rest(ctx); err != nil {
				return nil, err
			}
			perSecond, err := rate(each, ways[i])
			if err != nil {
				return nil, err
			}
			took[i] += time.Duration(float64(each) / perSecond * float64(time.Second))
		}
	}
	all := make([]float64, len(ways))
	for i := range ways {
		all[i] = float64(each*rounds) / took[i].Seconds()
	}
	return all, nil
}

// bareSubject is where the bare exec listens.
const bareSubject = "bench.bare"

// bareExec asks the bare exec to run true.
func (b *command) bareExec(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reply, err := b.rig.nc.RequestWithContext(ctx, bareSubject, nil)
	if err != nil {
		return fmt.Errorf("cannot ask the bare exec: %w", err)
	}
	if text := string(reply.Data); text != "" {
		return fmt.Errorf("the bare exec failed: %s", text)
	}
	return nil
}

// startBare starts the bare exec: what runs commands over NATS and does nothing
// beside it, a floor that nobody can have for less.
func (r *rig) startBare(ctx context.Context, self string) error {
	r.bare = exec.CommandContext(ctx, self, append([]string{"bench", "bare"}, r.url, r.seed)...)
	r.bare.Stderr = os.Stderr
	if _, err := startAndRead(r.bare, 1); err != nil {
		return fmt.Errorf("cannot start the bare exec on %s: %w", filepath.Base(self), err)
	}
	return nil
}

// newBareCommand is the bare exec, in a process of its own.
func newBareCommand(*app.App) *cobra.Command {
	return &cobra.Command{
		Use: "bare URL SEED", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer app.SpareHeap()()
			key, err := nats.NkeyOptionFromSeed(args[1])
			if err != nil {
				return err
			}
			nc, err := nats.Connect(args[0], key)
			if err != nil {
				return err
			}
			defer nc.Close()
			ctx, stop := cli.OnInterrupt(cmd.Context())
			defer stop()
			var running sync.WaitGroup
			defer running.Wait()
			_, err = nc.Subscribe(bareSubject, func(m *nats.Msg) {
				running.Go(func() {
					text := ""
					if err := exec.CommandContext(ctx, "true").Run(); err != nil {
						text = err.Error()
					}
					_ = m.Respond([]byte(text)) // who asked waits no longer than it likes
				})
			})
			if err != nil {
				return err
			}
			if err := nc.Flush(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			<-ctx.Done()
			return nil
		},
	}
}
