// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a kernel lease stops, on which description it can be had, and what is told of who waits. As root:
 *   ./kernel_lease FILE            a new file on ext4, xfs, ...
 *   ./kernel_lease FILE --expire   too, what the kernel does at the end of /proc/sys/fs/lease-break-time (set it to 2 before)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *file;
static struct f_owner_ex nobody; /* a process group that has no members */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const char *said(int rc)
{
	return rc < 0 ? strerrorname_np(errno) : "yes";
}

static const char *type_of(int fd)
{
	static const char *const types[] =
		{[F_RDLCK] = "read", [F_WRLCK] = "write", [F_UNLCK] = "none"};

	return types[fcntl(fd, F_GETLEASE)];
}

static int lease(int fd, int type)
{
	fcntl(fd, F_SETOWN_EX, &nobody); /* an F_UNLCK forgets it */
	return fcntl(fd, F_SETLEASE, type);
}

static void print(const char *path, const char *only)
{
	char line[256];
	FILE *in = fopen(path, "r");

	while (in && fgets(line, sizeof(line), in))
		if (strstr(line, only))
			printf("      %s%s", line, strchr(line, '\n') ? "" : "\n");
	if (in)
		fclose(in);
}

static int fresh(int flags)
{
	char page[4096] = {1};
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);

	for (int i = 0; i < 16; i++)
		if (write(fd, page, sizeof(page)) < 0)
			perror(file);
	close(fd);
	return open(file, flags);
}

/* Somebody else does it: open(2) with these flags, or truncate(2) with -1. */
static pid_t other(int flags)
{
	const pid_t pid = fork();
	double start = now();

	if (pid)
		return pid;
	int rc = flags == -1 ? truncate(file, 4096) : open(file, flags);

	printf("   %s %#x: %s after %.1f s\n", flags == -1 ? "truncate" : "open",
	       flags == -1 ? 0 : (unsigned)flags, said(rc), now() - start);
	usleep(200000); /* keeps it open */
	_exit(0);
}

static void show(int fd, pid_t pid)
{
	char path[64];

	usleep(300000);
	printf("   F_GETLEASE says: %s; size %lld\n", type_of(fd),
	       (long long)lseek(fd, 0, SEEK_END));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	print(path, "LEASE");
	print("/proc/locks", "LEASE");
	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	print(path, "_");
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	print(path, "0x");
}

static void broken_by(const char *what, int mode, int type, int flags)
{
	int fd = fresh(mode);
	pid_t pid;

	printf("%s\n   lease: %s\n", what, said(lease(fd, type)));
	pid = other(flags);
	show(fd, pid);
	printf("   taken again while it waits: %s; as a read lease: %s\n", said(lease(fd, type)),
	       said(lease(fd, F_RDLCK)));
	printf("   given up: %s\n", said(lease(fd, F_UNLCK)));
	usleep(50000);
	printf("   taken again while the other has it open: %s\n", said(lease(fd, type)));
	waitpid(pid, NULL, 0);
	printf("   and after that: %s\n", said(lease(fd, type)));
	lease(fd, F_UNLCK);
	close(fd);
}

/* Whoever shares the description chooses the signal; it comes with the rights of its owner's maker. */
static void signal_of_others(void)
{
	int fd = fresh(O_RDWR), status = 0;
	pid_t holder = fork(), client;

	if (holder == 0) {
		fcntl(fd, F_SETLEASE, F_WRLCK);
		fcntl(fd, F_SETOWN, getpid());
		for (;;)
			pause();
	}
	usleep(200000);
	fchmod(fd, 0666);
	client = fork();
	if (client == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		printf("uid 65534, who shares the description: F_SETSIG(SIGKILL): %s\n",
		       said(fcntl(fd, F_SETSIG, SIGKILL)));
		open(file, O_RDONLY | O_NONBLOCK);
		_exit(0);
	}
	waitpid(client, NULL, 0);
	usleep(200000);
	printf("   the lease's owner, uid 0: %s\n",
	       waitpid(holder, &status, WNOHANG) == holder && WIFSIGNALED(status) ? "killed"
										  : "lives");
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	lease(fd, F_UNLCK);
	close(fd);
}

static void expires(void)
{
	int fd = fresh(O_RDWR);

	printf("write lease on a description for both, kept until the kernel takes it\n   lease: "
	       "%s\n",
	       said(lease(fd, F_WRLCK)));
	waitpid(other(O_RDONLY), NULL, 0);
	printf("   then: %s\n", type_of(fd));
	print("/proc/locks", "LEASE");
	waitpid(other(O_RDONLY), NULL, 0);
	waitpid(other(O_RDONLY | O_TRUNC), NULL, 0);
	waitpid(other(-1), NULL, 0);
	printf("   then: %s\n", type_of(fd));
	close(fd);
}

int main(int argc, char **argv)
{
	pid_t member;

	if (argc < 2)
		return 2;
	file = argv[1];
	setbuf(stdout, NULL);
	setpgid(0, 0);
	member = fork(); /* of our group, so that no group has its number */
	if (member == 0) {
		for (;;)
			pause();
	}
	nobody = (struct f_owner_ex){F_OWNER_PGRP, member};
	broken_by("write lease, broken by a reader", O_RDWR, F_WRLCK, O_RDONLY);
	broken_by("write lease, broken by a reader that truncates", O_RDWR, F_WRLCK,
		  O_RDONLY | O_TRUNC);
	broken_by("write lease, broken by a reader that does not wait", O_RDWR, F_WRLCK,
		  O_RDONLY | O_NONBLOCK);
	broken_by("write lease, broken by a writer", O_RDWR, F_WRLCK, O_WRONLY);
	broken_by("write lease, broken by truncate", O_RDWR, F_WRLCK, -1);
	broken_by("read lease on a description for reading, a reader", O_RDONLY, F_RDLCK, O_RDONLY);
	broken_by("read lease on a description for reading, a reader that truncates", O_RDONLY,
		  F_RDLCK, O_RDONLY | O_TRUNC);
	broken_by("read lease on a description for reading, truncate", O_RDONLY, F_RDLCK, -1);
	broken_by("read lease on a description for both", O_RDWR, F_RDLCK, O_RDONLY);
	signal_of_others();
	if (argc > 2)
		expires();
	kill(member, SIGKILL);
	unlink(file);
	return 0;
}
