//go:build !race

package lines

const bigPart = 1
