// Makes the system calls that a strict run must not have, and prints those that did not fail as they should.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bad;

static void want(const char *name, long result, int error, int other) {
	if (result >= 0 || (errno != error && errno != other)) {
		printf("%s: result %ld, %s\n", name, result, result < 0 ? strerror(errno) : "no error");
		bad++;
	}
}

#define CALL(number, ...) want(#number, syscall(number, ##__VA_ARGS__), EPERM, EPERM)

int main(void) {
	char buf[256] = {0};
	struct { unsigned long long flags, rest[10]; } clone3_args = {CLONE_NEWUSER};
	unsigned spaces[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};

	CALL(SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
	CALL(SYS_umount2, "/tmp", 2);
	CALL(SYS_pivot_root, "/", "/tmp");
	CALL(SYS_chroot, "/tmp");
	CALL(SYS_open_tree, -100, "/", 1);
	CALL(SYS_move_mount, -1, "", -100, "/tmp", 4);
	CALL(SYS_fsopen, "tmpfs", 0);
	CALL(SYS_mount_setattr, -100, "/", 0, buf, 32);
	CALL(SYS_open_by_handle_at, -100, buf, 0);
	CALL(SYS_ptrace, 0, 0, 0, 0);
	CALL(SYS_process_vm_readv, 1, buf, 1, buf, 1, 0);
	CALL(SYS_process_vm_writev, 1, buf, 1, buf, 1, 0);
	CALL(SYS_kcmp, 1, 1, 0, 0, 0);
	CALL(SYS_pidfd_getfd, 0, 0, 0);
	CALL(SYS_setns, 0, 0);
	CALL(SYS_keyctl, 0, -3, 0);
	CALL(SYS_add_key, "user", "x", "y", 1, -3);
	CALL(SYS_request_key, "user", "x", 0, 0);
	CALL(SYS_bpf, 0, buf, 128);
	CALL(SYS_perf_event_open, buf, 0, -1, -1, 0);
	CALL(SYS_userfaultfd, 1);
	CALL(SYS_io_uring_setup, 8, buf);
	CALL(SYS_kexec_load, 0, 0, 0, 0);
	CALL(SYS_init_module, buf, 0, "");
	CALL(SYS_finit_module, 0, "", 0);
	CALL(SYS_delete_module, "ext4", 0);
	CALL(SYS_reboot, 0xfee1dead, 672274793, 0, 0);
	CALL(SYS_syslog, 3, buf, sizeof buf);
	CALL(SYS_swapon, "/tmp/x", 0);
	CALL(SYS_acct, "/tmp/x");
	CALL(SYS_settimeofday, buf, 0);
	CALL(SYS_clock_settime, 0, buf);
	CALL(SYS_adjtimex, buf);
	CALL(SYS_sethostname, "x", 1);
	CALL(SYS_setdomainname, "x", 1);
	CALL(SYS_fanotify_init, 0, 0);
	want("setuid", syscall(SYS_setuid, 0), EPERM, EINVAL); // EINVAL: there is no such user in the namespace
	want("setgid", syscall(SYS_setgid, 0), EPERM, EINVAL);
	CALL(SYS_setgroups, 0, 0);
	for (unsigned i = 0; i < sizeof spaces / sizeof *spaces; i++) {
		CALL(SYS_unshare, spaces[i]);
		CALL(SYS_clone, spaces[i] | SIGCHLD, 0, 0, 0, 0);
	}
	want("clone3", syscall(SYS_clone3, &clone3_args, sizeof clone3_args), ENOSYS, ENOSYS);
#ifdef __x86_64__
	want("x32", syscall(0x40000000 | 39), ENOSYS, ENOSYS);
	CALL(SYS_iopl, 3);
	CALL(SYS_ioperm, 0, 1, 1);
	CALL(SYS_modify_ldt, 1, buf, 16);
#endif
	want("TIOCSTI", ioctl(0, 0x5412, "x"), EPERM, EPERM);
	want("AF_VSOCK", socket(40, SOCK_STREAM, 0), EPERM, EPERM);
	want("AF_ALG", socket(38, SOCK_SEQPACKET, 0), EPERM, EPERM);
	want("AF_PACKET", socket(17, SOCK_RAW, 0), EPERM, EPERM);
	want("raw socket", socket(AF_INET, SOCK_RAW, 1), EPERM, EPERM);
	printf("%d got through\n", bad);
	return bad != 0;
}
