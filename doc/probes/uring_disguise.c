// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Why a system call's number alone is not believed: an io_uring write, linked behind a poll, is issued by task work
 * while its thread sits in read(2) of a pipe, and /proc/TID/syscall shows that read. /proc/TID/stack tells.
 * usage: uring_disguise DIR   (root; DIR on ext4 or xfs, Linux 6.14)
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/io_uring.h>
static void show(int tid, const char *f)
{
	char p[64], b[4096];
	snprintf(p, 64, "/proc/%d/%s", tid, f);
	int d = open(p, O_RDONLY);
	ssize_t n = read(d, b, 4095);
	b[n > 0 ? n : 0] = 0;
	close(d);
	printf("%s: %s\n", f, b);
}
int main(int c, char **v)
{
	setbuf(stdout, 0);
	char P[300];
	snprintf(P, 300, "%s/U", v[1]);
	int f = open(P, O_RDWR | O_CREAT, 0644);
	char z[65536] = {1};
	pwrite(f, z, sizeof z, 0);
	fsync(f);
	close(f);
	int fa = fanotify_init(0x8 | FAN_CLOEXEC | FAN_REPORT_TID, O_RDONLY | O_LARGEFILE);
	if (fanotify_mark(fa, FAN_MARK_ADD, 0x00100000, AT_FDCWD, P))
		perror("mark");
	int gate[2], idle[2];
	pipe(gate);
	pipe(idle);
	int same = c > 2;
	pid_t k = fork();
	if (!k) {
		struct io_uring_params p = {0};
		int r = syscall(SYS_io_uring_setup, 8, &p);
		char *sq = mmap(0, p.sq_off.array + 8 * 4, 3, MAP_SHARED | MAP_POPULATE, r, IORING_OFF_SQ_RING);
		struct io_uring_sqe *s = mmap(0, 8 * sizeof *s, 3, MAP_SHARED | MAP_POPULATE, r, IORING_OFF_SQES);
		unsigned *tail = (void *)(sq + p.sq_off.tail), *arr = (void *)(sq + p.sq_off.array);
		int fd = open(P, O_RDWR);
		static char b[4096];
		memset(s, 0, 2 * sizeof *s);
		s[0].opcode = IORING_OP_POLL_ADD;
		s[0].fd = gate[0];
		s[0].poll32_events = POLLIN;
		s[0].flags = IOSQE_IO_LINK;
		s[1].opcode = IORING_OP_WRITE;
		s[1].fd = fd;
		s[1].addr = (unsigned long)b;
		s[1].len = 4096;
		s[1].off = 8192;
		arr[0] = 0;
		arr[1] = 1;
		__atomic_store_n(tail, *tail + 2, __ATOMIC_RELEASE);
		syscall(SYS_io_uring_enter, r, 2, 0, 0, 0, 0);
		(void)same;
		char y;
		read(idle[0], &y, 1);
		_exit(0);
	}
	usleep(300000);
	write(gate[1], "x", 1);
	char b[64] __attribute__((aligned(8)));
	struct pollfd pf = {fa, POLLIN, 0};
	while (poll(&pf, 1, 1000) > 0) {
		read(fa, b, sizeof b);
		struct fanotify_event_metadata *e = (void *)b;
		usleep(1000);
		printf("event tid %d (child %d) fd %d\n", e->pid, k, e->fd);
		show(e->pid, "syscall");
		show(e->pid, "comm");
		show(e->pid, "stack");
		show(e->pid, "wchan");
		struct fanotify_response rs = {e->fd, FAN_ALLOW};
		write(fa, &rs, sizeof rs);
		close(e->fd);
	}
	kill(k, 9);
	waitpid(k, 0, 0);
}
