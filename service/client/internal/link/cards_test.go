package link

import (
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
