// Package layout places the tasks of a pipeline for a picture: in columns from
// left to right, each task behind those that it depends on, with as few crossing
// lines as a few sweeps find. It is pure, and the same tasks give the same picture.
package layout
