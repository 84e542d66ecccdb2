//go:build race

package output

// The race detector takes memory of its own.
const raceDetector = true
