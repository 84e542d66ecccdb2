package mounts_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/mounts"
)

var dead = mounts.Mount{Device: "0:40", Point: "/mnt/nfs", Type: "nfs4"}

func enter(t *testing.T, b *mounts.Budget, m mounts.Mount) *mounts.Slot {
	t.Helper()
	s, err := b.Enter(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRefusedOnceAllHang(t *testing.T) {
	var b mounts.Budget
	var slots []*mounts.Slot
	for range mounts.DefaultHelpers {
		s := enter(t, &b, dead)
		s.GiveUp()
		s.GiveUp() // once is enough
		slots = append(slots, s)
	}
	_, err := b.Enter(t.Context(), dead)
	hanging, ok := errors.AsType[*mounts.HangingError](err)
	if !ok || !strings.Contains(err.Error(), "/mnt/nfs (nfs4)") || hanging.Code() != 503 {
		t.Fatalf("%v", err)
	}
	other := enter(t, &b, mounts.Mount{Device: "0:41", Point: "/mnt/other"})
	other.Leave()
	slots[0].Leave()
	slots[0].Leave()
	again := enter(t, &b, dead)
	again.Leave()
	for _, s := range slots {
		s.Leave()
	}
	for range mounts.DefaultHelpers {
		enter(t, &b, dead)
	}
}

// Those that wait for a slot are told as soon as all hang.
func TestWaitersAreTold(t *testing.T) {
	var b mounts.Budget
	var slots []*mounts.Slot
	for range mounts.DefaultHelpers {
		slots = append(slots, enter(t, &b, dead))
	}
	const waiters = 100
	refused := make(chan error, waiters)
	for range waiters {
		go func() {
			_, err := b.Enter(t.Context(), dead)
			refused <- err
		}()
	}
	for _, s := range slots {
		s.GiveUp()
	}
	for range waiters {
		if err := <-refused; !errors.As(err, new(*mounts.HangingError)) {
			t.Fatalf("%v", err)
		}
	}
}

func TestWaitingEndsWithContext(t *testing.T) {
	var b mounts.Budget
	for range mounts.DefaultHelpers {
		enter(t, &b, dead)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.Enter(ctx, dead); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "/mnt/nfs") {
		t.Errorf("%v", err)
	}
}

func TestNeverMoreThanAllowed(t *testing.T) {
	var b mounts.Budget
	var inside, most atomic.Int64
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			s := enter(t, &b, dead)
			n := inside.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			inside.Add(-1)
			s.Leave()
		})
	}
	all.Wait()
	if most.Load() > mounts.DefaultHelpers {
		t.Errorf("%d at once", most.Load())
	}
}
