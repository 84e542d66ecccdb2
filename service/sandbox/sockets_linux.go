package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostSockets lists the socket files of this process's network namespace that others have bound: a
// strict run could connect to them, as they are files.
func (h *Host) hostSockets() (paths []string) {
	text := readText("/proc/net/unix")
	relative := map[string]string{} // names by inode
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 8)
		if len(fields) < 8 {
			continue
		}
		// The inode is padded with spaces; the name is what comes after it, spaces and all.
		inode, name, ok := strings.Cut(strings.TrimLeft(strings.Join(fields[6:], " "), " "), " ")
		switch {
		case !ok || name == "" || name[0] == '@':
		case name[0] == '/':
			paths = append(paths, filepath.Clean(name))
		default:
			relative[inode] = name
		}
	}
	paths = append(paths, h.relativeSockets(relative)...)
	slices.Sort(paths)
	return slices.Compact(paths)
}

// relativeSockets finds the files of sockets that were bound by a relative name, from the directory
// of a process that has one open. What was found of a socket is kept, as the look is dear.
func (h *Host) relativeSockets(names map[string]string) (paths []string) {
	h.bound.Lock()
	defer h.bound.Unlock()
	links, known := map[string]bool{}, map[string]string{}
	for inode := range names {
		if path, ok := h.boundAt[inode]; ok {
			known[inode] = path
		} else {
			links["socket:["+inode+"]"] = true
		}
	}
	if len(links) > 0 {
		procs, _ := allProcs() // those of others can't be looked into anyway
		for _, one := range append(procs, proc{pid: os.Getpid()}) {
			for _, link := range heldBy(one.pid, links) {
				inode := strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")
				if dir := readLink("/proc/" + strconv.Itoa(one.pid) + "/cwd"); dir != "" && known[inode] == "" {
					known[inode] = filepath.Join(dir, names[inode])
				}
			}
		}
		for inode := range names {
			if _, ok := known[inode]; !ok {
				known[inode] = "" // nobody's that can be seen
			}
		}
	}
	h.boundAt = known
	for _, path := range known {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}
