package glance

import "testing"

func TestBytesInWords(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 GB", 1: "1 B", 1023: "1023 B", 1 << 10: "1 KB", 300 << 10: "300 KB", 1 << 20: "1 MB", 512 << 20: "512 MB", 1<<30 - 1: "1023 MB",
		1 << 30: "1 GB", 11<<30 + 5: "11 GB", 2 << 40: "2048 GB",
	} {
		if got := bytesInWords(bytes); got != want {
			t.Errorf("%d: got %q, want %q", bytes, got, want)
		}
	}
}
