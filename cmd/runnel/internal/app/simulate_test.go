package app

import (
	"fmt"
	"strings"
	"testing"
)

func TestCanSimulate(t *testing.T) {
	limit, known := descriptorLimit()
	if !known {
		t.Skip("no limit here")
	}
	fits := int(min(limit, 1<<20)-ownDescriptors) / descriptorsOutside
	if err := CanSimulate(fits, false); err != nil {
		t.Errorf("%d runners: got %v", fits, err)
	}
	if err := CanSimulate(fits, true); err != nil {
		t.Errorf("%d runners, server inside: got %v", fits, err)
	}
	many := int(min(limit, 1<<40))
	err := CanSimulate(many, true)
	want := fmt.Sprintf("cannot simulate %d runners: they need %d open files, and this process may have %d", many, 2*many+ownDescriptors, limit)
	if limit < 1<<40 && (err == nil || !strings.HasPrefix(err.Error(), want)) {
		t.Errorf("got %v, want %s", err, want)
	}
}
