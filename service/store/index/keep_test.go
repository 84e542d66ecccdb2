package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/tests/rig"
)

// newShelf is an index over a bucket of records on a server of its own.
func newShelf(t *testing.T) (*Index, *kv.Bucket, *kv.Bucket) {
	t.Helper()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	bucket := func(name string) *kv.Bucket {
		b, err := kv.Open(t.Context(), js, kv.Config{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	runs, blocks := bucket("runs"), bucket("index")
	x := New(Config{
		Open:   func(context.Context, bool) (*kv.Bucket, error) { return blocks, nil },
		Runs:   runs,
		Final:  func(s pb.State) bool { return s != pb.State_PENDING && s != pb.State_RUNNING },
		Logger: slog.New(slog.DiscardHandler),
	})
	return x, runs, blocks
}

// fill writes records, some at a time; each tenth runs.
func fill(t *testing.T, runs *kv.Bucket, from, to int) {
	t.Helper()
	const at = 16
	var all sync.WaitGroup
	for first := range at {
		all.Go(func() {
			for i := from + first; i < to; i += at {
				run := &pb.Run{Id: fmt.Sprintf("r%05d", i), State: pb.State_COMPLETE, Runner: "web1", Created: timestamppb.New(time.Unix(int64(1_700_000_000+i), 0))}
				if i%10 == 0 {
					run.State = pb.State_RUNNING
				}
				body, err := pb.MarshalJSON(run)
				if err == nil {
					err = runs.Set(t.Context(), run.Id, body)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// indexed lists the ids that the directory's blocks tell of.
func indexed(t *testing.T, x *Index, runs *kv.Bucket) (d Directory, live, final []string) {
	t.Helper()
	info, err := runs.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := x.Shelf(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = shelf.Read(t.Context(), info.Created); err != nil {
		t.Fatal(err)
	}
	read := func(blocks []Block) (ids []string) {
		for _, b := range blocks {
			blobs, err := shelf.Get(t.Context(), []string{b.Items, b.Hashes})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			if err := EachItem(blobs[b.Items], func(it Item) {
				n++
				ids = append(ids, it.ID)
				if it.Time < b.Min || it.Time > b.Max {
					t.Errorf("%s is outside of its block's times", it.ID)
				}
				for _, h := range it.Hashes {
					if !HasHash(blobs[b.Hashes], h) {
						t.Errorf("a hash of %s is not among its block's", it.ID)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			if n != b.Count {
				t.Errorf("a block of %d says that it has %d", n, b.Count)
			}
		}
		slices.Sort(ids)
		return ids
	}
	return d, read(d.Live), read(d.Blocks)
}

// Few records need no index. Many are covered, each once: what runs with the live
// ones, what has ended in blocks.
func TestKeepCoversRecords(t *testing.T) {
	x, runs, blocks := newShelf(t)
	fill(t, runs, 0, TailItems-1)
	if err := x.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, live, final := indexed(t, x, runs); d.Rev != 0 || len(live)+len(final) > 0 {
		t.Errorf("of few records: covered to %d, %d live, %d final", d.Rev, len(live), len(final))
	}
	fill(t, runs, TailItems-1, TailItems)
	if err := x.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, live, final := indexed(t, x, runs)
	if d.Rev != TailItems || len(live) != 52 || len(final) != TailItems-52 {
		t.Fatalf("covered to %d, %d live, %d final", d.Rev, len(live), len(final))
	}
	if all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(live, final)))); len(all) != TailItems {
		t.Errorf("%d records are told of, want %d", len(all), TailItems)
	}

	// What has ended since moves into a block; nothing is told of twice.
	for i := 0; i < TailItems; i += 10 {
		body, err := pb.MarshalJSON(&pb.Run{Id: fmt.Sprintf("r%05d", i), State: pb.State_FAILED, Created: timestamppb.New(time.Unix(int64(1_700_000_000+i), 0))})
		if err == nil {
			err = runs.Set(t.Context(), fmt.Sprintf("r%05d", i), body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(t, runs, TailItems+1, 2*TailItems-40)
	if err := x.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, live, final = indexed(t, x, runs)
	for _, id := range live {
		if slices.Contains(final, id) {
			t.Errorf("%s is live and final", id)
		}
	}
	if slices.Contains(live, "r00010") || !slices.Contains(final, "r00010") {
		t.Error("a run that has ended is still live")
	}

	// A block that is another one than it was is found out, and the index made anew.
	shelf, err := x.Shelf(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := indexed(t, x, runs)
	victim := before.Blocks[0].Items
	if err := blocks.Set(t.Context(), victim, []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	if _, err := shelf.Get(t.Context(), []string{victim}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want %v", err, ErrDamaged)
	}
	shelf.Damaged(t.Context(), before)
	select {
	case <-x.Wanted():
	default:
		t.Error("nobody is told that there is something to do")
	}
	if err := x.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, live2, final2 := indexed(t, x, runs)
	if after.Rev == 0 || len(live2) != len(live) || len(final2) != len(final) {
		t.Errorf("made anew: covered to %d, %d live, %d final, want %d and %d", after.Rev, len(live2), len(final2), len(live), len(final))
	}
}

// A directory of other records, of another version, or that was written by hand is
// none.
func TestDirectoriesOfOthers(t *testing.T) {
	x, runs, blocks := newShelf(t)
	info, err := runs.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := x.Shelf(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	right := Directory{Version: directoryVersion, Made: info.Created, Rev: 7}
	if _, err := shelf.write(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	if d, err := shelf.Read(t.Context(), info.Created); err != nil || d.Rev != 7 || d.own == 0 {
		t.Errorf("got %+v, %v, want what was written", d, err)
	}
	if d, err := shelf.Read(t.Context(), info.Created.Add(time.Second)); err != nil || d.Rev != 0 || d.own == 0 {
		t.Errorf("of other records: got %+v, %v, want an empty one over that", d, err)
	}
	if _, err := shelf.write(t.Context(), right); err == nil {
		t.Error("a directory was written over one that had changed")
	}
	for name, body := range map[string]string{
		"by hand": `{"version":1,"rev":9}`, "with another digest": "0123456789abcdef\n{}", "empty": "",
		"of another version": func() string {
			text := fmt.Sprintf(`{"version":2,"made":%q,"rev":9}`, info.Created.Format(time.RFC3339Nano))
			return digestOf([]byte(text)) + "\n" + text
		}(),
	} {
		if err := blocks.Set(t.Context(), directoryKey, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if d, err := shelf.Read(t.Context(), info.Created); err != nil || d.Rev != 0 || d.Version != directoryVersion {
			t.Errorf("%s: got %+v, %v, want an empty one", name, d, err)
		}
	}
}

// One of many does the work; the others leave it.
func TestOnlyOneKeepsTheIndex(t *testing.T) {
	x, _, _ := newShelf(t)
	shelf, err := x.Shelf(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	first, second := 0, 0
	err = shelf.alone(t.Context(), func(ctx context.Context) error {
		first++
		return shelf.alone(ctx, func(context.Context) error {
			second++
			return nil
		})
	})
	if err != nil || first != 1 || second != 0 {
		t.Errorf("got %v: the first was at it %d times, the second %d", err, first, second)
	}
	sentinel := errors.New("from the work")
	if err := shelf.alone(t.Context(), func(context.Context) error { return sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("got %v, want %v", err, sentinel)
	}
}

// Every so many ends somebody is told, once however many there were.
func TestEndsMakeTheIndexWanted(t *testing.T) {
	x := New(Config{})
	wanted := func() bool {
		select {
		case <-x.Wanted():
			return true
		default:
			return false
		}
	}
	for range TailItems/2 - 1 {
		x.HasEnded()
	}
	if wanted() {
		t.Error("wanted too early")
	}
	x.HasEnded()
	if !wanted() || wanted() {
		t.Error("not wanted once")
	}
	x.Want()
	x.Want()
	if !wanted() || wanted() {
		t.Error("two wishes are not one")
	}
}

func TestIndexWithoutABucket(t *testing.T) {
	none := errors.New("no fleet")
	x := New(Config{Open: func(_ context.Context, create bool) (*kv.Bucket, error) {
		if create {
			t.Error("a reader creates a bucket")
		}
		return nil, none
	}})
	if _, err := x.Shelf(t.Context(), false); !errors.Is(err, none) {
		t.Errorf("got %v, want %v", err, none)
	}
}
