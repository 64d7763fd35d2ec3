/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One call after the other: is it stopped, with which cause and range; does it go on, and is it
 * refused? C10, C11. */
#include "tests/host/guard_calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX UINT64_MAX

/* --- stopped
 * ----------------------------------------------------------------------------------------- */

/* OWN: by the thread itself, though it is opaque; else it may be another one of io_uring */
enum { MAPS = 1, OPAQUE = 2, TWO = 4, XFS = 8, OTHER = 16, OWN = 32 };

struct call_row {
	const char *name;
	long (*prepare)(struct breaker *);
	long (*act)(struct breaker *);
	int breaker_flags;
	int flags;
	uint32_t cause;
	uint64_t start, end; /* pages */
	uint64_t argument;
};

/* clang-format off */
static const struct call_row stopped[] = {
	{"pwrite", prepare_open, act_pwrite, 0, 0, DLP_CAUSE_WRITE, 0, 1, 0},
	{"pwrite by a second thread", prepare_open, act_pwrite, BREAKER_THREAD, 0,
	 DLP_CAUSE_WRITE, 0, 1, 0},
	{"pwrite by another user", prepare_open, act_pwrite, BREAKER_NOBODY, 0,
	 DLP_CAUSE_WRITE, 0, 1, 0},
	{"pwrite over two pages", prepare_open, act_pwrite_unaligned, 0, 0, DLP_CAUSE_WRITE,
	 3, 5, 3 * PAGE},
	{"write", prepare_open, act_write, 0, 0, DLP_CAUSE_WRITE, 2, 3, 2 * PAGE},
	{"write, O_APPEND", prepare_open, act_write_appending, BREAKER_APPEND, 0,
	 DLP_CAUSE_WRITE, FILE_PAGES, MAX, 0},
	{"writev", prepare_open, act_writev, 0, 0, DLP_CAUSE_WRITE, 0, 2, 0},
	{"pwritev", prepare_open, act_pwritev, 0, 0, DLP_CAUSE_WRITE, 1, 2, PAGE},
	{"pwritev2", prepare_open, act_pwritev2, 0, 0, DLP_CAUSE_WRITE, 1, 2, PAGE},
	{"pwritev2, RWF_APPEND", prepare_open, act_pwritev2_append, 0, 0, DLP_CAUSE_WRITE,
	 FILE_PAGES, MAX, 0},
	{"pwrite, O_DIRECT", prepare_open, act_direct_write, 0, 0, DLP_CAUSE_WRITE, 4, 5, 4 * PAGE},
	{"ftruncate", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 5, MAX, 5 * PAGE},
	{"ftruncate to 0", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 0, MAX, 0},
	{"ftruncate inside a page", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE,
	 5, MAX, 5 * PAGE + 77},
	{"ftruncate, growing", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE,
	 FILE_PAGES, MAX, FILE_BYTES * 2},
	{"truncate", prepare_open, act_truncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 3, MAX, 3 * PAGE},
	{"truncate inside a page", prepare_open, act_truncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 3,
	 MAX, 3 * PAGE + 1},
	{"truncate, growing", prepare_open, act_truncate, 0, MAPS, DLP_CAUSE_TRUNCATE,
	 FILE_PAGES, MAX, FILE_BYTES * 2},
#ifdef __x86_64__
	{"ftruncate of a 32-bit program", prepare_open, act_i386_ftruncate, 0, MAPS | OPAQUE |
	 TWO, DLP_CAUSE_UNKNOWN, 0, MAX, PAGE},
#endif
	{"fallocate", prepare_open, act_allocate, 0, MAPS, DLP_CAUSE_ALLOCATE, 4, 6, 4 * PAGE},
	{"fallocate behind the end", prepare_open, act_allocate_behind, 0, MAPS,
	 DLP_CAUSE_ALLOCATE, FILE_PAGES, FILE_PAGES + 1, 0},
	{"punch hole", prepare_open, act_punch, 0, MAPS, DLP_CAUSE_PUNCH, 4, 6, 4 * PAGE},
	{"zero range", prepare_open, act_zero, 0, MAPS, DLP_CAUSE_ZERO, 4, 6, 4 * PAGE},
	{"collapse range", prepare_open, act_collapse, 0, MAPS, DLP_CAUSE_COLLAPSE, 4, MAX, 4
	 * PAGE},
	{"insert range", prepare_open, act_insert, 0, MAPS, DLP_CAUSE_INSERT, 4, MAX, 4 * PAGE},
	{"unshare range", prepare_open, act_unshare, 0, MAPS | XFS, DLP_CAUSE_UNSHARE, 4, 6, 4
	 * PAGE},
	{"open O_TRUNC", prepare_open, act_open_trunc, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX, 0},
	{"creat", prepare_open, act_creat, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX, 0},
	{"openat2", prepare_open, act_openat2_read, 0, MAPS | OPAQUE, DLP_CAUSE_OPEN_TRUNC, 0,
	 MAX, 0},
	{"MADV_REMOVE", prepare_map, act_madvise_remove, 0, MAPS, DLP_CAUSE_MADVISE, 4, 6, 4 *
	 PAGE},
	{"copy_file_range into", prepare_open, act_copy_into, 0, MAPS | TWO | OTHER,
	 DLP_CAUSE_COPY, 2, 3, 2 * PAGE},
	{"copy_file_range from", prepare_open, act_copy_from, 0, MAPS | TWO | OTHER,
	 DLP_CAUSE_COPY, 2, 3, 2 * PAGE},
	{"sendfile into", prepare_open, act_sendfile_into, 0, MAPS | OTHER, DLP_CAUSE_COPY, 2,
	 3, 2 * PAGE},
	{"splice into", prepare_open, act_splice_into, 0, MAPS, DLP_CAUSE_COPY, 2, 3, 2 * PAGE},
	{"FICLONE into", prepare_open, act_clone, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"FICLONE from", prepare_open, act_clone_from, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"FIDEDUPERANGE into", prepare_open, act_dedupe_into, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"FIDEDUPERANGE from", prepare_open, act_dedupe_from, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"io_submit", prepare_open, act_aio, 0, MAPS | OPAQUE, DLP_CAUSE_AIO, 0, MAX, PAGE},
	{"io_uring write", prepare_uring, act_uring_write, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX, 2 * PAGE},
	{"io_uring write by a worker", prepare_uring, act_uring_worker_write, 0, MAPS |
	 OPAQUE, DLP_CAUSE_IO_URING, 0, MAX, 2 * PAGE},
	{"io_uring punch", prepare_uring, act_uring_punch, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX, 0},
	{"io_uring write by SQPOLL", prepare_uring_sqpoll, act_uring_write, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX, 2 * PAGE},
	{"io_uring write in a thread that shows read(2)", prepare_uring, act_uring_disguised,
	 0, MAPS | OPAQUE | OWN, DLP_CAUSE_IO_URING, 0, MAX, 2 * PAGE},
};
/* clang-format on */

