package files

// Portable makes f resolve paths as on systems without openat2.
func Portable(f *Files) *Files {
	f.resolve.portable = true
	return f
}
