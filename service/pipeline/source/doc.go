// Package source finds the pipelines.yml files below a directory, and keeps the
// fleet's definitions as the files are.
package source