static uint64_t in_bytes(uint64_t pages)
{
	return pages == MAX ? MAX : pages * PAGE;
}

static const char *check_attempt(const struct call_row *row, const struct breaker *b, uint64_t ino,
				 const struct guard_attempt *a)
{
	static char why[256];
	const int flags = (a->maps ? MAPS : 0) | (a->opaque ? OPAQUE : 0) | (a->two_file ? TWO : 0);
	const bool another_thread = a->opaque && !(row->flags & OWN) && a->tid != b->tid;

	if (a->answered)
		return "was let through";
	if (a->dev != bench.dev || a->ino != ino)
		return "another file";
	if (a->cause != row->cause || a->start != in_bytes(row->start) ||
	    a->end != in_bytes(row->end) || flags != (row->flags & (MAPS | OPAQUE | TWO))) {
		snprintf(why, sizeof(why), "cause %u range %#llx-%#llx flags %d syscall %ld",
			 a->cause, (unsigned long long)a->start, (unsigned long long)a->end, flags,
			 a->syscall);
		return why;
	}
	if (a->tgid != b->pid || (!another_thread && a->tid != b->tid))
		return "another thread";
	if (a->uid != (row->breaker_flags & BREAKER_NOBODY ? 65534u : 0u))
		return "another user";
	if (!another_thread && strcmp(a->comm, "breaker") != 0)
		return "another name";
	return NULL;
}

