package sandbox

import "golang.org/x/sys/unix"

// HideDescriptors keeps what this process's parent left open from every child: it marks all descriptors but the first three close-on-exec. What this program opens itself
// is that already. It is for a program's main.
func HideDescriptors() error {
	err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	if err == unix.ENOSYS || err == unix.EINVAL { // before Linux 5.11
		return nil
	}
	return err
}
