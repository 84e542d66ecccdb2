//go:build !broken_keptchild

package sandbox

// brokenKeptChild is true in a build that is broken on purpose: what a run leaves behind is not killed.
// tests/chaos-must-fail shows that the chaos test finds it.
const brokenKeptChild = false
