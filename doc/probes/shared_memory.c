// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Does the memory of a dead process still have a user? A process that was made with CLONE_VM shares it and outlives
 * the other; neither pidfd nor /proc/PID tell. A descriptor of /proc/PID/mem that was opened before does.
 * Prints: EIO while anybody uses it, 0 bytes after the last one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int share(void *unused)
{
	(void)unused;
	pause();
	return 0;
}

static void look(int mem, int maps, const char *when)
{
	char byte, text[256];
	ssize_t got = pread(mem, &byte, 1, (off_t)(UINT64_C(1) << 62));

	printf("%-32s mem: %zd %s", when, got, got < 0 ? strerror(errno) : "");
	got = pread(maps, text, sizeof(text), 0);
	printf(", maps: %zd %s\n", got, got < 0 ? strerror(errno) : "");
}

int main(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int ends[2], mem, maps, sharer;
	char path[64];
	pid_t holder;

	if (pipe(ends) < 0)
		return 1;
	holder = fork();
	if (holder == 0) {
		sharer = clone(share, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
		if (write(ends[1], &sharer, sizeof(sharer)) > 0)
			pause();
		return 1;
	}
	if (read(ends[0], &sharer, sizeof(sharer)) != sizeof(sharer))
		return 1;
	snprintf(path, sizeof(path), "/proc/%d/mem", holder);
	mem = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d/maps", holder);
	maps = open(path, O_RDONLY);
	look(mem, maps, "it lives");
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	look(mem, maps, "it is reaped, the sharer lives");
	kill(sharer, SIGKILL);
	while (kill(sharer, 0) == 0) /* init reaps it */
		usleep(1000);
	look(mem, maps, "the sharer is gone too");
	return 0;
}
