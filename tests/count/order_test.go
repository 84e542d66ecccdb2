package main

import "testing"

func TestBackUp(t *testing.T) {
	arrows := func(pairs ...string) map[string]map[string]bool {
		all := map[string]map[string]bool{}
		for _, p := range pairs {
			if all[p[:1]] == nil {
				all[p[:1]] = map[string]bool{}
			}
			all[p[:1]][p[1:]] = true
		}
		return all
	}
	for name, c := range map[string]struct {
		arrows map[string]map[string]bool
		want   int
	}{
		"nothing":        {arrows(), 0},
		"a tree":         {arrows("ab", "ac", "bd", "cd"), 0},
		"a circle":       {arrows("ab", "bc", "ca"), 1},
		"two circles":    {arrows("ab", "ba", "cd", "dc", "ac"), 2},
		"a hub and back": {arrows("ab", "ac", "ad", "da"), 1},
	} {
		if got := backUp(c.arrows); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}
