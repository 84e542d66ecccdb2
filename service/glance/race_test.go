//go:build race

package glance_test

const raceEnabled = true
