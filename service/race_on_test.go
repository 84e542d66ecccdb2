//go:build race

package service_test

// raceDetector: everything takes ten times as long.
const raceDetector = true
