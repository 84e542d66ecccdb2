package main

import (
	"maps"
	"slices"
)

// backUp counts the arrows that run against the best order of the files that is
// found: those that use come first, those that are used last. The order is that of
// Eades, Lin and Smyth: take sinks to the end, sources to the beginning, else the
// file with the most arrows out over those in.
func backUp(arrows map[string]map[string]bool) int {
	left := map[string]bool{}
	for user, used := range arrows {
		left[user] = true
		for file := range used {
			left[file] = true
		}
	}
	var first, last []string
	for len(left) > 0 {
		name, isSink := next(arrows, left)
		if isSink {
			last = append(last, name)
		} else {
			first = append(first, name)
		}
		delete(left, name)
	}
	slices.Reverse(last)
	place := map[string]int{}
	for i, name := range append(first, last...) {
		place[name] = i
	}
	up := 0
	for user, used := range arrows {
		for file := range used {
			if place[user] > place[file] {
				up++
			}
		}
	}
	return up
}

func next(arrows map[string]map[string]bool, left map[string]bool) (name string, isSink bool) {
	best := -1 << 31
	for _, file := range slices.Sorted(maps.Keys(left)) {
		out, in := 0, 0
		for used := range arrows[file] {
			if left[used] {
				out++
			}
		}
		for user := range left {
			if arrows[user][file] {
				in++
			}
		}
		switch {
		case out == 0:
			return file, true
		case in == 0:
			return file, false
		case out-in > best:
			best, name = out-in, file
		}
	}
	return name, false
}
