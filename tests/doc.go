// Package tests has what no single package can test: the layers, the whole
// system end to end, clients in other languages, real machines and clusters.
package tests
