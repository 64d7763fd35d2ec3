/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does a process still map one of these files? In a worker, since reading /proc/PID/maps waits for
 * the process's memory lock. dev is that of the file system as maps shows it, which on btrfs and
 * overlayfs is not st_dev.
 *
 * The list is not one snapshot: the kernel lets go of the lock between two pieces. A process whose
 * threads move mappings meanwhile can hide one; it is asked of processes that lost their
 * connection, not of hostile ones.
 */
#include "daemon/worker_jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool add_digit(uint64_t *number, char c, unsigned base)
{
	unsigned digit;

	if (c >= '0' && c <= '9')
		digit = (unsigned)(c - '0');
	else if (c >= 'a' && c <= 'f')
		digit = (unsigned)(c - 'a') + 10;
	else
		return false;
	return digit < base && !__builtin_mul_overflow(*number, (uint64_t)base, number) &&
	       !__builtin_add_overflow(*number, (uint64_t)digit, number);
}

static void line_done(struct worker_maps_parser *p, const struct worker_job *job)
{
	/* A line that cannot be read is taken for a mapping: it must never end a lease. */
	if (p->bad || p->field < 4)
		p->found = true;
	if (p->shared && p->inode) {
		for (unsigned i = 0; i < job->items; i++) {
			if (job->file[i].ino == p->inode &&
			    job->file[i].dev == makedev((unsigned)p->major, (unsigned)p->minor))
				p->found = true;
		}
	}
	p->lines++;
	p->field = p->at = 0;
	p->major = p->minor = p->inode = 0;
	p->in_minor = p->shared = p->bad = false;
}

/* 7f0e00000000-7f0e00200000 rw-s 00000000 fe:01 131 /mnt/dax/file */
void worker_maps_feed(struct worker_maps_parser *p, const struct worker_job *job, const char *text,
		      size_t size)
{
	for (const char *end = text + size; text < end; text++) {
		char c = *text;

		if (c == '\n') { /* one in a name is shown as \012 */
			line_done(p, job);
			continue;
		}
		if (c == ' ' && p->field < 5) {
			p->field++;
			p->at = 0;
			continue;
		}
		switch (p->field) {
		case 1:
			if (p->at++ == 3)
				p->shared = c == 's';
			break;
		case 3:
			if (c == ':' && !p->in_minor)
				p->in_minor = true;
			else if (!add_digit(p->in_minor ? &p->minor : &p->major, c, 16))
				p->bad = true;
			break;
		case 4:
			if (!add_digit(&p->inode, c, 10))
				p->bad = true;
			break;
		}
	}
}

/* Appends; the caller knows that it fits. */
static char *append(char *to, const char *text)
{
	while ((*to = *text++))
		to++;
	return to;
}

static char *append_number(char *to, uint64_t number)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (n)
		*to++ = digits[--n];
	*to = '\0';
	return to;
}

void worker_proc_path(char *path, int32_t pid, const char *rest)
{
	append(append_number(append(path, "/proc/"), (uint64_t)pid), rest);
}

/* ESRCH: it went away while it was read. */
static bool is_gone(int error)
{
	return error == ENOENT || error == ESRCH;
}

/* The maps of one thread. 1, 0, -errno; *lines: how many there were. */
static int thread_maps(int dir_fd, const char *path, const struct worker_job *job, uint64_t *lines)
{
	struct worker_maps_parser parser = { 0 };
	char text[4096];
	ssize_t got;
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC), rc = 0;

	*lines = 0;
	if (fd < 0)
		return is_gone(errno) ? 0 : -errno;
	while (!parser.found) {
		got = read(fd, text, sizeof(text));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && !is_gone(errno))
			rc = -errno;
		if (got <= 0)
			break;
		worker_maps_feed(&parser, job, text, (size_t)got);
	}
	close(fd);
	*lines = parser.lines;
	return parser.found ? 1 : rc;
}

/* As the kernel fills it; getdents64(2). opendir() would allocate. */
struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short size;
	unsigned char type;
	char name[];
};

/*
 * A leader that called pthread_exit() has no memory any more, and its maps are empty, while the
 * other threads live on: then one of theirs is read.
 */
static int any_thread_maps(int tasks, const struct worker_job *job)
{
	union {
		struct entry first;
		char bytes[2048];
	} buffer;
	char path[64];

	for (;;) {
		long got = syscall(SYS_getdents64, tasks, buffer.bytes, sizeof(buffer.bytes));

		if (got < 0)
			return is_gone(errno) ? 0 : -errno;
		if (got == 0)
			return 0;
		for (long at = 0; at < got;) {
			const struct entry *entry =
				(const struct entry *)(const void *)(buffer.bytes + at);
			uint64_t lines;
			int rc;

			at += entry->size;
			if (entry->name[0] < '0' || entry->name[0] > '9' ||
			    strlen(entry->name) > 20)
				continue;
			append(append(path, entry->name), "/maps");
			rc = thread_maps(tasks, path, job, &lines);
			if (rc || lines)
				return rc;
		}
	}
}

int worker_maps(int32_t pid, const struct worker_job *job)
{
	char path[32];
	uint64_t lines;
	int rc, tasks;

	if (pid <= 0)
		return -EINVAL;
	worker_proc_path(path, pid, "/maps");
	rc = thread_maps(AT_FDCWD, path, job, &lines);
	if (rc || lines)
		return rc;
	worker_proc_path(path, pid, "/task");
	tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tasks < 0)
		return is_gone(errno) ? 0 : -errno;
	rc = any_thread_maps(tasks, job);
	close(tasks);
	return rc;
}
