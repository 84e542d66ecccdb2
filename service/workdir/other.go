//go:build !unix

package workdir

import (
	"errors"
	"io"
	"io/fs"
)

var errRefused = errors.New("runs are not possible on this system")

// Dir is the directory of one run: there are none here.
type Dir struct{}

// Owner is the account that a directory is made for.
type Owner struct{ UID, GID int }

// Text is what a file is filled from.
type Text func(io.Writer) error

// Entry is a file or folder that a run has left.
type Entry struct {
	Name string
	Mode fs.FileMode
	Size int64
}

// ErrBusy says that a removal ran out of its time.
var ErrBusy = errors.New("it is too big, or is still being changed")

func New(string, string, *Owner) (*Dir, error)            { return nil, errRefused }
func (d *Dir) Path() string                               { return "" }
func (d *Dir) Folder(string, fs.FileMode) (string, error) { return "", errRefused }
func (d *Dir) Script(string, Text) (string, error)        { return "", errRefused }
func (d *Dir) Source(string, Text) error                  { return errRefused }
func (d *Dir) Give() error                                { return errRefused }
func (d *Dir) Remove() error                              { return nil }
func Remove(string, string) error                         { return errRefused }
func Empty(string) error                                  { return nil }
func Sweep(string, string) error                          { return nil }
func Walk(string, func(Entry) error) error                { return errRefused }
func (e Entry) IsPlain() bool                             { return false }
func (e Entry) Chmod(fs.FileMode) error                   { return errRefused }
func (e Entry) CopyTo(io.Writer) error                    { return errRefused }
func Settle(string)                                       {}
