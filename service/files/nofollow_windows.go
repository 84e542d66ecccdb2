package files

// A link is found by Lstat and by comparing; Windows has no such flag.
const oNofollow = 0
