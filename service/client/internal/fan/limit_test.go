package fan

import "testing"

func TestParseLimit(t *testing.T) {
	for _, c := range []struct {
		text string
		of   int
		want int
	}{
		{"1", 100, 1}, {"10", 3, 10}, {"25%", 100, 25}, {"1%", 10, 1}, {"100%", 7, 7}, {"34%", 3, 1}, {"67%", 3, 2},
	} {
		if got, err := parseLimit(c.text, c.of); err != nil || got != c.want {
			t.Errorf("%s of %d: got %d, %v", c.text, c.of, got, err)
		}
	}
}
