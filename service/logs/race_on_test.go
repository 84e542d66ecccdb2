//go:build race

package logs

// bigPart is what of the big outputs is tried: the race detector makes them slow and finds nothing in them.
const bigPart = 20
