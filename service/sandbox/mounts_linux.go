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

// view makes the steps to what a run sees of the file tree, in its own mount namespace, in an order that matters. First copies are taken of what must stay visible; then (strict) everything is made
// read-only; then, from the root outwards, places are covered by empty file systems and copies put back on top, so that what is hidden below something shown is hidden, and what is shown below
// something hidden is shown. A cover can't be lifted without rights that the run does not have.
type view struct {
	*order
	*steps
	copies []mountCopy
	placed []placed
}

// mountCopy is a part of the tree that is not attached anywhere.
type mountCopy struct {
	path  string
	fd    *uintptr
	isDir bool
	write bool
}

// placed is what has been covered or put back.
type placed struct {
	path  string
	cover bool
}

// Places that every isolated run has for itself, and what a strict run does not see beside homes.
var (
	scratchPlaces = []string{"/tmp", "/var/tmp", "/dev/shm"}
	strictCovers  = []string{"/run", "/media", "/mnt", "/sys"}
)

// resolverDir is where systemd keeps what /etc/resolv.conf links to.
const resolverDir = "/run/systemd/resolve"

func (o *order) makeView(s *steps) error {
	v := &view{order: o, steps: s}
	v.mount("make mounts private", mounting{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE})
	if err := v.takeCopies(); err != nil {
		return err
	}
	if o.level == Strict {
		v.setAttributes("make the root read-only", object{fd: unix.AT_FDCWD, path: "/", flags: unix.AT_RECURSIVE}, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID)
		v.makeDev()
	}
	for _, place := range scratchPlaces { // the first of them is needed below
		v.cover(place)
	}
	v.place()
	v.mount("mount /proc", mounting{source: "proc", target: "/proc", kind: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC})
	return nil
}

// mounting is what mount(2) takes.
type mounting struct {
	source, target, kind string
	flags                int
	options              string
}

func (v *view) mount(name string, m mounting) {
	v.add(name, unix.SYS_MOUNT, m.source, m.target, m.kind, m.flags, m.options)
}

// object is a file as calls with a descriptor and a path name it.
type object struct {
	fd    any // of a directory or copy: a number, or where one is saved
	path  string
	flags int
}

