/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does a process still map one of these files, or ranges of files? In a worker, since reading /proc/PID/maps waits for
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

static bool is_of(const struct worker_maps_parser *p, uint64_t dev, uint64_t ino)
{
	return ino == p->inode && dev == makedev((unsigned)p->major, (unsigned)p->minor);
}

/* The part of the mapping that shows [start, end) of its file. */
static bool clip(const struct worker_maps_parser *p, uint64_t start, uint64_t end,
		 struct worker_mapping *part)
{
	uint64_t offset_end = p->offset + (p->end - p->start);

	if (start >= offset_end || end <= p->offset)
		return false;
	part->start = p->start + (start > p->offset ? start - p->offset : 0);
	part->end = p->end - (end < offset_end ? offset_end - end : 0);
	return true;
}

static bool is_wanted(const struct worker_maps_parser *p, const struct worker_job *job,
		      struct worker_mapping *part)
{
	for (unsigned i = 0; p->shared && p->inode && i < job->items; i++) {
		if (job->kind == WORKER_FENCE) {
			if (is_of(p, job->range[i].dev, job->range[i].ino) &&
			    clip(p, job->range[i].start, job->range[i].end, part))
				return true;
		} else if (is_of(p, job->file[i].dev, job->file[i].ino)) {
			*part = (struct worker_mapping){.start = p->start, .end = p->end};
			return true;
		}
	}
	return false;
}

static void line_done(struct worker_maps_parser *p, const struct worker_job *job)
{
	struct worker_mapping part = {0};
	/* A line that cannot be read is taken for a mapping: it must never end a lease. */
	bool found = p->bad || p->field < 4 || p->start >= p->end || is_wanted(p, job, &part);

	if (found && !p->found) {
		p->found = true;
		p->first = part;
	}
	p->lines++;
	p->field = p->at = 0;
	p->start = p->end = p->offset = p->major = p->minor = p->inode = 0;
	p->in_second = p->shared = p->bad = false;
}

/* A digit of one of two numbers with a sign between them. */
static void add_to_pair(struct worker_maps_parser *p, uint64_t *first, uint64_t *second, char c,
			char sign)
{
	if (c == sign && !p->in_second)
		p->in_second = true;
	else if (!add_digit(p->in_second ? second : first, c, 16))
		p->bad = true;
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
			p->in_second = false;
			continue;
		}
		switch (p->field) {
		case 0:
			add_to_pair(p, &p->start, &p->end, c, '-');
			break;
		case 1:
			if (p->at++ == 3)
				p->shared = c == 's';
			break;
		case 2:
			if (!add_digit(&p->offset, c, 16))
				p->bad = true;
			break;
		case 3:
			add_to_pair(p, &p->major, &p->minor, c, ':');
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

/* What of the process the job asks for, and what is found. */
struct look {
	const struct worker_job *job;
	int tasks;
	struct worker_mapping *first;
	uint64_t lines; /* how many there were */
};

/* The maps of one thread. 1, 0, -errno. */
static int thread_maps(struct look *look, const char *path)
{
	struct worker_maps_parser parser = {0};
	char text[4096];
	ssize_t got;
	int fd = openat(look->tasks, path, O_RDONLY | O_CLOEXEC), rc = 0;

	look->lines = 0;
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
		worker_maps_feed(&parser, look->job, text, (size_t)got);
	}
	close(fd);
	look->lines = parser.lines;
	if (look->first) {
		*look->first = parser.first;
		look->first->lines = parser.lines;
	}
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

int worker_each_thread(int tasks, int (*each)(void *arg, const char *tid), void *arg)
{
	union {
		struct entry first;
		char bytes[2048];
	} buffer;

	if (lseek(tasks, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long got = syscall(SYS_getdents64, tasks, buffer.bytes, sizeof(buffer.bytes));

		if (got <= 0)
			return got == 0 || is_gone(errno) ? 0 : -errno;
		for (long at = 0; at < got;) {
			const struct entry *entry =
				(const struct entry *)(const void *)(buffer.bytes + at);
			int rc;

			at += entry->size;
			if (entry->name[0] < '0' || entry->name[0] > '9' ||
			    strlen(entry->name) > 20)
				continue;
			rc = each(arg, entry->name);
			if (rc)
				return rc;
		}
	}
}

/*
 * A leader that called pthread_exit() has no memory any more, and its maps are empty, while the
 * other threads live on: then one of theirs is read. 2: it maps, and nothing of what is asked for.
 */
static int any_thread_maps(void *arg, const char *tid)
{
	struct look *look = arg;
	char path[64];
	int rc;

	append(append(path, tid), "/maps");
	rc = thread_maps(look, path);
	return rc ? rc : look->lines ? 2 : 0;
}

int worker_maps(int32_t pid, const struct worker_job *job, struct worker_mapping *first)
{
	struct look look = {.job = job, .tasks = AT_FDCWD, .first = first};
	char path[32];
	int rc;

	if (pid <= 0)
		return -EINVAL;
	if (first)
		first->lines = 0;
	worker_proc_path(path, pid, "/maps");
	rc = thread_maps(&look, path);
	if (rc || look.lines)
		return rc;
	worker_proc_path(path, pid, "/task");
	look.tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (look.tasks < 0)
		return is_gone(errno) ? 0 : -errno;
	rc = worker_each_thread(look.tasks, any_thread_maps, &look);
	close(look.tasks);
	return rc == 2 ? 0 : rc;
}
