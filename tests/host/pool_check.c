/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool_check_range() (C5) on the files of a real file system. usage: pool_check DIRECTORY NAME
 * FIRST, where NAME is ext4, ext4-1k, ext4-inline, xfs or tmpfs, with -dax behind it where files
 * are DAX (in the guest), and FIRST the number of the first TAP line. The last line is "# next N".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/pool/pool.h"
#include "proto/proto.h"

#define K 1024ull
#define PAGE 4096ull
#define PIECES 300 /* more than two batches */

static const char *fs;
static unsigned number, failed;
static bool reopen_ok = true;

static bool is(const char *name)
{
	return strncmp(fs, name, strlen(name)) == 0;
}

static void ok(bool good, const char *what)
{
	printf("%sok %u - %s: %s\n", good ? "" : "not ", number++, fs, what);
	failed += !good;
}

static void skip(const char *what, const char *why)
{
	printf("ok %u - %s: %s # SKIP %s\n", number++, fs, what, why);
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s: %s: %m\n", fs, what);
	exit(1);
}

static int file(const char *name)
{
	int fd;

	unlink(name);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0, name);
	return fd;
}

static void fill(int fd, uint64_t start, uint64_t end, bool sync)
{
	static char bytes[64 * K];

	memset(bytes, 'x', sizeof(bytes));
	while (start < end) {
		uint64_t size = end - start < sizeof(bytes) ? end - start : sizeof(bytes);

		must(pwrite(fd, bytes, size, (off_t)start) == (ssize_t)size, "pwrite");
		start += size;
	}
	must(!sync || fsync(fd) == 0, "fsync");
}

/* Does the check say `reason` at `offset`? The descriptor's position must not move. */
static void expect(int fd, uint64_t start, uint64_t end, enum dlp_reason reason, uint64_t offset,
		   const char *what)
{
	struct pool_refusal refusal;
	int rc, wanted = reason == DLP_REASON_NONE ? 0 : -dlp_reason_errno(reason);
	off_t before = lseek(fd, 0, SEEK_CUR);

	rc = pool_check_range(fd, start, end, false, reopen_ok, &refusal);
	if (rc != wanted || refusal.reason != reason || refusal.offset != offset)
		printf("# %d (wanted %d), reason %u (wanted %u), offset %ju (wanted %ju)\n", rc,
		       wanted, refusal.reason, reason, (uintmax_t)refusal.offset,
		       (uintmax_t)offset);
	ok(rc == wanted && refusal.reason == reason && refusal.offset == offset &&
		   lseek(fd, 0, SEEK_CUR) == before,
	   what);
}

static void written(void)
{
	int fd = file("written"), writer;

	fill(fd, 0, 64 * K, true);
	expect(fd, 0, 64 * K, DLP_REASON_NONE, 0, "allocated and written");
	expect(fd, 16 * K, 20 * K, DLP_REASON_NONE, 0, "a part of it");
	expect(fd, 5000, 5001, DLP_REASON_NONE, 0, "a byte of it");
	expect(fd, 0, 128 * K, DLP_REASON_BEYOND_EOF, 64 * K, "beyond the end");
	expect(fd, 96 * K, 128 * K, DLP_REASON_BEYOND_EOF, 96 * K, "begins beyond the end");
	expect(fd, 0, UINT64_MAX, DLP_REASON_BEYOND_EOF, 64 * K, "to the end of numbers");
	must(lseek(fd, 1234, SEEK_SET) == 1234, "lseek");
	expect(fd, 0, 64 * K, DLP_REASON_NONE, 0, "does not move the descriptor's position");
	writer = open("written", O_WRONLY | O_CLOEXEC);
	expect(writer, 0, 64 * K, DLP_REASON_NONE, 0, "a descriptor that cannot read");
	close(writer);
	fill(fd, 64 * K, 65 * K, false);
	expect(fd, 0, 68 * K, DLP_REASON_NONE, 0, "written and not synced");
	close(fd);

	fd = file("fresh");
	fill(fd, 0, 1024 * K, false);
	expect(fd, 0, 1024 * K, DLP_REASON_NONE, 0, "delayed allocation, all of it");
	close(fd);
}

