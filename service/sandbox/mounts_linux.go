package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// view makes what a run sees of the file tree, in the shim's own mount namespace, in an order that matters: first copies are taken of what must stay visible, then (strict) everything is
// made read-only, then places are covered by empty file systems, and last the copies are put back on top. A cover can't be lifted without rights that the run does not have.
type view struct {
	*order
	copies []mountCopy
}

// mountCopy is a part of the tree that is not attached anywhere.
type mountCopy struct {
	path  string
	fd    int
	isDir bool
	write bool
}

// Places that every isolated run has for itself, and what a strict run does not see beside homes.
var (
	scratchPlaces = []string{"/tmp", "/var/tmp", "/dev/shm"}
	strictCovers  = []string{"/run", "/media", "/mnt"}
)

// resolverDir is where systemd keeps what /etc/resolv.conf links to.
const resolverDir = "/run/systemd/resolve"

func (o *order) makeView() error {
	v := &view{order: o}
	defer v.close()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := v.takeCopies(); err != nil {
		return err
	}
	if o.level == Strict {
		readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
		if err := unix.MountSetattr(-1, "/", unix.AT_RECURSIVE, &readOnly); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
		if err := makeDev(); err != nil {
			return err
		}
	}
	if err := v.cover(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := v.putBack(); err != nil {
		return err
	}
	if o.scratchBytes > 0 {
		return o.scratchOver(o.dir)
	}
	return nil
}

// covers is every place that is covered.
func (o *order) covers() []string {
	covers := append(slices.Clone(scratchPlaces), o.hide...)
	if o.level == Strict {
		covers = append(append(covers, strictCovers...), o.homes...)
	}
	return covers
}

// shown is what must be put back: what the order names that a cover would hide, and what a strict run may write.
func (v *view) takeCopies() error {
	take := func(path string, write bool) error {
		if path == "" || path == "/" || slices.ContainsFunc(v.copies, func(c mountCopy) bool { return c.path == path }) {
			return nil
		}
		covered := slices.ContainsFunc(v.covers(), func(cover string) bool { return isBelow(path, cover) })
		if !covered && !(write && v.level == Strict) {
			return nil
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			unix.Close(fd)
			return fmt.Errorf("show %s: %w", path, err)
		}
		v.copies = append(v.copies, mountCopy{path, fd, stat.Mode&unix.S_IFMT == unix.S_IFDIR, write})
		return nil
	}
	writeDir := v.level != Strict || v.scratchBytes == 0
	for _, path := range v.writable {
		if err := take(path, true); err != nil {
			return err
		}
	}
	if !slices.Contains(scratchPlaces, v.dir) {
		if err := take(v.dir, writeDir); err != nil {
			return err
		}
	}
	for _, path := range v.readOnly {
		if err := take(path, false); err != nil {
			return err
		}
	}
	if _, err := os.Stat(resolverDir); err == nil && v.level == Strict && v.network {
		return take(resolverDir, false)
	}
	return nil
}

func (v *view) close() {
	for _, c := range v.copies {
		unix.Close(c.fd)
	}
}

// cover puts an empty file system on each place that is there.
func (v *view) cover() error {
	for _, place := range v.covers() {
		info, err := os.Lstat(place)
		if errors.Is(err, os.ErrNotExist) || err == nil && info.Mode()&os.ModeSymlink != 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("cover %s: %w", place, err)
		}
		switch {
		case slices.Contains(scratchPlaces, place):
			options := "mode=1777"
			if v.tmpBytes > 0 {
				options += fmt.Sprintf(",size=%d,nr_inodes=%d", v.tmpBytes, 65536)
			}
			err = unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
		case info.IsDir(): // whoever knows a path below that is shown may go through
			err = unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0711,size=65536")
		default:
			err = unix.Mount("/dev/null", place, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("cover %s: %w", place, err)
		}
	}
	return nil
}

// putBack attaches the copies, the outer before the inner.
func (v *view) putBack() error {
	slices.SortFunc(v.copies, func(a, b mountCopy) int { return strings.Compare(a.path, b.path) })
	for _, c := range v.copies {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if !c.write {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		if err := unix.MountSetattr(c.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("show %s: %w", c.path, err)
		}
		if err := makePlace(c); err != nil {
			return fmt.Errorf("show %s: %w", c.path, err)
		}
		if err := unix.MoveMount(c.fd, "", unix.AT_FDCWD, c.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("show %s: %w", c.path, err)
		}
	}
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	for _, place := range v.covers() { // now that nothing more is made in them
		if slices.Contains(scratchPlaces, place) {
			continue
		}
		if info, err := os.Lstat(place); err != nil || !info.IsDir() || slices.ContainsFunc(v.copies, func(c mountCopy) bool { return c.path == place }) {
			continue
		}
		if err := unix.MountSetattr(-1, place, 0, &readOnly); err != nil {
			return fmt.Errorf("cover %s: %w", place, err)
		}
	}
	return nil
}

// makePlace makes what a copy can be attached to, if a cover has hidden it.
func makePlace(c mountCopy) error {
	if _, err := os.Lstat(c.path); err == nil {
		return nil
	}
	if c.isDir {
		return os.MkdirAll(c.path, 0o711)
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o711); err != nil {
		return err
	}
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// devices is all that a strict run has in /dev, beside shm and pseudo terminals.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

func makeDev() error {
	var fds []int
	defer func() { closeFDs(fds...) }()
	for _, name := range devices {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("take /dev/%s: %w", name, err)
		}
		fds = append(fds, fd)
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=65536"); err != nil {
		return fmt.Errorf("cover /dev: %w", err)
	}
	for i, name := range devices {
		if err := makePlace(mountCopy{path: "/dev/" + name}); err != nil {
			return err
		}
		if err := unix.MoveMount(fds[i], "", unix.AT_FDCWD, "/dev/"+name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("put /dev/%s: %w", name, err)
		}
	}
	for _, dir := range []string{"/dev/shm", "/dev/pts"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	for link, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, "/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

// scratchOver lets the run write in dir, up to a size, and forgets it: an overlay whose upper half is in memory.
func (o *order) scratchOver(dir string) error {
	const place = "/tmp/.scratch"
	if err := os.Mkdir(place, 0o700); err != nil {
		return fmt.Errorf("make scratch: %w", err)
	}
	if err := unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d,nr_inodes=65536", o.scratchBytes)); err != nil {
		return fmt.Errorf("make scratch: %w", err)
	}
	for _, half := range []string{"/upper", "/work"} {
		if err := os.Mkdir(place+half, 0o755); err != nil {
			return fmt.Errorf("make scratch: %w", err)
		}
	}
	if o.uid >= 0 {
		if err := os.Chown(place+"/upper", int(o.uid), int(o.gid)); err != nil {
			return fmt.Errorf("make scratch: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", escapeOverlay(dir), place, place)
	if o.users {
		options += ",userxattr"
	}
	if err := unix.Mount("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount scratch over %s: %w", dir, err)
	}
	if err := unix.Unmount(place, unix.MNT_DETACH); err != nil { // the overlay keeps it
		return fmt.Errorf("make scratch: %w", err)
	}
	return os.Remove(place)
}

// escapeOverlay hides what the option's syntax would take for its own.
func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// isBelow says whether path is dir or inside it.
func isBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