static const char *run_stopped(const struct call_row *row, int verdict)
{
	char path[256], other[256];
	struct guard_attempt attempt;
	struct stat before, after;
	const char *why = NULL;
	struct breaker *b;
	uint64_t ino, other_ino;
	int fd = make_file("leased", path, &ino), other_fd = make_file("other", other, &other_ino);

	b = breaker_new(row->prepare, row->act, path, row->flags & OTHER ? other : NULL,
			row->breaker_flags);
	b->argument = row->argument;
	/* the breaker's descriptor is open already: arming must be enough */
	if (bench.guard->ops->arm(bench.guard, fd, bench.dev, ino))
		why = "arm failed";
	fstat(fd, &before);
	breaker_go(b);
	for (int n = 0; !why && wait_attempt(b, &attempt); n++) {
		if (attempt.answered)
			continue; /* the other file's */
		if (n == 0)
			why = check_attempt(row, b, ino, &attempt);
		fstat(fd, &after);
		if (!why && n == 0 &&
		    (breaker_done(b) || after.st_size != before.st_size ||
		     after.st_blocks != before.st_blocks))
			why = "did not wait";
		if (bench.guard->ops->answer(bench.guard, attempt.slot, verdict) && !why)
			why = "answer failed";
		b->seen++;
	}
	if (!why && b->seen == 0)
		why = "was not stopped";
	if (!why && !breaker_wait_done(b))
		why = "does not go on";
	if (!why && verdict == 0 && b->ret < 0)
		why = strerror(b->error);
	if (!why && verdict && (b->ret >= 0 || b->error != -verdict))
		why = b->ret >= 0 ? "was not refused" : strerror(b->error);
	breaker_end(b);
	if (bench.guard->ops->disarm(bench.guard, fd, bench.dev, ino) && !why)
		why = "disarm failed";
	close(fd);
	close(other_fd);
	return why;
}

/* --- not stopped
 * ------------------------------------------------------------------------------------- */

static const struct call_row free_calls[] = {
	{.name = "read", .prepare = prepare_open, .act = act_read},
	{.name = "pread", .prepare = prepare_open, .act = act_pread},
	{.name = "readv", .prepare = prepare_open, .act = act_readv},
	{.name = "preadv", .prepare = prepare_open, .act = act_preadv},
	{.name = "preadv2", .prepare = prepare_open, .act = act_preadv2},
	{.name = "mmap", .prepare = prepare_open, .act = act_mmap},
	{.name = "store and msync", .prepare = prepare_map, .act = act_store},
	{.name = "open for reading", .prepare = prepare_open, .act = act_open_read},
	{.name = "open for writing", .prepare = prepare_open, .act = act_open_write},
	{.name = "execve",
	 .prepare = prepare_open,
	 .act = act_execute,
	 .breaker_flags = BREAKER_READ},
	{.name = "chmod, chown", .prepare = prepare_open, .act = act_chmod},
	{.name = "setxattr", .prepare = prepare_open, .act = act_xattr},
	{.name = "utimensat", .prepare = prepare_open, .act = act_times},
	{.name = "link, rename, unlink", .prepare = prepare_open, .act = act_link_rename_unlink},
	{.name = "fsync, fdatasync", .prepare = prepare_open, .act = act_fsync},
	{.name = "FIEMAP", .prepare = prepare_open, .act = act_fiemap},
};

static const char *run_free(const struct call_row *row)
{
	char path[256];
	uint64_t ino;
	struct guard_attempt attempt;
	const char *why = NULL;
	int fd = make_file("leased", path, &ino);
	struct breaker *b = breaker_new(row->prepare, row->act, path, NULL, row->breaker_flags);

	if (bench.guard->ops->arm(bench.guard, fd, bench.dev, ino))
		why = "arm failed";
	breaker_go(b);
	if (!why && wait_attempt(b, &attempt)) {
		static char told[80];

		snprintf(told, sizeof(told), "was stopped: cause %u syscall %ld", attempt.cause,
			 attempt.syscall);
		why = told;
	}
	if (!why && !breaker_wait_done(b))
		why = "does not go on";
	if (!why && b->ret < 0)
		why = strerror(b->error);
	breaker_end(b);
	bench.guard->ops->disarm(bench.guard, fd, bench.dev, ino);
	close(fd);
	return why;
}

void test_calls(void)
{
	static const int verdicts[] = {0, -EBUSY};
	char name[128];

	for (size_t i = 0; i < sizeof(stopped) / sizeof(stopped[0]); i++) {
		const struct call_row *row = &stopped[i];

		if (row->flags & XFS && !bench.xfs)
			continue;
		for (size_t v = 0; v < 2; v++) {
			const char *why = run_stopped(row, verdicts[v]);

			snprintf(name, sizeof(name), "C10 %s is stopped and %s", row->name,
				 verdicts[v] ? "refused" : "goes on");
			report(!why, name, why);
		}
	}
	if (bench.allow_all)
		return; /* these hold without protection, too */
	for (size_t i = 0; i < sizeof(free_calls) / sizeof(free_calls[0]); i++) {
		const char *why = run_free(&free_calls[i]);

		snprintf(name, sizeof(name), "C11 %s is not stopped", free_calls[i].name);
		report(!why, name, why);
	}
}
