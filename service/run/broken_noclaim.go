//go:build !broken_noclaim

package run

// brokenNoClaim is true in a build that is broken on purpose: a run starts though
// another runner has its record. tests/queue-must-fail shows that the chaos test
// finds it.
const brokenNoClaim = false