static void holes(void)
{
	int fd = file("holes");

	fill(fd, 0, 16 * K, true);
	fill(fd, 32 * K, 64 * K, true);
	must(ftruncate(fd, 128 * K) == 0, "ftruncate");
	expect(fd, 0, 64 * K, DLP_REASON_HOLE, 16 * K, "hole");
	expect(fd, 20 * K, 24 * K, DLP_REASON_HOLE, 20 * K, "nothing but hole");
	expect(fd, 32 * K, 64 * K, DLP_REASON_NONE, 0, "behind the hole");
	expect(fd, 32 * K, 128 * K, DLP_REASON_HOLE, 64 * K, "hole at the end");
	expect(fd, 0, 132 * K, DLP_REASON_BEYOND_EOF, 128 * K, "hole and end: the end is told");
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 40 * K, 4 * K) == 0,
	     "punch");
	expect(fd, 32 * K, 64 * K, DLP_REASON_HOLE, 40 * K, "punched");
	close(fd);

	fd = file("sparse");
	must(ftruncate(fd, 1024 * K) == 0, "ftruncate");
	expect(fd, 0, 1024 * K, DLP_REASON_HOLE, 0, "no block at all");
	must(ftruncate(fd, 0) == 0, "ftruncate");
	expect(fd, 0, 4 * K, DLP_REASON_BEYOND_EOF, 0, "empty file");
	close(fd);
}

static void unwritten(void)
{
	/* tmpfs has pages there, but not yet of any content, and calls that a hole. */
	enum dlp_reason reason = is("tmpfs") ? DLP_REASON_HOLE : DLP_REASON_UNWRITTEN;
	int fd = file("unwritten");

	must(fallocate(fd, 0, 0, 64 * K) == 0, "fallocate");
	expect(fd, 0, 64 * K, reason, 0, "allocated, not written");
	fill(fd, 0, 16 * K, true);
	expect(fd, 0, 64 * K, reason, 16 * K, "written in part");
	fill(fd, 16 * K, 64 * K, false);
	expect(fd, 0, 64 * K, DLP_REASON_NONE, 0, "written, not synced");
	close(fd);
}

static void last_page(void)
{
	int fd = file("last");

	fill(fd, 0, 5000, true);
	expect(fd, 0, 8192, DLP_REASON_NONE, 0, "partial last page");
	expect(fd, 4096, 8192, DLP_REASON_NONE, 0, "only the partial last page");
	expect(fd, 0, 8193, DLP_REASON_BEYOND_EOF, 8192, "a byte behind the partial last page");
	close(fd);

	fd = file("lasthole");
	must(ftruncate(fd, 5000) == 0, "ftruncate");
	fill(fd, 0, 4096, true);
	expect(fd, 0, 8192, DLP_REASON_HOLE, 4096, "hole in the partial last page");
	close(fd);

	fd = file("tail");
	must(ftruncate(fd, 100) == 0, "ftruncate");
	expect(fd, 200, 300, DLP_REASON_HOLE, 0,
	       "behind the end, in the last page, which is a hole");
	close(fd);
}

static unsigned extents(int fd)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET, .fm_flags = FIEMAP_FLAG_SYNC};

	must(ioctl(fd, FS_IOC_FIEMAP, &map) == 0, "FIEMAP");
	return map.fm_mapped_extents;
}

/* Every second page is cut out of a file that was one piece: what is left has no neighbours. */
static void fragments(void)
{
	int fd;

	if (is("tmpfs")) {
		skip("many extents", "no FIEMAP");
		return;
	}
	fd = file("fragments");
	fill(fd, 0, 2 * PIECES * PAGE, true);
	for (uint64_t i = 1; i <= PIECES; i++)
		must(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)(i * PAGE), PAGE) == 0 ||
			     i == PIECES,
		     "collapse");
	must(ftruncate(fd, PIECES * PAGE) == 0, "ftruncate");
	printf("# %u extents\n", extents(fd));
	must(extents(fd) >= 260, "as many extents as it takes");
	expect(fd, 0, PIECES * PAGE, DLP_REASON_NONE, 0, "many extents");
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 290 * PAGE, PAGE) == 0,
	     "punch");
	expect(fd, 0, PIECES * PAGE, DLP_REASON_HOLE, 290 * PAGE, "hole behind many extents");
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 128 * PAGE, PAGE) == 0,
	     "punch");
	expect(fd, 0, PIECES * PAGE, DLP_REASON_HOLE, 128 * PAGE, "hole where a batch ends");
	close(fd);
}

static void reflinked(void)
{
	struct file_clone_range range;
	int fd, other;

	if (!is("xfs") ||
	    strstr(fs, "-dax")) { /* files are DAX or reflinked, not both on most kernels */
		skip("reflinked", "no reflinks here");
		return;
	}
	fd = file("origin");
	other = file("clone");
	fill(fd, 0, 64 * K, true);
	range = (struct file_clone_range){.src_fd = fd, .src_offset = 16 * K, .src_length = 4 * K};
	must(ioctl(other, FICLONERANGE, &range) == 0, "FICLONERANGE");
	expect(fd, 0, 64 * K, DLP_REASON_SHARED, 16 * K, "reflinked, the source");
	expect(other, 0, 4 * K, DLP_REASON_SHARED, 0, "reflinked, the copy");
	expect(fd, 0, 16 * K, DLP_REASON_NONE, 0, "before what is reflinked");
	must(fallocate(other, FALLOC_FL_UNSHARE_RANGE, 0, 4 * K) == 0 && fsync(other) == 0,
	     "unshare");
	expect(fd, 0, 64 * K, DLP_REASON_NONE, 0, "unshared, the source");
	expect(other, 0, 4 * K, DLP_REASON_NONE, 0, "unshared, the copy");
	close(fd);
	close(other);
}

