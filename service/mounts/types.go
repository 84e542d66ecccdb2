package mounts

import "slices"

// localTypes need nothing but this machine's kernel and disks. What is not among
// them may hang: nfs, cifs, fuse (also fuseblk and virtiofs), 9p, ceph, autofs and
// whatever else comes.
var localTypes = []string{
	"affs", "apfs", "aufs", "bcachefs", "befs", "bfs", "binder", "binfmt_misc", "bpf", "btrfs",
	"cgroup", "cgroup2", "configfs", "cpuset", "cramfs", "debugfs", "devpts", "devtmpfs", "ecryptfs", "efivarfs",
	"efs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "functionfs", "fusectl", "hfs",
	"hfsplus", "hpfs", "hugetlbfs", "iso9660", "jffs2", "jfs", "minix", "mqueue", "msdos", "nilfs2",
	"nsfs", "ntfs", "ntfs3", "omfs", "overlay", "proc", "pstore", "qnx4", "qnx6", "ramfs",
	"reiserfs", "resctrl", "romfs", "rootfs", "securityfs", "selinuxfs", "smackfs", "squashfs", "sysfs", "sysv",
	"tmpfs", "tracefs", "ubifs", "udf", "ufs", "vfat", "xfs", "zfs", "zonefs",
}

func mayHang(kind string) bool {
	_, isLocal := slices.BinarySearch(localTypes, kind)
	return !isLocal
}
