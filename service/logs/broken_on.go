//go:build broken_drop

package logs

const brokenDrop = true