static void in_the_inode(void)
{
	int fd;

	if (!is("ext4-inline")) {
		skip("data in the inode", "not this file system");
		return;
	}
	fd = file("inline");
	fill(fd, 0, 50, true);
	expect(fd, 0, 4096, DLP_REASON_INLINE, 0, "data in the inode");
	fill(fd, 0, 5000, true);
	expect(fd, 0, 8192, DLP_REASON_NONE, 0, "data moved out of the inode");
	close(fd);
}

static void others(void)
{
	struct pool_refusal refusal;
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), pair[2], rc;

	expect(fd, 0, 4096, DLP_REASON_NOT_REGULAR, 0, "a directory");
	close(fd);
	must(pipe2(pair, O_CLOEXEC) == 0, "pipe");
	expect(pair[0], 0, 4096, DLP_REASON_NOT_REGULAR, 0, "a pipe");
	close(pair[0]);
	close(pair[1]);

	fd = file("plain");
	fill(fd, 0, 64 * K, true);
	rc = pool_check_range(fd, 0, 64 * K, true, true, &refusal);
	if (strstr(fs, "-dax"))
		ok(rc == 0 && !refusal.reason, "DAX where it must be");
	else
		ok(rc == -EPERM && refusal.reason == DLP_REASON_NOT_DAX,
		   "not DAX where it must be");
	ok(pool_check_range(fd, 4096, 4096, false, true, &refusal) == -EINVAL && !refusal.reason,
	   "empty range");
	ok(pool_check_range(fd, 8192, 4096, false, true, &refusal) == -EINVAL && !refusal.reason,
	   "range backwards");
	rc = pool_check_range(fd, 0, 64 * K, false, false, &refusal);
	ok(rc == (is("tmpfs") ? -EOPNOTSUPP : 0) && !refusal.reason, "without a second descriptor");
	must(fchmod(fd, 0) == 0, "fchmod");
	expect(fd, 0, 64 * K, DLP_REASON_NONE, 0, "mode 0");
	close(fd);
	ok(pool_check_range(fd, 0, 4096, false, true, &refusal) == -EBADF && !refusal.reason,
	   "closed descriptor");

	fd = open("plain", O_PATH | O_CLOEXEC);
	rc = pool_check_range(fd, 0, 64 * K, false, false, &refusal);
	ok(rc == -EBADF && !refusal.reason, "O_PATH descriptor");
	close(fd);
	fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
	rc = pool_check_range(fd, 0, 10, false, true, &refusal);
	ok(rc == -ENODATA && refusal.reason == DLP_REASON_BEYOND_EOF, "file of /proc");
	close(fd);
}

/* A file whose size jumps: whatever the check says, it is something that was so, and it ends. */
static void jumping(void)
{
	int fd = file("jumping"), good = 0;
	bool sane = true;
	pid_t child;

	fill(fd, 0, 64 * K, true);
	child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			if (ftruncate(fd, 32 * K) < 0 || ftruncate(fd, 64 * K) < 0)
				_exit(1);
			fill(fd, 32 * K, 64 * K, false);
		}
	}
	for (int i = 0; i < 3000; i++) {
		struct pool_refusal refusal;
		int rc = pool_check_range(fd, 0, 64 * K, false, true, &refusal);

		good += rc == 0;
		switch ((enum dlp_reason)refusal.reason) {
		case DLP_REASON_NONE:
			sane &= rc == 0;
			break;
		case DLP_REASON_HOLE:
		case DLP_REASON_UNWRITTEN:
		case DLP_REASON_BEYOND_EOF:
			sane &= rc == -ENODATA && refusal.offset >= 32 * K &&
				refusal.offset < 64 * K;
			break;
		case DLP_REASON_BARRIER:
			sane &= rc == -EAGAIN;
			break;
		default:
			sane = false;
		}
		sane &= pool_check_range(fd, 0, 32 * K, false, true, &refusal) == 0;
	}
	printf("# %d of 3000 found it whole\n", good);
	ok(sane, "a file whose size jumps");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	expect(fd, 0, 32 * K, DLP_REASON_NONE, 0, "afterwards");
	close(fd);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: pool_check DIRECTORY NAME FIRST\n");
		return 2;
	}
	fs = argv[2];
	number = (unsigned)strtoul(argv[3], NULL, 10);
	written();
	holes();
	unwritten();
	last_page();
	fragments();
	reflinked();
	in_the_inode();
	others();
	jumping();
	printf("# next %u\n", number);
	return failed != 0;
}
