//go:build !broken_doublestart

package run

// brokenDoubleStart is true in a build that is broken on purpose: each process of a run is started twice.
// tests/chaos-must-fail shows that the chaos test finds it.
const brokenDoubleStart = false
