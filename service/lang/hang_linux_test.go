package lang_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/tests/hangfs"
	"github.com/runnel-io/runnel/tests/rig"
)

// A PATH that leads to a mount that hangs costs who asks for a language an error, in
// his own time, and one search: when the mount answers again, so does the runner.
func TestPathThatHangs(t *testing.T) {
	fs := hangfs.Mount(t)
	table, err := lang.New(lang.Config{Environ: []string{"PATH=" + fs.Dir + ":/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	fs.Hang()
	find := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		found := make(chan error, 1)
		go func() {
			_, err := table.Find(ctx, "bash", "")
			found <- err
		}()
		select {
		case err := <-found:
			return err
		case <-time.After(2 * rig.Patience):
			t.Fatal("the search keeps who asked for ever")
			return nil
		}
	}
	for range 3 {
		if err := find(100 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	fs.Release()
	if err := find(rig.Patience); err != nil {
		t.Errorf("once the mount is gone: %v", err)
	}
}
