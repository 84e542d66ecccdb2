//go:build !linux

package glance

import (
	"context"
	"errors"
	"io"
	"os"
)

const namesARead = 1024

// eachName calls each with the names in d but "." and "..", in the directory's
// own order.
func eachName(ctx context.Context, d *os.File, each func(name []byte)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, err := d.Readdirnames(namesARead)
		for _, n := range names {
			each([]byte(n))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// lstatIn gives an lstat of the names in d, until done. It holds the directory
// itself, so that one of the same name doesn't come in its place.
func lstatIn(d *os.File) (lstat func(name string, a *attrs) error, done func(), err error) {
	root, err := os.OpenRoot(d.Name())
	if err != nil {
		return nil, nil, err
	}
	opened, err := d.Stat()
	if err == nil {
		var again os.FileInfo
		if again, err = root.Stat("."); err == nil && !os.SameFile(opened, again) {
			err = errors.New("it was replaced while it was listed")
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return func(name string, a *attrs) error {
		stat := root.Lstat
		if name == ".." { // which a Root doesn't go to
			stat = func(string) (os.FileInfo, error) { return os.Lstat(d.Name() + "/..") }
		}
		info, err := stat(name)
		if err != nil {
			return err
		}
		*a = attrs{mode: info.Mode(), size: info.Size(), time: info.ModTime()}
		a.uid, a.gid = ownerOf(info)
		return nil
	}, func() { root.Close() }, nil
}
