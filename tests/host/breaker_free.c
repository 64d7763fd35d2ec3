/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changes no block map (C11). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

static char bytes[PAGE];

static off_t at(const struct breaker *b)
{
	return (off_t)b->argument;
}

long act_read(struct breaker *b)
{
	return read(b->fd, bytes, 10);
}

long act_pread(struct breaker *b)
{
	return pread(b->fd, bytes, 10, at(b));
}

long act_readv(struct breaker *b)
{
	return readv(b->fd, &(struct iovec){bytes, 10}, 1);
}

long act_preadv(struct breaker *b)
{
	return preadv(b->fd, &(struct iovec){bytes, 10}, 1, at(b));
}

long act_preadv2(struct breaker *b)
{
	return preadv2(b->fd, &(struct iovec){bytes, 10}, 1, at(b), RWF_HIPRI);
}

long act_direct_read(struct breaker *b)
{
	void *page = aligned_alloc(PAGE, PAGE);

	return !page || fcntl(b->fd, F_SETFL, O_DIRECT) < 0 ? -1 : pread(b->fd, page, PAGE, at(b));
}

long act_mmap(struct breaker *b)
{
	return mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0) == MAP_FAILED
		       ? -1
		       : 0;
}

/* Writes what is there already: the bytes are not what this is about. */
long act_store(struct breaker *b)
{
	memset((char *)b->map + at(b), 'a', 100);
	return msync(b->map, FILE_BYTES, MS_SYNC);
}

/* MADV_POPULATE_WRITE, 5.14: faults as a store would. */
long act_populate(struct breaker *b)
{
	return madvise(b->map, FILE_BYTES, 23);
}

long act_open_read(struct breaker *b)
{
	return open(b->path, O_RDONLY);
}

long act_open_write(struct breaker *b)
{
	return open(b->path, O_RDWR | O_CREAT, 0644);
}

long act_openat2_read(struct breaker *b)
{
	struct open_how how = {.flags = O_RDONLY};

	return syscall(SYS_openat2, AT_FDCWD, b->path, &how, sizeof(how));
}

long act_execute(struct breaker *b)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execl(b->path, b->path, NULL);
		/* the file is not a program, but it was opened and read */
		_exit(errno == ENOEXEC ? 42 : 1);
	}
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
		return -1;
	return 0;
}

long act_chmod(struct breaker *b)
{
	return chmod(b->path, 0700) < 0 ? -1 : fchown(b->fd, 0, 0);
}

long act_xattr(struct breaker *b)
{
	return setxattr(b->path, "user.x", "y", 1, 0);
}

long act_times(struct breaker *b)
{
	return utimensat(AT_FDCWD, b->path, NULL, 0);
}

long act_link_rename_unlink(struct breaker *b)
{
	char one[300], two[300];

	snprintf(one, sizeof(one), "%s.one", b->path);
	snprintf(two, sizeof(two), "%s.two", b->path);
	if (link(b->path, one) < 0 || rename(b->path, two) < 0)
		return -1;
	return unlink(one) < 0 || unlink(two) < 0 ? -1 : 0;
}

long act_fsync(struct breaker *b)
{
	return fsync(b->fd) < 0 ? -1 : fdatasync(b->fd);
}

long act_sync_range(struct breaker *b)
{
	return sync_file_range(b->fd, 0, 0,
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				       SYNC_FILE_RANGE_WAIT_AFTER);
}

long act_advise(struct breaker *b)
{
	errno = posix_fadvise(b->fd, 0, 0, POSIX_FADV_WILLNEED);
	return errno || (errno = posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED)) ? -1 : 0;
}

long act_fiemap(struct breaker *b)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET, .fm_flags = FIEMAP_FLAG_SYNC};

	return ioctl(b->fd, FS_IOC_FIEMAP, &map);
}

long act_lock(struct breaker *b)
{
	return flock(b->fd, LOCK_EX | LOCK_NB);
}

long act_sendfile_from(struct breaker *b)
{
	off_t in = at(b);
	int ends[2];

	return pipe(ends) < 0 ? -1 : sendfile(ends[1], b->fd, &in, PAGE);
}

long act_splice_from(struct breaker *b)
{
	loff_t in = at(b);
	int ends[2];

	return pipe(ends) < 0 ? -1 : splice(b->fd, &in, ends[1], NULL, PAGE, 0);
}

long prepare_map_half(struct breaker *b)
{
	if (prepare_open(b) < 0)
		return -1;
	b->map = mmap(NULL, FILE_BYTES / 2, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return b->map == MAP_FAILED ? -1 : 0;
}

/* Grows over the rest of the file without an mmap of it, and writes what is there already. */
long act_mremap_growth(struct breaker *b)
{
	b->map = mremap(b->map, FILE_BYTES / 2, FILE_BYTES, MREMAP_MAYMOVE);
	if (b->map == MAP_FAILED)
		return -1;
	memset((char *)b->map + at(b), 'a', 100);
	return 0;
}
