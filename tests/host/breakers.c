/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every way to change a block map, one after the other, against a lease of a running daemon.
 * usage: breakers DIR [ROW | --load]      DIR: in a pool; descriptor 9: DIR/old, opened before the daemon
 * $BREAKERS_NFS: where DIR is mounted by NFS, if it is
 *
 * Each row is run with the operation inside the leased range and, if it has a range, elsewhere in
 * the file. We are the holder: told of a break we wait a while, look at the file, and let go. What
 * came of it is said on stdout, for tests/host/breaker_table:
 *   row NAME <tab> C10|C11 <tab> INSIDE <tab> ELSEWHERE
 *     waits            until the holder had let go; range, blocks and bytes were as before
 *     waits, ERRNO     the same, and was then refused by the kernel
 *     goes on          was done without waiting, and the range is as it was
 *     changes WHAT     without waiting, or though it seemed to wait: map, bytes, size; in brackets the
 *                      events of inotify's kind that tell of it afterwards
 *     ERRNO            the kernel refused it without waiting
 *     hangs            not done ten seconds after the holder had let go
 *     -                there is no such call here
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "libshim/daxlease.h"
#include "tests/host/breakers.h"

#define XFS_MAGIC 0x58465342
#define OLD_FD 9
/* How long a breaker that waits is looked at: nothing may happen in it. */
#define LOOK_MS 30
#define LOAD_ROUNDS 300u

static struct daxlease *connection;
static int events_fd; /* of a group that only listens: what could detect an escape */

struct one_file {
	int fd;
	char path[256];
};

