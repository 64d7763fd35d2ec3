// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libdaxlease against the real daemon: usage: api FILE SPARSE-FILE (1 MiB each, in a pool of the daemon at
 * $DAXLEASE_SOCKET; the first written). TAP. The breaker is a child of ours: another process.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libshim/daxlease.h"

#define MIB (1u << 20)
#define PAGE 4096u

static int tests, failures;

static void check(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failures += !good;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A child that overwrites a page; the lease is on the block map, and a write might change that. */
static pid_t breaker(const char *file, off_t offset)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(file, O_WRONLY);

		_exit(pwrite(fd, "b", 1, offset) == 1 ? 0 : 1);
	}
	return pid;
}

static bool ended_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int next(struct daxlease *c, struct daxlease_event *event, int wait_ms)
{
	struct pollfd p = {.fd = daxlease_fd(c), .events = POLLIN};

	if (poll(&p, 1, wait_ms) <= 0)
		return 0;
	return daxlease_next_event(c, event);
}

static void let_go(struct daxlease *c, const char *file, int fd)
{
	struct daxlease_held *lease = NULL;
	struct daxlease_event event;
	uint64_t left = 0;
	double begin = now();
	pid_t pid;

	check(daxlease_take(c, fd, 0, MIB, DAXLEASE_WRITE, &lease) == 0, "C6 a lease on a descriptor");
	check(daxlease_query(lease, &left) == DAXLEASE_HELD && left == UINT64_MAX, "C14 it is held");
	pid = breaker(file, 0);
	check(next(c, &event, 5000) == 1 && event.state == DAXLEASE_BREAKING && event.lease == lease,
	      "C14 the notice comes through the pollable descriptor");
	check(event.pid == pid && event.offset == 0 && event.length == PAGE && event.left_ns > 0 &&
		      strcmp(event.cause, "write") == 0,
	      "C14 with range, cause, who, and the time left");
	check(daxlease_query(lease, &left) == DAXLEASE_BREAKING && left > 0 && left < UINT64_MAX,
	      "C14 how it stands can be asked");
	daxlease_release(lease);
	check(ended_well(pid) && now() - begin < 1.0, "C15 released: the breaker goes on at once");
}

static void freeze(struct daxlease *c, const char *file, int fd)
{
	struct daxlease_held *lease = NULL;
	struct daxlease_event event;
	uint64_t left;
	double begin;
	pid_t pid;

	check(daxlease_take(c, fd, 0, 0, DAXLEASE_FREEZE, &lease) == 0, "C6 a freeze, to the end of the file");
	begin = now();
	pid = breaker(file, 0);
	check(next(c, &event, 5000) == 1 && event.state == DAXLEASE_BREAKING, "a freeze is told, too");
	check(ended_well(pid) && now() - begin >= 1.9, "it ends by itself at the deadline");
	check(next(c, &event, 5000) == 1 && event.state == DAXLEASE_REVOKED, "and says so");
	check(daxlease_query(lease, &left) == DAXLEASE_REVOKED, "which can be asked");
	daxlease_release(lease);
}

static void refusals(struct daxlease *c, const char *file, const char *sparse)
{
	struct daxlease_held *lease = NULL;
	int fd = open(sparse, O_RDWR), reader = open(file, O_RDONLY), outside = open("/proc/self/exe", O_RDONLY);

	check(daxlease_take(c, fd, 0, MIB, 0, &lease) == -ENODATA && strstr(daxlease_reason(), "hole"),
	      "C5 a hole: -ENODATA, with the reason in words");
	check(daxlease_take(c, reader, 0, MIB, DAXLEASE_WRITE, &lease) == -EACCES, "C4 write on a read-only descriptor");
	check(daxlease_take(c, reader, 0, MIB, 0, &lease) == 0, "C4 read on a read-only descriptor");
	daxlease_release(lease);
	check(daxlease_take(c, outside, 0, PAGE, 0, &lease) == -EOPNOTSUPP, "C9 not in a pool");
	check(daxlease_take(c, reader, UINT64_MAX - 5, 10, 0, &lease) == -EINVAL, "an overflowing range");
	check(daxlease_take(c, reader, 0, MIB, 1u << 30, &lease) == -EINVAL, "an unknown flag");
	close(fd);
	close(reader);
	close(outside);
}

static void overlapping(struct daxlease *c, const char *file, int fd)
{
	struct daxlease_held *a = NULL, *b = NULL;
	struct daxlease_event event;
	double begin;
	pid_t pid;

	check(daxlease_take(c, fd, 0, MIB / 2, 0, &a) == 0 && daxlease_take(c, fd, MIB / 4, MIB / 2, 0, &b) == 0,
	      "two leases of one connection overlap");
	daxlease_release(a);
	begin = now();
	check(ended_well(breaker(file, 0)) && now() - begin < 1.0, "what only the first covered is free");
	pid = breaker(file, MIB / 4);
	check(next(c, &event, 5000) == 1 && event.lease == b, "what the second covers is not");
	daxlease_release(b);
	check(ended_well(pid), "until it is released, too");
}

static void in_a_child(struct daxlease *c, int fd)
{
	struct daxlease_held *lease;
	pid_t pid = fork();

	if (pid == 0)
		_exit(daxlease_take(c, fd, 0, PAGE, 0, &lease) == -ESTALE ? 0 : 1);
	check(ended_well(pid), "a connection is not inherited: -ESTALE");
}

int main(int argc, char **argv)
{
	struct daxlease *c = NULL;
	int fd;

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IONBF, 0);
	fd = open(argv[1], O_RDWR);
	check(daxlease_open("/nowhere/at/all", &c) < 0, "no daemon there");
	check(daxlease_open(NULL, &c) == 0, "connects to $DAXLEASE_SOCKET");
	if (!c || fd < 0)
		return 1;
	let_go(c, argv[1], fd);
	freeze(c, argv[1], fd);
	refusals(c, argv[1], argv[2]);
	overlapping(c, argv[1], fd);
	in_a_child(c, fd);
	daxlease_close(c);
	return failures ? 1 : 0;
}
