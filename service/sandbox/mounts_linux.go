package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// view makes the steps to what a run sees of the file tree, in its own mount namespace, in an order that matters: first copies are taken of what must stay visible, then (strict) everything is made
// read-only, then places are covered by empty file systems, and last the copies are put back on top. A cover can't be lifted without rights that the run does not have.
type view struct {
	*order
	*steps
	copies []mountCopy
}

// mountCopy is a part of the tree that is not attached anywhere.
type mountCopy struct {
	path  string
	fd    *uintptr
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

func (o *order) makeView(s *steps) error {
	v := &view{order: o, steps: s}
	v.mount("make mounts private", "", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err := v.takeCopies(); err != nil {
		return err
	}
	if o.level == Strict {
		v.setAttributes("make the root read-only", unix.AT_FDCWD, "/", unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID)
		v.makeDev()
	}
	v.cover()
	v.mount("mount /proc", "proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	v.putBack()
	if o.scratchBytes > 0 {
		v.scratchOver(o.dir)
	}
	return nil
}

func (v *view) mount(name, source, target, kind string, flags int, options string) {
	v.add(name, unix.SYS_MOUNT, source, target, kind, flags, options)
}

// setAttributes takes the descriptor of a directory or copy as a number or as where one is saved.
func (v *view) setAttributes(name string, fd any, path string, flags, set int) {
	attr := &unix.MountAttr{Attr_set: uint64(set)}
	v.keep = append(v.keep, attr)
	v.add(name, unix.SYS_MOUNT_SETATTR, fd, path, flags, uintptr(unsafe.Pointer(attr)), int(unsafe.Sizeof(*attr)))
}

func (v *view) openTree(path string, flags int) (fd *uintptr) {
	fd = new(uintptr)
	v.add("show "+path, unix.SYS_OPEN_TREE, unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags).save = fd
	return fd
}

func (v *view) attach(fd *uintptr, path string) {
	v.add("show "+path, unix.SYS_MOVE_MOUNT, fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func (v *view) makeDir(path string, mode int) {
	v.add("make "+path, unix.SYS_MKDIRAT, unix.AT_FDCWD, path, mode).may = unix.EEXIST
}

func (v *view) makeFile(path string) {
	v.add("make "+path, unix.SYS_MKNODAT, unix.AT_FDCWD, path, unix.S_IFREG|0o600, 0).may = unix.EEXIST
}

// covers is every place that is covered.
func (o *order) covers() []string {
	covers := append(slices.Clone(scratchPlaces), o.hide...)
	if o.level == Strict {
		covers = append(append(covers, strictCovers...), o.homes...)
	}
	return slices.DeleteFunc(covers, func(place string) bool {
		info, err := os.Lstat(place)
		return err != nil || info.Mode()&os.ModeSymlink != 0
	})
}

// takeCopies takes what must be put back: what the order names that a cover would hide, and what a strict run may write.
func (v *view) takeCopies() error {
	writeDir := v.level != Strict || v.scratchBytes == 0
	for _, path := range v.writable {
		if err := v.takeCopy(path, true); err != nil {
			return err
		}
	}
	if !slices.Contains(scratchPlaces, v.dir) {
		if err := v.takeCopy(v.dir, writeDir); err != nil {
			return err
		}
	}
	for _, path := range v.readOnly {
		if err := v.takeCopy(path, false); err != nil {
			return err
		}
	}
	if _, err := os.Stat(resolverDir); err == nil && v.level == Strict && v.network {
		return v.takeCopy(resolverDir, false)
	}
	return nil
}

func (v *view) takeCopy(path string, write bool) error {
	if path == "" || path == "/" || slices.ContainsFunc(v.copies, func(c mountCopy) bool { return c.path == path }) {
		return nil
	}
	covered := slices.ContainsFunc(v.covers(), func(cover string) bool { return isBelow(path, cover) })
	if !covered && !(write && v.level == Strict) {
		return nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrPermission) { // this process may not look, the run may: it will see
		return nil
	}
	if err != nil {
		return fmt.Errorf("show %s: %w", path, rootCause(err))
	}
	v.copies = append(v.copies, mountCopy{path, v.openTree(path, unix.AT_RECURSIVE), info.IsDir(), write})
	return nil
}

// cover puts an empty file system on each place.
func (v *view) cover() {
	for _, place := range v.covers() {
		name := "cover " + place
		info, err := os.Lstat(place)
		switch {
		case err != nil:
		case slices.Contains(scratchPlaces, place):
			options := "mode=1777"
			if v.tmpBytes > 0 {
				options += fmt.Sprintf(",size=%d,nr_inodes=65536", v.tmpBytes)
			}
			v.mount(name, "tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
		case info.IsDir(): // whoever knows a path below that is shown may go through
			v.mount(name, "tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0711,size=65536")
		default:
			v.mount(name, "/dev/null", place, "", unix.MS_BIND, "")
		}
	}
}

// putBack attaches the copies, the outer before the inner.
func (v *view) putBack() {
	covers := v.covers()
	slices.SortFunc(v.copies, func(a, b mountCopy) int { return strings.Compare(a.path, b.path) })
	for _, c := range v.copies {
		set := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
		if !c.write {
			set |= unix.MOUNT_ATTR_RDONLY
		}
		v.setAttributes("show "+c.path, c.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, set)
		for _, cover := range covers {
			if isBelow(c.path, cover) && c.path != cover {
				v.makePlace(c, cover)
			}
		}
		v.attach(c.fd, c.path)
	}
	for _, place := range covers { // now that nothing more is made in them
		info, err := os.Lstat(place)
		again := slices.ContainsFunc(v.copies, func(c mountCopy) bool { return c.path == place })
		if err != nil || !info.IsDir() || again || slices.Contains(scratchPlaces, place) {
			continue
		}
		v.setAttributes("cover "+place, unix.AT_FDCWD, place, 0, unix.MOUNT_ATTR_RDONLY)
	}
}

// makePlace makes what a copy can be attached to in a cover.
func (v *view) makePlace(c mountCopy, cover string) {
	inner := strings.Split(strings.TrimPrefix(c.path, cover+"/"), "/")
	path := cover
	for i, name := range inner {
		path = filepath.Join(path, name)
		if i == len(inner)-1 && !c.isDir {
			v.makeFile(path)
		} else {
			v.makeDir(path, 0o711)
		}
	}
}

// devices is all that a strict run has in /dev, beside shm and pseudo terminals.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

var deviceLinks = [][2]string{{"ptmx", "pts/ptmx"}, {"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}}

func (v *view) makeDev() {
	var fds []*uintptr
	for _, name := range devices {
		fds = append(fds, v.openTree("/dev/"+name, 0))
	}
	v.mount("cover /dev", "tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=65536")
	for i, name := range devices {
		v.makeFile("/dev/" + name)
		v.attach(fds[i], "/dev/"+name)
	}
	v.makeDir("/dev/shm", 0o755)
	v.makeDir("/dev/pts", 0o755)
	v.mount("mount /dev/pts", "devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	for _, link := range deviceLinks {
		v.add("make /dev/"+link[0], unix.SYS_SYMLINKAT, link[1], unix.AT_FDCWD, "/dev/"+link[0])
	}
}

// scratchOver lets the run write in dir, up to a size, and forgets it: an overlay whose upper half is in memory.
func (v *view) scratchOver(dir string) {
	const place, name = "/tmp/.scratch", "make scratch"
	v.makeDir(place, 0o700)
	v.mount(name, "tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d,nr_inodes=65536", v.scratchBytes))
	v.makeDir(place+"/upper", 0o755)
	v.makeDir(place+"/work", 0o755)
	if v.uid >= 0 {
		v.add(name, unix.SYS_FCHOWNAT, unix.AT_FDCWD, place+"/upper", int(v.uid), int(v.gid), 0)
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", escapeOverlay(dir), place, place)
	if v.users {
		options += ",userxattr"
	}
	v.mount("mount scratch over "+dir, "overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options)
	v.add(name, unix.SYS_UMOUNT2, place, unix.MNT_DETACH) // the overlay keeps it
	v.add(name, unix.SYS_UNLINKAT, unix.AT_FDCWD, place, unix.AT_REMOVEDIR)
}

// escapeOverlay hides what the option's syntax would take for its own.
func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// isBelow says whether path is dir or inside it.
func isBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
