/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

/* Newer than Debian 12's headers: include/uapi/linux/falloc.h, 6.17. */
#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80
#endif

static off_t at(const struct breaker *b)
{
	return (off_t)b->argument;
}

long act_truncate(struct breaker *b)
{
	return truncate(b->path, at(b));
}

long act_ftruncate(struct breaker *b)
{
	return ftruncate(b->fd, at(b));
}

/* Two pages. */
static long allocate(struct breaker *b, int mode)
{
	return fallocate(b->fd, mode, at(b), 2 * PAGE);
}

long act_allocate(struct breaker *b)
{
	return allocate(b, 0);
}

long act_keep_size(struct breaker *b)
{
	return allocate(b, FALLOC_FL_KEEP_SIZE);
}

long act_allocate_behind(struct breaker *b)
{
	return fallocate(b->fd, FALLOC_FL_KEEP_SIZE, FILE_BYTES, PAGE);
}

long act_punch(struct breaker *b)
{
	return allocate(b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

long act_zero(struct breaker *b)
{
	return allocate(b, FALLOC_FL_ZERO_RANGE);
}

long act_zero_keep(struct breaker *b)
{
	return allocate(b, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
}

long act_collapse(struct breaker *b)
{
	return allocate(b, FALLOC_FL_COLLAPSE_RANGE);
}

long act_insert(struct breaker *b)
{
	return allocate(b, FALLOC_FL_INSERT_RANGE);
}

long act_unshare(struct breaker *b)
{
	return allocate(b, FALLOC_FL_UNSHARE_RANGE);
}

long act_write_zeroes(struct breaker *b)
{
	return allocate(b, FALLOC_FL_WRITE_ZEROES);
}

/* XFS's old ioctls, which the kernel takes for every file system (fs/ioctl.c). */
static long space_ioctl(struct breaker *b, unsigned long request)
{
	struct {
		int16_t l_type, l_whence;
		int64_t l_start, l_len;
		int32_t l_sysid, l_pid, l_pad[4];
	} space = {.l_whence = SEEK_SET, .l_start = at(b), .l_len = 2 * PAGE};

	return ioctl(b->fd, request, &space);
}

long act_ioctl_resvsp(struct breaker *b)
{
	return space_ioctl(b, _IOC(_IOC_WRITE, 'X', 42, 48));
}

long act_ioctl_unresvsp(struct breaker *b)
{
	return space_ioctl(b, _IOC(_IOC_WRITE, 'X', 43, 48));
}

long act_ioctl_zero(struct breaker *b)
{
	return space_ioctl(b, _IOC(_IOC_WRITE, 'X', 57, 48));
}

long act_open_trunc(struct breaker *b)
{
	return open(b->path, O_RDWR | O_TRUNC);
}

long act_openat_trunc(struct breaker *b)
{
	return openat(AT_FDCWD, b->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

long act_openat2_trunc(struct breaker *b)
{
	struct open_how how = {.flags = O_WRONLY | O_TRUNC};

	return syscall(SYS_openat2, AT_FDCWD, b->path, &how, sizeof(how));
}

long act_creat(struct breaker *b)
{
	return creat(b->path, 0644);
}

static union {
	struct file_handle handle;
	char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} name;
static int mount_fd;

long prepare_handle(struct breaker *b)
{
	int mount_id;

	name.handle.handle_bytes = MAX_HANDLE_SZ;
	mount_fd = open(b->path, O_RDONLY);
	return mount_fd < 0 ? -1 : name_to_handle_at(AT_FDCWD, b->path, &name.handle, &mount_id, 0);
}

long act_handle_trunc(struct breaker *b)
{
	(void)b;
	return open_by_handle_at(mount_fd, &name.handle, O_WRONLY | O_TRUNC);
}

long prepare_map(struct breaker *b)
{
	if (prepare_open(b) < 0)
		return -1;
	b->map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return b->map == MAP_FAILED ? -1 : 0;
}

long act_madvise_remove(struct breaker *b)
{
	return madvise((char *)b->map + at(b), 2 * PAGE, MADV_REMOVE);
}
