// Package graph decides what a job does next. It is pure: its user sets what has
// happened, and Next says what follows.
package graph
