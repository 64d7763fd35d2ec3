/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One call after the other: is it stopped, with which cause and range; does it go on, and is it
 * refused? C10, C11. */
#include "tests/host/guard_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX UINT64_MAX

static char bytes[PAGE];

long act_pwrite(struct breaker *b)
{
	return pwrite(b->fd, "x", 1, 0);
}

static long act_write(struct breaker *b)
{
	return lseek(b->fd, 2 * PAGE, SEEK_SET) < 0 ? -1 : write(b->fd, bytes, 10);
}

static long act_write_appending(struct breaker *b)
{
	return write(b->fd, bytes, 10);
}

static long act_pwrite_middle(struct breaker *b)
{
	return pwrite(b->fd, bytes, PAGE, 3 * PAGE + 100);
}

static long act_writev(struct breaker *b)
{
	struct iovec parts[2] = {{bytes, 10}, {bytes, PAGE}};

	return writev(b->fd, parts, 2);
}

static long act_pwritev(struct breaker *b)
{
	return pwritev(b->fd, &(struct iovec){bytes, 10}, 1, PAGE);
}

static long act_pwritev2_append(struct breaker *b)
{
	return pwritev2(b->fd, &(struct iovec){bytes, 10}, 1, 0, RWF_APPEND);
}

static long act_direct_write(struct breaker *b)
{
	void *page = aligned_alloc(PAGE, PAGE);

	if (!page || fcntl(b->fd, F_SETFL, O_DIRECT) < 0)
		return -1;
	memset(page, 'd', PAGE);
	return pwrite(b->fd, page, PAGE, 4 * PAGE);
}

long act_ftruncate(struct breaker *b)
{
	return ftruncate(b->fd, (off_t)b->argument);
}

static long act_truncate(struct breaker *b)
{
	return truncate(b->path, 3 * PAGE);
}

static long act_truncate_unaligned(struct breaker *b)
{
	return truncate(b->path, 3 * PAGE + 1);
}

static long act_truncate_growing(struct breaker *b)
{
	return truncate(b->path, FILE_BYTES * 2);
}

#ifdef __x86_64__
/* ftruncate as a 32-bit program calls it: shows 93, which is fchown. */
static long act_ftruncate_i386(struct breaker *b)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(93), "b"((long)b->fd), "c"((long)PAGE)
			 : "memory", "r8", "r9", "r10", "r11");
	ret = (int)ret;
	if (ret < 0) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}
#endif

static long act_fallocate(struct breaker *b, int mode)
{
	return fallocate(b->fd, mode, 4 * PAGE, 2 * PAGE);
}

static long act_allocate(struct breaker *b)
{
	return act_fallocate(b, 0);
}

static long act_allocate_behind(struct breaker *b)
{
	return fallocate(b->fd, FALLOC_FL_KEEP_SIZE, FILE_BYTES, PAGE);
}

