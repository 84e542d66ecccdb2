package output

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// emits are programs that tasks run: this binary with "emit NAME N" as its
// arguments. What they print is the same each time, so that a test can hash it
// without keeping it.
var emits = map[string]func(n int, stdout, stderr io.Writer){
	// n lines of 100 bytes.
	"lines": func(n int, stdout, _ io.Writer) {
		w := bufio.NewWriterSize(stdout, 64<<10)
		filler := strings.Repeat("x", 100-8-1)
		for i := range n {
			fmt.Fprintf(w, "%08d%s\n", i, filler)
		}
		_ = w.Flush()
	},
	// One line of n MiB.
	"line": func(n int, stdout, _ io.Writer) {
		block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		for range n {
			_, _ = stdout.Write(block)
		}
		_, _ = stdout.Write([]byte("\n"))
	},
	// n KiB of random bytes on each stream, in pieces of odd sizes.
	"random": func(n int, stdout, stderr io.Writer) {
		source := rand.NewChaCha8([32]byte{1})
		sizes := rand.New(rand.NewPCG(1, 2))
		left := map[io.Writer]int{stdout: n << 10, stderr: n << 10}
		buf := make([]byte, 5000)
		for left[stdout]+left[stderr] > 0 {
			for _, w := range []io.Writer{stdout, stderr} {
				piece := buf[:min(left[w], sizes.IntN(len(buf)))]
				_, _ = source.Read(piece)
				_, _ = w.Write(piece)
				left[w] -= len(piece)
			}
		}
	},
	// n lines, every other one on standard error.
	"alternate": func(n int, stdout, stderr io.Writer) {
		for i := range n {
			w := stdout
			if i%2 == 1 {
				w = stderr
			}
			fmt.Fprintf(w, "line %d\n", i)
		}
	},
	// A line every 10 ms for n tenths of a second, with a flood of 2,000 lines
	// each second; every tenth on standard error, every third without its end
	// for a moment.
	"while": func(n int, stdout, stderr io.Writer) {
		for i := range 10 * n {
			w := stdout
			if i%10 == 9 {
				w = stderr
			}
			fmt.Fprintf(w, "tick %d", i)
			if i%3 == 0 {
				pause()
			}
			fmt.Fprintf(w, " done\n")
			if i%100 == 99 {
				for j := range 2000 {
					fmt.Fprintf(w, "flood %d of %d\n", j, i)
				}
			}
			pause()
		}
	},
}

// pause is zero for a test that only wants to know what would be printed.
var pause = func() {}

// emit is the task's side.
func emit(args []string) int {
	n, err := strconv.Atoi(args[1])
	if err != nil || emits[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: emit NAME N")
		return 2
	}
	pause = func() { time.Sleep(10 * time.Millisecond) }
	emits[args[0]](n, os.Stdout, os.Stderr)
	return 0
}

// sum is the length and hash of a stream.
type sum struct {
	hash  hash.Hash
	bytes int64
}

func newSum() *sum { return &sum{hash: sha256.New()} }

func (s *sum) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	return s.hash.Write(p)
}

func (s *sum) String() string {
	return fmt.Sprintf("%d bytes, %s", s.bytes, hex.EncodeToString(s.hash.Sum(nil))[:16])
}

// emitted is what a program prints.
func emitted(t *testing.T, name string, n int) (stdout, stderr *sum) {
	t.Helper()
	stdout, stderr = newSum(), newSum()
	emits[name](n, stdout, stderr)
	return stdout, stderr
}
