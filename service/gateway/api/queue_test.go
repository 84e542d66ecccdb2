package api

import (
	"errors"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// Work that has just ended is said to have, also while its message is there.
func TestWorkThatHasJustEnded(t *testing.T) {
	s := &server{}
	err := s.notWaiting(t.Context(), "good", &pb.Run{State: pb.State_COMPLETE}, client.ErrNotWaiting)
	if err == nil || !strings.Contains(err.Error(), "good does not wait: it is COMPLETE") {
		t.Errorf("got %v", err)
	}
	if boom := errors.New("boom"); s.notWaiting(t.Context(), "good", nil, boom) != boom { //nolint:errorlint // as it is
		t.Error("another error is changed")
	}
}