static long act_punch(struct breaker *b)
{
	return act_fallocate(b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static long act_zero(struct breaker *b)
{
	return act_fallocate(b, FALLOC_FL_ZERO_RANGE);
}

static long act_collapse(struct breaker *b)
{
	return act_fallocate(b, FALLOC_FL_COLLAPSE_RANGE);
}

static long act_insert(struct breaker *b)
{
	return act_fallocate(b, FALLOC_FL_INSERT_RANGE);
}

static long act_unshare(struct breaker *b)
{
	return act_fallocate(b, FALLOC_FL_UNSHARE_RANGE);
}

static long act_open_trunc(struct breaker *b)
{
	return open(b->path, O_WRONLY | O_TRUNC);
}

static long act_creat(struct breaker *b)
{
	return creat(b->path, 0644);
}

static long act_openat2(struct breaker *b)
{
	struct open_how how = {.flags = O_RDONLY};

	return syscall(SYS_openat2, AT_FDCWD, b->path, &how, sizeof(how));
}

static long prepare_map(struct breaker *b)
{
	if (prepare_open(b) < 0)
		return -1;
	b->map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return b->map == MAP_FAILED ? -1 : 0;
}

static long act_madvise_remove(struct breaker *b)
{
	return madvise((char *)b->map + 4 * PAGE, 2 * PAGE, MADV_REMOVE);
}

static long act_copy_into(struct breaker *b)
{
	loff_t in = 0, out = 2 * PAGE;

	return syscall(SYS_copy_file_range, b->other_fd, &in, b->fd, &out, PAGE, 0);
}

static long act_copy_from(struct breaker *b)
{
	loff_t in = 2 * PAGE, out = 0;

	return syscall(SYS_copy_file_range, b->fd, &in, b->other_fd, &out, PAGE, 0);
}

static long act_sendfile_into(struct breaker *b)
{
	off_t in = 0;

	return lseek(b->fd, 2 * PAGE, SEEK_SET) < 0 ? -1 : sendfile(b->fd, b->other_fd, &in, PAGE);
}

static long act_splice_into(struct breaker *b)
{
	loff_t out = 2 * PAGE;
	int ends[2];

	if (pipe(ends) < 0 || write(ends[1], bytes, PAGE) != PAGE)
		return -1;
	return splice(ends[0], NULL, b->fd, &out, PAGE, 0);
}

long act_clone(struct breaker *b)
{
	return ioctl(b->fd, FICLONE, b->other_fd);
}

static long act_clone_from(struct breaker *b)
{
	return ioctl(b->other_fd, FICLONE, b->fd);
}

static long dedupe(int from, int to)
{
	union {
		struct file_dedupe_range range;
		char space[sizeof(struct file_dedupe_range) +
			   sizeof(struct file_dedupe_range_info)];
	} d = {.range = {.src_length = PAGE, .dest_count = 1}};

	d.range.info[0].dest_fd = to;
	if (ioctl(from, FIDEDUPERANGE, &d.range) < 0)
		return -1;
	if (d.range.info[0].status < 0) {
		errno = -d.range.info[0].status;
		return -1;
	}
	return 0;
}

static long act_dedupe_into(struct breaker *b)
{
	return dedupe(b->other_fd, b->fd);
}

static long act_dedupe_from(struct breaker *b)
{
	return dedupe(b->fd, b->other_fd);
}

static long act_aio(struct breaker *b)
{
	aio_context_t context = 0;
	struct iocb request = {.aio_fildes = (uint32_t)b->fd,
			       .aio_lio_opcode = IOCB_CMD_PWRITE,
			       .aio_buf = (uintptr_t)bytes,
			       .aio_nbytes = 10,
			       .aio_offset = PAGE};
	struct iocb *requests[1] = {&request};
	struct io_event event;

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return -1;
	if (syscall(SYS_io_submit, context, 1, requests) != 1)
		return -1;
	if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
		return -1;
	if ((int64_t)event.res < 0) {
		errno = -(int)event.res;
		return -1;
	}
	return (long)event.res;
}

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
	uint64_t start, end;
	uint64_t argument;
};

/* clang-format off */
static const struct call_row stopped[] = {
	{"pwrite", prepare_open, act_pwrite, 0, 0, DLP_CAUSE_WRITE, 0, PAGE, 0},
	{"pwrite by a second thread", prepare_open, act_pwrite, BREAKER_THREAD, 0,
	 DLP_CAUSE_WRITE, 0, PAGE, 0},
	{"pwrite by another user", prepare_open, act_pwrite, BREAKER_NOBODY, 0, DLP_CAUSE_WRITE,
	 0, PAGE, 0},
	{"pwrite over two pages", prepare_open, act_pwrite_middle, 0, 0, DLP_CAUSE_WRITE, 3 *
	 PAGE, 5 * PAGE, 0},
	{"write", prepare_open, act_write, 0, 0, DLP_CAUSE_WRITE, 2 * PAGE, 3 * PAGE, 0},
	{"write, O_APPEND", prepare_open, act_write_appending, BREAKER_APPEND, 0, DLP_CAUSE_WRITE,
	 FILE_BYTES, MAX, 0},
	{"writev", prepare_open, act_writev, 0, 0, DLP_CAUSE_WRITE, 0, 2 * PAGE, 0},
	{"pwritev", prepare_open, act_pwritev, 0, 0, DLP_CAUSE_WRITE, PAGE, 2 * PAGE, 0},
	{"pwritev2, RWF_APPEND", prepare_open, act_pwritev2_append, 0, 0, DLP_CAUSE_WRITE,
	 FILE_BYTES, MAX, 0},
	{"pwrite, O_DIRECT", prepare_open, act_direct_write, 0, 0, DLP_CAUSE_WRITE, 4 * PAGE, 5 *
	 PAGE, 0},
	{"ftruncate", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 5 * PAGE, MAX, 5 *
	 PAGE},
	{"ftruncate to 0", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 0, MAX, 0},
	{"ftruncate inside a page", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 5 *
	 PAGE, MAX, 5 * PAGE + 77},
	{"ftruncate, growing", prepare_open, act_ftruncate, 0, MAPS, DLP_CAUSE_TRUNCATE,
	 FILE_BYTES, MAX, FILE_BYTES * 2},
	{"truncate", prepare_open, act_truncate, 0, MAPS, DLP_CAUSE_TRUNCATE, 3 * PAGE, MAX, 0},
	{"truncate inside a page", prepare_open, act_truncate_unaligned, 0, MAPS,
	 DLP_CAUSE_TRUNCATE, 3 * PAGE, MAX, 0},
	{"truncate, growing", prepare_open, act_truncate_growing, 0, MAPS, DLP_CAUSE_TRUNCATE,
	 FILE_BYTES, MAX, 0},
#ifdef __x86_64__
	{"ftruncate of a 32-bit program", prepare_open, act_ftruncate_i386, 0, MAPS | OPAQUE |
	 TWO, DLP_CAUSE_UNKNOWN, 0, MAX, 0},
#endif
	{"fallocate", prepare_open, act_allocate, 0, MAPS, DLP_CAUSE_ALLOCATE, 4 * PAGE, 6 * PAGE,
	 0},
	{"fallocate behind the end", prepare_open, act_allocate_behind, 0, MAPS,
	 DLP_CAUSE_ALLOCATE, FILE_BYTES, FILE_BYTES + PAGE, 0},
	{"punch hole", prepare_open, act_punch, 0, MAPS, DLP_CAUSE_PUNCH, 4 * PAGE, 6 * PAGE, 0},
	{"zero range", prepare_open, act_zero, 0, MAPS, DLP_CAUSE_ZERO, 4 * PAGE, 6 * PAGE, 0},
	{"collapse range", prepare_open, act_collapse, 0, MAPS, DLP_CAUSE_COLLAPSE, 4 * PAGE, MAX,
	 0},
	{"insert range", prepare_open, act_insert, 0, MAPS, DLP_CAUSE_INSERT, 4 * PAGE, MAX, 0},
	{"unshare range", prepare_open, act_unshare, 0, MAPS | XFS, DLP_CAUSE_UNSHARE, 4 * PAGE, 6
	 * PAGE, 0},
	{"open O_TRUNC", prepare_open, act_open_trunc, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX, 0},
	{"creat", prepare_open, act_creat, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX, 0},
	{"openat2", prepare_open, act_openat2, 0, MAPS | OPAQUE, DLP_CAUSE_OPEN_TRUNC, 0, MAX, 0},
	{"MADV_REMOVE", prepare_map, act_madvise_remove, 0, MAPS, DLP_CAUSE_MADVISE, 4 * PAGE, 6 *
	 PAGE, 0},
	{"copy_file_range into", prepare_open, act_copy_into, 0, MAPS | TWO | OTHER,
	 DLP_CAUSE_COPY, 2 * PAGE, 3 * PAGE, 0},
	{"copy_file_range from", prepare_open, act_copy_from, 0, MAPS | TWO | OTHER,
	 DLP_CAUSE_COPY, 2 * PAGE, 3 * PAGE, 0},
	{"sendfile into", prepare_open, act_sendfile_into, 0, MAPS | OTHER, DLP_CAUSE_COPY, 2 *
	 PAGE, 3 * PAGE, 0},
	{"splice into", prepare_open, act_splice_into, 0, MAPS, DLP_CAUSE_COPY, 2 * PAGE, 3 *
	 PAGE, 0},
	{"FICLONE into", prepare_open, act_clone, 0, MAPS | TWO | OTHER | XFS, DLP_CAUSE_CLONE, 0,
	 MAX, 0},
	{"FICLONE from", prepare_open, act_clone_from, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"FIDEDUPERANGE into", prepare_open, act_dedupe_into, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"FIDEDUPERANGE from", prepare_open, act_dedupe_from, 0, MAPS | TWO | OTHER | XFS,
	 DLP_CAUSE_CLONE, 0, MAX, 0},
	{"io_submit", prepare_open, act_aio, 0, MAPS | OPAQUE, DLP_CAUSE_AIO, 0, MAX, 0},
	{"io_uring write", prepare_uring, act_uring_write, 0, MAPS | OPAQUE, DLP_CAUSE_IO_URING,
	 0, MAX, 0},
	{"io_uring write by a worker", prepare_uring, act_uring_worker_write, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX, 0},
	{"io_uring punch", prepare_uring, act_uring_punch, 0, MAPS | OPAQUE, DLP_CAUSE_IO_URING,
	 0, MAX, 0},
	{"io_uring write by SQPOLL", prepare_uring_sqpoll, act_uring_write, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX, 0},
	{"io_uring write in a thread that shows read(2)", prepare_uring, act_uring_disguised, 0,
	 MAPS | OPAQUE | OWN, DLP_CAUSE_IO_URING, 0, MAX, 0},
};
/* clang-format on */

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
	if (a->cause != row->cause || a->start != row->start || a->end != row->end ||
	    flags != (row->flags & (MAPS | OPAQUE | TWO))) {
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

static long act_read(struct breaker *b)
{
	return read(b->fd, bytes, 10);
}

static long act_pread(struct breaker *b)
{
	return pread(b->fd, bytes, 10, PAGE);
}

static long act_readv(struct breaker *b)
{
	return readv(b->fd, &(struct iovec){bytes, 10}, 1);
}

static long act_preadv(struct breaker *b)
{
	return preadv(b->fd, &(struct iovec){bytes, 10}, 1, 0);
}

static long act_preadv2(struct breaker *b)
{
	return preadv2(b->fd, &(struct iovec){bytes, 10}, 1, 0, RWF_HIPRI);
}

static long act_mmap(struct breaker *b)
{
	return mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0) == MAP_FAILED
		       ? -1
		       : 0;
}

static long act_store(struct breaker *b)
{
	memset((char *)b->map + PAGE, 'x', 100);
	return msync(b->map, FILE_BYTES, MS_SYNC);
}

long act_open_read(struct breaker *b)
{
	return open(b->path, O_RDONLY);
}

static long act_open_write(struct breaker *b)
{
	return open(b->path, O_RDWR | O_CREAT, 0644);
}

static long act_execute(struct breaker *b)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execl(b->path, b->path, NULL);
		_exit(errno == ENOEXEC
			      ? 42
			      : 1); /* the file is not a program, but it was opened and read */
	}
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
		return -1;
	return 0;
}

static long act_metadata(struct breaker *b)
{
	struct stat st;
	char renamed[300];

	snprintf(renamed, sizeof(renamed), "%s.renamed", b->path);
	if (stat(b->path, &st) < 0 || chmod(b->path, 0600) < 0 ||
	    setxattr(b->path, "user.x", "y", 1, 0) < 0 ||
	    utimensat(AT_FDCWD, b->path, NULL, 0) < 0 || link(b->path, renamed) < 0 ||
	    rename(renamed, b->path) < 0 || fsync(b->fd) < 0 || fdatasync(b->fd) < 0)
		return -1;
	return unlink(renamed) < 0 || unlink(b->path) < 0 ? -1 : 0;
}

static long act_fiemap(struct breaker *b)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET, .fm_flags = FIEMAP_FLAG_SYNC};

	return ioctl(b->fd, FS_IOC_FIEMAP, &map);
}

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
	{.name = "metadata, fsync, unlink", .prepare = prepare_open, .act = act_metadata},
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
