//go:build broken_keptchild

package sandbox

const brokenKeptChild = true
