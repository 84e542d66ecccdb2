package bench

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

const (
	floodWidth = 100 // bytes a line, the newline among them
	dripEvery  = 10 * time.Millisecond
)

// measureLines is a million lines printed, stored and checked by the client, as
// they come and once more from the stream.
func (b *command) measureLines(ctx context.Context) ([]row, error) {
	n := b.times(1_000_000)
	argv, err := child("flood", n)
	if err != nil {
		return nil, err
	}
	floor, err := pipeRate(ctx, argv, n)
	if err != nil {
		return nil, err
	}
	count := 0
	each := func(r lines.Record) {
		if r.End == nil {
			count++
		}
	}
	began := time.Now()
	outcome, err := b.client.Run(ctx, b.target, taskOf(&pb.Task{Argv: argv}), client.RunEvents{
		Record: func(_ *pb.Run, r lines.Record) error { each(r); return nil },
	})
	result := outcome.Log
	live := float64(n) / time.Since(began).Seconds()
	if err := checkLines(result.Verified, count, n, errors.Join(err, result.Problem)); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	peak := b.rig.status("VmHWM")
	count = 0
	began = time.Now()
	result, err = b.client.Follow(ctx, outcome.Run, client.FollowOptions{}, func(r lines.Record) error { each(r); return nil })
	replayed := float64(n) / time.Since(began).Seconds()
	if err := checkLines(result.Verified, count, n, errors.Join(err, result.Problem)); err != nil {
		return nil, fmt.Errorf("replayed: %w", err)
	}
	const same = "the same child through a pipe to the same checks"
	rows := []row{
		row{Name: fmt.Sprintf("%d lines of %d bytes, live", n, floodWidth), Unit: "lines/s", Value: live, Budget: 0.12}.beside(floor, same),
		row{Name: "the same, replayed", Unit: "lines/s", Value: replayed, Budget: 0.5}.beside(floor, same),
	}
	if peak > 0 {
		rows = append(rows, row{Name: "memory, peak in these lines", Unit: "B", Value: peak, Budget: 100e6, Most: true})
	}
	return rows, nil
}

func checkLines(verified bool, got, want int, err error) error {
	switch {
	case err != nil:
		return err
	case !verified || got != want:
		return fmt.Errorf("got %d lines of %d, verified %v", got, want, verified)
	}
	return nil
}

// pipeRate reads the child's lines from a pipe, counts and hashes them.
func pipeRate(ctx context.Context, argv []string, n int) (float64, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	hash, count := sha256.New(), 0
	for r := bufio.NewReaderSize(out, 256<<10); ; count++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			break
		} else if err != nil {
			return 0, err
		}
		hash.Write(line)
	}
	if err := cmd.Wait(); err != nil || count != n {
		return 0, fmt.Errorf("got %d lines of %d: %w", count, n, err)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// measureLag is how long a line that is printed now takes to the client.
func (b *command) measureLag(ctx context.Context) ([]row, error) {
	n := b.times(500)
	argv, err := child("drip", n)
	if err != nil {
		return nil, err
	}
	floor, err := pipeLag(ctx, argv)
	if err != nil {
		return nil, err
	}
	var ours []time.Duration
	if err := b.runOnce(ctx, &pb.Task{Argv: argv}, func(r lines.Record) {
		if lag, ok := lagOf(r.Text); ok {
			ours = append(ours, lag)
		}
	}); err != nil {
		return nil, err
	}
	return []row{
		row{Name: "lag of a line every 10 ms, p50", Unit: "ms", Value: quantile(ours, 0.5)}.beside(quantile(floor, 0.5), "pipe").within(0.4),
		row{Name: "lag of a line every 10 ms, p99", Unit: "ms", Value: quantile(ours, 0.99)}.beside(quantile(floor, 0.99), "pipe").within(1.0),
	}, nil
}

// within gives a row that has a floor a budget for its value.
func (r row) within(most float64) row {
	r.Budget, r.OfValue, r.Most = most, true, true
	return r
}

func lagOf(line []byte) (time.Duration, bool) {
	sent, err := strconv.ParseInt(string(line), 10, 64)
	return time.Duration(time.Now().UnixNano() - sent), err == nil
}

func pipeLag(ctx context.Context, argv []string) ([]time.Duration, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var all []time.Duration
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if lag, ok := lagOf(scanner.Bytes()); ok {
			all = append(all, lag)
		}
	}
	return all, cmd.Wait()
}

// child is the command line of a task that prints.
func child(what string, n int) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	return []string{self, "bench", "child", what, strconv.Itoa(n)}, nil
}

// newChildCommand is what the measured tasks run.
func newChildCommand(*app.App) *cobra.Command {
	return &cobra.Command{
		Use: "child flood|drip N", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			if args[0] == "drip" {
				return drip(cmd.OutOrStdout(), n)
			}
			return flood(cmd.OutOrStdout(), n)
		},
	}
}

// flood prints lines as fast as they are taken.
func flood(w io.Writer, n int) error {
	out := bufio.NewWriterSize(w, 256<<10)
	for i := range n {
		if _, err := fmt.Fprintf(out, "%0*d\n", floodWidth-1, i); err != nil {
			return err
		}
	}
	return out.Flush()
}

// drip prints the time, again and again.
func drip(w io.Writer, n int) error {
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for range n {
		<-tick.C
		if _, err := fmt.Fprintln(w, time.Now().UnixNano()); err != nil {
			return err
		}
	}
	return nil
}
