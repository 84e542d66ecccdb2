package glance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eachName calls each with the names in d but "." and "..", in the directory's
// own order. The bytes are valid during the call.
func eachName(ctx context.Context, d *os.File, each func(name []byte)) error {
	return eachDirent(int(d.Fd()), make([]byte, 64<<10), each, ctx.Err)
}

// eachDirent reads a directory with getdents64; check is called once a read.
func eachDirent(fd int, buf []byte, each func(name []byte), check func() error) error {
	const reclen, name = 16, 19 // offsets in struct linux_dirent64
	for {
		if err := check(); err != nil {
			return err
		}
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		for b := buf[:n]; len(b) > name; {
			size := int(binary.NativeEndian.Uint16(b[reclen:]))
			if size <= name || size > len(b) {
				break
			}
			s := b[name:size]
			if end := bytes.IndexByte(s, 0); end >= 0 {
				s = s[:end]
			}
			b = b[size:]
			if string(s) != "." && string(s) != ".." {
				each(s)
			}
		}
	}
}

// lstatIn gives an lstat of the names in d, until done.
func lstatIn(d *os.File) (lstat func(name string, a *attrs) error, done func(), err error) {
	fd := int(d.Fd())
	var st unix.Stat_t
	return func(name string, a *attrs) error {
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		*a = attrs{
			mode: fileMode(st.Mode), size: st.Size, uid: st.Uid, gid: st.Gid,
			time: time.Unix(st.Mtim.Unix()),
		}
		return nil
	}, func() {}, nil
}

// fileMode is the mode as Go has it.
func fileMode(m uint32) os.FileMode {
	mode := os.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= os.ModeDir
	case unix.S_IFLNK:
		mode |= os.ModeSymlink
	case unix.S_IFIFO:
		mode |= os.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= os.ModeSocket
	case unix.S_IFBLK:
		mode |= os.ModeDevice
	case unix.S_IFCHR:
		mode |= os.ModeDevice | os.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= os.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= os.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= os.ModeSticky
	}
	return mode
}
