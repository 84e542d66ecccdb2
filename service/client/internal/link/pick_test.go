package link

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

func seen(name string, slots, running, pending int64) store.Seen {
	return store.Seen{Card: &pb.Card{Name: name, Slots: slots, Running: running, Pending: pending}}
}

func TestFreeFirst(t *testing.T) {
	sorted := FreeFirst([]store.Seen{seen("full", 4, 4, 3), seen("some", 4, 2, 0), seen("big", 64, 1, 0), seen("same", 4, 2, 0)})
	var got []string
	for _, r := range sorted {
		got = append(got, r.Card.GetName())
	}
	if !slices.Equal(got, []string{"big", "some", "same", "full"}) {
		t.Errorf("got %v", got)
	}
}

// Who can't take a run is passed over, and who refuses it for itself; what is
// wrong with the request is wrong everywhere.
func TestPassOver(t *testing.T) {
	for _, c := range []struct {
		err      error
		passOver bool
	}{
		{&Refusal{Code: 503, Text: "No resources available. Please try later."}, true},
		{&Refusal{Code: 503, Text: "draining: this runner takes no new runs"}, true},
		{fmt.Errorf("runner a is %w", ErrOffline), true},
		{ErrNoRunners, true},
		{&Refusal{Code: 400, Text: "invalid file"}, false},
		{&Refusal{Code: 409, Text: "another request has this run id already"}, false},
		{errors.New("closed"), false},
	} {
		if got := passOver(c.err); got != c.passOver {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}