func (v *view) setAttributes(name string, o object, set int) {
	attr := &unix.MountAttr{Attr_set: uint64(set)}
	v.keep = append(v.keep, attr)
	v.add(name, unix.SYS_MOUNT_SETATTR, o.fd, o.path, o.flags, uintptr(unsafe.Pointer(attr)), int(unsafe.Sizeof(*attr)))
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

// covers is every place that is covered but for the scratch places.
func (o *order) covers() []string {
	covers := slices.Clone(o.hide)
	if o.level == Strict {
		covers = append(covers, strictCovers...)
		covers = append(covers, o.sockets...)
	}
	covers = append(covers, o.homes...)
	return slices.DeleteFunc(covers, func(place string) bool { return slices.Contains(scratchPlaces, place) })
}

// isThere says whether a place can be covered. A symbolic link is none: what it leads to is, if it is in the list.
func isThere(place string) (isDir, ok bool) {
	if mayHang(place) { // a mount's point, which is covered without being looked at
		return true, true
	}
	info, err := os.Lstat(place)
	if err != nil || info.Mode()&os.ModeSymlink != 0 {
		return false, false
	}
	return info.IsDir(), true
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
	covered := slices.ContainsFunc(slices.Concat(scratchPlaces, v.covers()), func(cover string) bool { return isBelow(path, cover) })
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

// place covers places and puts copies back, from the root outwards.
func (v *view) place() {
	paths := v.covers()
	for _, c := range v.copies {
		paths = append(paths, c.path)
	}
	if v.scratchBytes > 0 {
		paths = append(paths, v.dir)
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		i := slices.IndexFunc(v.copies, func(c mountCopy) bool { return c.path == path })
		switch {
		case i >= 0:
			v.putBack(v.copies[i])
		case v.scratchBytes == 0 || path != v.dir:
			v.cover(path)
		}
		if v.scratchBytes > 0 && path == v.dir {
			v.scratchOver(path)
		}
	}
	for _, one := range v.placed { // now that nothing more is made in them
		if isDir, _ := isThere(one.path); one.cover && isDir && !slices.Contains(scratchPlaces, one.path) {
			v.setAttributes("cover "+one.path, object{fd: unix.AT_FDCWD, path: one.path}, unix.MOUNT_ATTR_RDONLY)
		}
	}
}

// above is the nearest of what was placed that path is inside.
func (v *view) above(path string) (nearest placed) {
	for _, one := range v.placed {
		if isBelow(path, one.path) && len(one.path) > len(nearest.path) {
			nearest = one
		}
	}
	return nearest
}

// cover puts an empty file system on a place, if it is there and not covered already.
func (v *view) cover(place string) {
	isDir, ok := isThere(place)
	if !ok || v.above(place).cover {
		return
	}
	v.placed = append(v.placed, placed{place, true})
	name := "cover " + place
	switch {
	case slices.Contains(scratchPlaces, place):
		options := "mode=1777"
		if v.tmpBytes > 0 {
			options += fmt.Sprintf(",size=%d,nr_inodes=65536", v.tmpBytes)
		}
		v.mount(name, mounting{source: "tmpfs", target: place, kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, options: options})
	case isDir: // whoever knows a path below that is shown may go through
		v.mount(name, mounting{source: "tmpfs", target: place, kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, options: "mode=0711,size=65536"})
	default:
		v.mount(name, mounting{source: "/dev/null", target: place, flags: unix.MS_BIND})
	}
}

// putBack attaches a copy.
func (v *view) putBack(c mountCopy) {
	set := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	if !c.write {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	v.setAttributes("show "+c.path, object{fd: c.fd, flags: unix.AT_EMPTY_PATH | unix.AT_RECURSIVE}, set)
	if outer := v.above(c.path); outer.cover {
		v.makePlace(c, outer.path)
	}
	v.attach(c.fd, c.path)
	v.placed = append(v.placed, placed{c.path, false})
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
	v.mount("cover /dev", mounting{source: "tmpfs", target: "/dev", kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NOEXEC, options: "mode=0755,size=65536"})
	for i, name := range devices {
		v.makeFile("/dev/" + name)
		v.attach(fds[i], "/dev/"+name)
	}
	v.makeDir("/dev/shm", 0o755)
	v.makeDir("/dev/pts", 0o755)
	v.mount("mount /dev/pts", mounting{source: "devpts", target: "/dev/pts", kind: "devpts", flags: unix.MS_NOSUID | unix.MS_NOEXEC, options: "newinstance,ptmxmode=0666,mode=0620"})
	for _, link := range deviceLinks {
		v.add("make /dev/"+link[0], unix.SYS_SYMLINKAT, link[1], unix.AT_FDCWD, "/dev/"+link[0])
	}
}

// scratchOver lets the run write in dir, up to a size, and forgets it: an overlay whose upper half is in memory, or, where the kernel has none, a file system in memory with what is in dir shown
// in it, which can then not be changed.
func (v *view) scratchOver(dir string) {
	if v.overlay == "" {
		v.scratchBeside(dir)
		return
	}
	const place, name = "/tmp/.scratch", "make scratch"
	v.makeDir(place, 0o700)
	v.mount(name, mounting{source: "tmpfs", target: place, kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, options: fmt.Sprintf("mode=0755,size=%d,nr_inodes=65536", v.scratchBytes)})
	v.makeDir(place+"/upper", 0o755)
	v.makeDir(place+"/work", 0o755)
	if v.uid >= 0 {
		v.add(name, unix.SYS_FCHOWNAT, unix.AT_FDCWD, place+"/upper", int(v.uid), int(v.gid), 0)
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", escapeOverlay(dir), place, place)
	if v.users {
		options += ",userxattr"
	}
	v.mount(stepOverlay+dir, mounting{source: v.overlay, target: dir, kind: v.overlay, flags: unix.MS_NOSUID | unix.MS_NODEV, options: options})
	v.add(name, unix.SYS_UMOUNT2, place, unix.MNT_DETACH) // the overlay keeps it
	v.add(name, unix.SYS_UNLINKAT, unix.AT_FDCWD, place, unix.AT_REMOVEDIR)
}

// scratchBeside is scratch without an overlay.
func (v *view) scratchBeside(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // what this process can't read is not shown
	}
	fds := make([]*uintptr, len(entries))
	for i, entry := range entries {
		if entry.Type()&os.ModeSymlink == 0 {
			fds[i] = v.openTree(filepath.Join(dir, entry.Name()), unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
			v.setAttributes("show "+entry.Name(), object{fd: fds[i], flags: unix.AT_EMPTY_PATH | unix.AT_RECURSIVE}, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		}
	}
	options := fmt.Sprintf("mode=0755,size=%d,nr_inodes=65536", v.scratchBytes)
	if v.uid >= 0 {
		options += fmt.Sprintf(",uid=%d,gid=%d", v.uid, v.gid)
	}
	v.mount("make scratch", mounting{source: "tmpfs", target: dir, kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, options: options})
	for i, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case fds[i] == nil:
			if to, err := os.Readlink(path); err == nil {
				v.add("make "+path, unix.SYS_SYMLINKAT, to, unix.AT_FDCWD, path)
			}
			continue
		case entry.IsDir():
			v.makeDir(path, 0o755)
		default:
			v.makeFile(path)
		}
		v.attach(fds[i], path)
	}
}

const stepOverlay = "mount scratch over "

// escapeOverlay hides what the option's syntax would take for its own.
func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// isBelow says whether path is dir or inside it.
func isBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
