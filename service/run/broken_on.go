//go:build broken_doublestart

package run

const brokenDoubleStart = true
