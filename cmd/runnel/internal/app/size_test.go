package app

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "64M": 64 << 20, "64MiB": 64 << 20, "2g": 2 << 30, "1024": 1024, "": 0} {
		got := int64(-1)
		if err := (Size{&got}).Set(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"lots", "-1", "1.5M", "64 M", "M", "99999999P"} {
		got := int64(7)
		if err := (Size{&got}).Set(text); err == nil || got != 7 {
			t.Errorf("%q: got %d, %v, want an error", text, got, err)
		}
	}
	n := int64(4096)
	if got := (Size{&n}).String(); got != "4096" {
		t.Errorf("got %s, want 4096", got)
	}
}
