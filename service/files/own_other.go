//go:build !unix

package files

// CheckOwn trusts every path: who may write where is not told by a mode here.
func CheckOwn(string) error { return nil }