static void bail(const char *what, int error)
{
	printf("Bail out! %s: %s\n", what, strerror(error));
	exit(2);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- files ------------------------------------------------------------------------------------ */

/* Each page its own letter, and the same in pages that are eight apart: the pages that are deduped
 * are. */
static void fill(int fd, size_t size, char letter)
{
	static char bytes[FILE_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(letter + (int)(i / PAGE % 8));
	if (ftruncate(fd, 0) < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size || fsync(fd) < 0)
		bail("a file cannot be written", errno);
}

static void make(const struct row *row, const char *name, size_t size, char letter,
		 struct one_file *file)
{
	snprintf(file->path, sizeof(file->path), "%s/%s%s", bench.dir,
		 row->flags & ROW_UPPER ? "upper/" : "", name);
	unlink(file->path);
	if (row->flags & ROW_OLD && !strcmp(name, "leased"))
		file->fd = dup(bench.old_fd);
	else if (row->flags & ROW_TMPFILE)
		file->fd = open(bench.dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0777);
	else
		file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0777);
	if (file->fd < 0)
		bail(file->path, errno);
	if (!(row->flags & ROW_UNWRITTEN) || !strcmp(name, "leased"))
		fill(file->fd, size, letter);
	else if (posix_fallocate(file->fd, 0, (off_t)size))
		bail("a file cannot be allocated", ENOSPC);
	if (row->flags & ROW_TMPFILE)
		snprintf(file->path, sizeof(file->path), "/proc/%d/fd/%d", getpid(), file->fd);
	/* a program that is open for writing cannot be executed */
	if (row->act == act_execute) {
		close(file->fd);
		file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
	}
}

/* --- one run ---------------------------------------------------------------------------------- */

/* An operation on the range may not be known to have finished, of the row before. */
static struct daxlease_held *take(const struct one_file *file, uint64_t start, uint64_t end)
{
	const int64_t limit = now_ms() + 10000;
	struct daxlease_held *lease;
	int ret;

	do {
		ret = daxlease_take(connection, file->fd, start, end - start, 0, &lease);
	} while (ret == -EAGAIN && now_ms() < limit);
	if (ret < 0)
		bail(daxlease_reason(), -ret);
	return lease;
}

static bool was_told(int timeout_ms)
{
	struct pollfd readable = {.fd = daxlease_fd(connection), .events = POLLIN};
	struct daxlease_event event;
	bool told = false;
	int ret;

	poll(&readable, 1, timeout_ms);
	while ((ret = daxlease_next_event(connection, &event)) == 1)
		told = true;
	if (ret < 0)
		bail("the daemon", -ret);
	return told;
}

static const char *change(const struct one_file *file, uint64_t start, uint64_t end,
			  const struct picture *before)
{
	static struct picture now;
	int ret = picture_take(file->fd, start, end, &now);

	if (ret < 0)
		bail("a look at the file", -ret);
	return picture_compare(before, &now);
}

/* "", or those that came for the file since the last call: " (MODIFY ATTRIB)". */
static const char *events_seen(void)
{
	static char words[32];
	union {
		struct fanotify_event_metadata head;
		char space[4096];
	} u;
	uint64_t mask = 0;
	ssize_t length;

	while ((length = read(events_fd, &u, sizeof(u))) > 0) {
		for (char *at = u.space; length >= (ssize_t)sizeof(u.head);) {
			struct fanotify_event_metadata head;

			memcpy(&head, at, sizeof(head));
			mask |= head.mask;
			at += head.event_len;
			length -= head.event_len;
		}
	}
	snprintf(words, sizeof(words), " (%s%s%s)", mask & FAN_MODIFY ? "MODIFY" : "",
		 mask & FAN_MODIFY && mask & FAN_ATTRIB ? " " : "",
		 mask & FAN_ATTRIB ? "ATTRIB" : "");
	return mask ? words : "";
}

static void watch_breaker(struct breaker *b, const struct one_file *file, uint64_t start,
			  uint64_t end, struct daxlease_held **lease, char cell[64])
{
	static struct picture before;
	const int64_t limit = now_ms() + 10000;
	const char *changed = NULL;
	bool told = false, done = false;
	int64_t look_end;
	int ret = picture_take(file->fd, start, end, &before);

	if (ret < 0)
		bail("a look at the file", -ret);
	events_seen();
	breaker_go(b);
	while (!told && !done && now_ms() < limit) {
		done = breaker_done(b);
		told = was_told(done ? 0 : 1);
	}
	look_end = now_ms() + (told ? LOOK_MS : 0);
	do {
		changed = change(file, start, end, &before);
	} while (!changed && now_ms() < look_end);
	done = breaker_done(b);
	if (!changed && told && done)
		changed = "nothing, but was done";
	daxlease_release(*lease);
	*lease = NULL;
	if (!breaker_wait_done(b))
		snprintf(cell, 64, "hangs");
	else if (changed)
		snprintf(cell, 64, "changes %s%s", changed, events_seen());
	else if (!changed && b->ret < 0)
		snprintf(cell, 64, "%s%s", told ? "waits, " : "", strerrorname_np(b->error));
	else if (!changed)
		snprintf(cell, 64, "%s", told ? "waits" : "goes on");
}

static void run(const struct row *row, bool inside, char cell[64])
{
	const bool tail = row->flags & ROW_TAIL && inside;
	const uint64_t start = tail ? FILE_BYTES - 4 * PAGE : LEASE_START;
	const uint64_t end = tail ? FILE_BYTES : LEASE_END;
	struct one_file file, other = {.fd = -1};
	struct daxlease_held *lease;
	struct breaker *b;

	make(row, "leased", tail ? FILE_BYTES - 1000 : FILE_BYTES, 'a', &file);
	if (row->flags & ROW_OTHER)
		make(row, "other", FILE_BYTES, row->flags & ROW_SAME ? 'a' : 'A', &other);
	if (fanotify_mark(events_fd, FAN_MARK_ADD, FAN_MODIFY | FAN_ATTRIB, file.fd, NULL) < 0)
		bail("fanotify_mark", errno);
	b = breaker_new(row->prepare, row->act, file.path, other.fd < 0 ? NULL : other.path,
			row->breaker_flags);
	b->argument = row->argument ? row->argument : inside ? AT_INSIDE : AT_ELSEWHERE;
	lease = take(&file, start, end);
	watch_breaker(b, &file, start, end, &lease, cell);
	breaker_end(b);
	close(file.fd);
	if (other.fd >= 0)
		close(other.fd);
	was_told(0); /* what came too late */
}

static bool exists_here(const struct row *row)
{
	if ((row->flags & ROW_OLD && bench.old_fd < 0) || (row->flags & ROW_NFS && !bench.nfs))
		return false;
	return !(row->flags & ROW_XFS && !bench.xfs) && !(row->flags & ROW_EXT4 && bench.xfs);
}

static void run_row(const struct row *row)
{
	const bool elsewhere = !(row->flags & (ROW_WHOLE | ROW_HARMLESS));
	char cells[2][64] = {"-", "-"};

	if (exists_here(row)) {
		run(row, true, cells[0]);
		if (elsewhere)
			run(row, false, cells[1]);
	}
	printf("row %s\t%s\t%s\t%s\n", row->name, row->flags & ROW_HARMLESS ? "C11" : "C10",
	       cells[0], cells[1]);
	fflush(stdout);
}

/* --- under load ------------------------------------------------------------------------------- */

/* Makes the file anew, all the time: truncated, written, synced. counter: how often; lost: it shall
 * end. */
static long act_remake(struct breaker *b)
{
	while (!b->lost) {
		fill(b->fd, FILE_BYTES, 'a');
		b->counter++;
	}
	return 0;
}

/* A lease is taken and given back again and again of a file that two others remake: while it is
 * held, blocks and bytes stay as they are. It is refused while the file is not whole. */
static void run_load(void)
{
	static struct picture before;
	static const struct row row = {.name = "load"};
	unsigned taken = 0, changed = 0, told = 0;
	struct one_file file;
	struct breaker *b[2];
	const char *what = NULL;

	make(&row, "load", FILE_BYTES, 'a', &file);
	for (int i = 0; i < 2; i++) {
		b[i] = breaker_new(prepare_open, act_remake, file.path, NULL, 0);
		breaker_go(b[i]);
	}
	for (int64_t end = now_ms() + 20000; taken < LOAD_ROUNDS && now_ms() < end;) {
		struct daxlease_held *lease;
		int ret = daxlease_take(connection, file.fd, LEASE_START, LEASE_END - LEASE_START,
					0, &lease);

		if (ret < 0)
			continue;
		taken++;
		/* One that is wrong already has been changed since it was granted. */
		if (picture_take(file.fd, LEASE_START, LEASE_END, &before) < 0)
			bail("a look at the file", EIO);
		told += was_told(20);
		for (int look = 0; look < 10 && !what; look++)
			what = change(&file, LEASE_START, LEASE_END, &before);
		changed += what || before.extents == 0;
		what = NULL;
		daxlease_release(lease);
	}
	for (int i = 0; i < 2; i++) {
		b[i]->lost = 1;
		breaker_wait_done(b[i]);
		breaker_end(b[i]);
	}
	printf("load: %u leases, %u broken, %u changed\n", taken, told, changed);
}

int main(int argc, char **argv)
{
	struct statfs fs;
	int ret;

	if (argc < 2 || statfs(argv[1], &fs) < 0) {
		fprintf(stderr, "usage: %s DIR [ROW]\n", argv[0]);
		return 2;
	}
	bench.dir = argv[1];
	bench.xfs = fs.f_type == XFS_MAGIC;
	if (fcntl(OLD_FD, F_GETFD) >= 0)
		bench.old_fd = OLD_FD;
	bench.nfs = getenv("BREAKERS_NFS");
	signal(SIGPIPE, SIG_IGN);
	breakers_start();
	events_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_NONBLOCK | FAN_CLOEXEC, 0);
	if (events_fd < 0)
		bail("fanotify_init", errno);
	ret = daxlease_open(NULL, &connection);
	if (ret < 0)
		bail("the daemon", -ret);
	if (argc > 2 && !strcmp(argv[2], "--load"))
		run_load();
	for (const struct row *row = rows; row->name; row++)
		if (argc < 3 || !strcmp(argv[2], row->name))
			run_row(row);
	daxlease_close(connection);
	breakers_stop();
	return 0;
}
