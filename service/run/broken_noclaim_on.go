//go:build broken_noclaim

package run

const brokenNoClaim = true
