//go:build linux

package tests

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
)

// oracle knows what has happened from the tasks themselves. Each writes, into
// files that Runnel knows nothing of: a line whenever it is started; what it is
// going to print, and the hash of that; and, last of all, that it is through.
type oracle struct {
	dir string
	// mark is what all children sleep, in seconds: it tells them from all other
	// processes of the machine.
	mark string
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{dir: t.TempDir(), mark: fmt.Sprintf("%d.%06d", 100_000+rand.IntN(100_000), os.Getpid())}
	for _, name := range []string{"started", "output", "hash", "through"} {
		if err := os.Mkdir(filepath.Join(o.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// kind is a sort of task. make prints what is going to be the output, print
// prints it from the file $out.
type kind struct {
	name, make, print string
	ends              bool // by itself
}

var kinds = []kind{
	{"short", `echo "$id"; seq $n`, `cat $out`, true},
	{"odd", `echo "$id"; printf 'a\xffb\n\xf0\x9f\nEOF\nlast line'`, `cat $out`, true},
	{"flood", `echo "$id"; seq 200000`, `cat $out`, true},
	{"long", `echo "$id"; seq 30`, `while IFS= read -r l; do echo "$l"; sleep 0.0$((RANDOM % 10)); done <$out`, true},
	{"prompt", `echo "$id"; printf 'one two three'`, `head -1 $out; for w in one ' two' ' three'; do printf "$w"; sleep 0.3; done`, true},
	{"tree", `echo "$id"; seq $n`, `sleep $mark & setsid sleep $mark & (setsid sh -c "sleep $mark & sleep $mark" >/dev/null 2>&1 &); cat $out`, true},
	{"stubborn", `echo "$id"`, `trap '' TERM; cat $out; setsid sleep $mark & sleep $mark; sleep $mark`, false},
	{"endless", `echo "$id"; seq 100000`, `while IFS= read -r l; do echo "$l"; sleep 0.005; done <$out`, false},
}

// task makes a task of a kind.
func (o *oracle) task(id string, k kind, rng *rand.Rand) *pb.Task {
	script := strings.NewReplacer("DIR", o.dir, "ID", id, "MARK", o.mark, "COUNT", fmt.Sprint(rng.IntN(2000))).Replace(`
dir=DIR id=ID mark=MARK n=COUNT out=DIR/output/ID
echo started >>$dir/started/$id
{ `) + k.make + `; } >$out.new
mv $out.new $out
sha256sum <$out >$dir/hash/$id
exec 2>/dev/null # where bash says "Killed" of a sleep that dies a moment before it
` + k.print + `
touch $dir/through/$id`
	task := &pb.Task{Tags: map[string]string{"kind": k.name}, Grace: "300ms"}
	if rng.IntN(2) == 0 {
		task.File = &pb.File{Content: []byte("#!/bin/bash\n" + script)}
	} else {
		task.Argv = []string{"bash", "-c", script}
	}
	if !k.ends && rng.IntN(2) == 0 {
		task.Timeout = "1s"
	}
	return task
}

// starts is how often a run was started.
func (o *oracle) starts(id string) int {
	b, _ := os.ReadFile(filepath.Join(o.dir, "started", id))
	return bytes.Count(b, []byte("\n"))
}

// through says whether the task has done all it had to do.
func (o *oracle) through(id string) bool {
	_, err := os.Stat(filepath.Join(o.dir, "through", id))
	return err == nil
}

// printed says what is wrong with what is known of a run's output. A run that
// did not come to its end has printed the beginning.
func (o *oracle) printed(id string, text []byte, all bool) error {
	want, err := os.ReadFile(filepath.Join(o.dir, "output", id))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if !bytes.HasPrefix(want, text) {
		return fmt.Errorf("%d bytes are not the beginning of the %d that were printed", len(text), len(want))
	}
	if !all {
		return nil
	}
	hash, err := os.ReadFile(filepath.Join(o.dir, "hash", id))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if got := hex.EncodeToString(sum[:]); !strings.HasPrefix(string(hash), got) {
		return fmt.Errorf("%d bytes of %d hash to %s, and the task's own hash is %.64s", len(text), len(want), got, hash)
	}
	return nil
}
