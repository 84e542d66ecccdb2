//go:build !race

package logs

const bigPart = 1
