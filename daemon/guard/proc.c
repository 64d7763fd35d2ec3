// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/guard/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const kept_names[] = {"syscall", "stack", "status", "comm"};

#define NAMES (sizeof(kept_names) / sizeof(kept_names[0]))
#define THREADS (PROC_KEPT / NAMES)

struct kept {
	int32_t tid; /* 0: free */
	int noted;
	int fd[NAMES]; /* -1: not opened yet */
};

static __thread struct {
	bool on;
	unsigned next; /* the one that has been here longest goes first */
	struct kept thread[THREADS];
} keep;

static void let_go(struct kept *kept)
{
	for (size_t i = 0; kept->tid && i < NAMES; i++) {
		if (kept->fd[i] >= 0)
			close(kept->fd[i]);
	}
	*kept = (struct kept){0};
}

void proc_keep(void)
{
	keep.on = true;
}

void proc_keep_no_more(void)
{
	for (size_t i = 0; i < THREADS; i++)
		let_go(&keep.thread[i]);
	keep.on = false;
}

static struct kept *find(int32_t tid)
{
	for (size_t i = 0; keep.on && i < THREADS; i++) {
		if (keep.thread[i].tid == tid)
			return &keep.thread[i];
	}
	return NULL;
}

int proc_noted(int32_t tid)
{
	const struct kept *kept = find(tid);

	return kept ? kept->noted : 0;
}

void proc_note(int32_t tid, int what)
{
	struct kept *kept = find(tid);

	if (kept)
		kept->noted = what;
}

static struct kept *make_room(int32_t tid)
{
	struct kept *kept = &keep.thread[keep.next++ % THREADS];

	let_go(kept);
	kept->tid = tid;
	memset(kept->fd, -1, sizeof(kept->fd));
	return kept;
}

/* Where the descriptor of this file is kept; NULL: it is not. */
static int *place_of(int32_t tid, const char *name)
{
	struct kept *kept;

	for (size_t i = 0; keep.on && i < NAMES; i++) {
		if (strcmp(name, kept_names[i]) != 0)
			continue;
		kept = find(tid);
		return &(kept ? kept : make_room(tid))->fd[i];
	}
	return NULL;
}

static int open_file(int32_t tid, const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

static ssize_t read_file(int fd, char *buffer, size_t size)
{
	ssize_t length = pread(fd, buffer, size - 1, 0);

	if (length < 0)
		return -errno;
	buffer[length] = '\0';
	return length;
}

ssize_t proc_read(int32_t tid, const char *name, char *buffer, size_t size)
{
	int *place = place_of(tid, name), fd;
	ssize_t length;

	buffer[0] = '\0';
	if (place && *place >= 0) {
		length = read_file(*place, buffer, size);
		if (length != -ESRCH)
			return length;
		/* That thread is gone; its number may be another's. */
		let_go(find(tid));
		place = place_of(tid, name);
	}
	fd = open_file(tid, name);
	if (fd < 0)
		return fd;
	length = read_file(fd, buffer, size);
	if (place)
		*place = fd;
	else
		close(fd);
	return length;
}
