package lockfile

// dying: a process that ends gives up its locks at once here.
func dying(int) bool { return false }
