//go:build unix && !linux

package sandbox

// farStart is Linux's alone: elsewhere nobody tells which mounts may hang.
type farStart struct{}

func (h *Host) farOf(Spec, []string) *farStart { return nil }

// IsFar says that Start may wait for a mount.
func (p *Prepared) IsFar() bool { return false }
