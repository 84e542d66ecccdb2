//go:build !broken_drop

package logs

// brokenDrop is true in a build that is broken on purpose: some messages are never sent.
// tests/chaos-must-fail shows that the chaos test finds it.
const brokenDrop = false
