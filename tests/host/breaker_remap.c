/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

extern char **environ;

long act_clone(struct breaker *b)
{
	return ioctl(b->fd, FICLONE, b->other_fd);
}

long act_clone_from(struct breaker *b)
{
	return ioctl(b->other_fd, FICLONE, b->fd);
}

static long clone_page(int to, uint64_t to_offset, int from, uint64_t from_offset)
{
	struct file_clone_range range = {.src_fd = from,
					 .src_offset = from_offset,
					 .src_length = PAGE,
					 .dest_offset = to_offset};

	return ioctl(to, FICLONERANGE, &range);
}

long act_clone_range(struct breaker *b)
{
	return clone_page(b->fd, b->argument, b->other_fd, 0);
}

long act_clone_range_from(struct breaker *b)
{
	return clone_page(b->other_fd, 0, b->fd, b->argument);
}

static long dedupe(int from, uint64_t from_offset, int to, uint64_t to_offset)
{
	union {
		struct file_dedupe_range range;
		char space[sizeof(struct file_dedupe_range) +
			   sizeof(struct file_dedupe_range_info)];
	} d = {.range = {.src_offset = from_offset, .src_length = PAGE, .dest_count = 1}};

	d.range.info[0].dest_fd = to;
	d.range.info[0].dest_offset = to_offset;
	if (ioctl(from, FIDEDUPERANGE, &d.range) < 0)
		return -1;
	if (d.range.info[0].status < 0) {
		errno = -d.range.info[0].status;
		return -1;
	}
	return d.range.info[0].status; /* 1: they differ */
}

long act_dedupe_into(struct breaker *b)
{
	return dedupe(b->other_fd, 0, b->fd, b->argument);
}

long act_dedupe_from(struct breaker *b)
{
	return dedupe(b->fd, b->argument, b->other_fd, 0);
}

/* XFS_IOC_EXCHANGE_RANGE, 6.10. */
static long exchange(int fd, uint64_t offset, int other, uint64_t other_offset)
{
	struct {
		int32_t file1_fd;
		uint32_t pad;
		uint64_t file1_offset, file2_offset, length, flags;
	} range = {.file1_fd = other,
		   .file1_offset = other_offset,
		   .file2_offset = offset,
		   .length = PAGE};

	return ioctl(fd, _IOC(_IOC_WRITE, 'X', 129, sizeof(range)), &range);
}

long act_exchange(struct breaker *b)
{
	return exchange(b->fd, b->argument, b->other_fd, 0);
}

long act_exchange_other(struct breaker *b)
{
	return exchange(b->other_fd, 0, b->fd, b->argument);
}

/* XFS_IOC_SWAPEXT of whole files, as xfs_fsr does it. It wants the inode's numbers from
 * XFS_IOC_FSBULKSTAT, which xfs_io knows to ask for. */
static long swapext(const char *file, const char *donor)
{
	char command[300], path[280];
	char *argv[] = {"xfs_io", "-c", command, path, NULL};
	pid_t pid;
	int status;

	snprintf(command, sizeof(command), "swapext %s", donor);
	snprintf(path, sizeof(path), "%s", file);
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, &status, 0) < 0)
		return -1;
	errno = EINVAL; /* its own words are on stderr */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

long act_swapext(struct breaker *b)
{
	return swapext(b->path, b->other);
}

long act_swapext_other(struct breaker *b)
{
	return swapext(b->other, b->path);
}

/* EXT4_IOC_MOVE_EXT, as e4defrag does it. */
static long move_ext(int fd, int donor, uint64_t offset)
{
	struct statfs fs; /* it counts in blocks */
	struct {
		uint32_t reserved, donor_fd;
		uint64_t orig_start, donor_start, len, moved_len;
	} move = {.donor_fd = (uint32_t)donor};

	if (fstatfs(fd, &fs) < 0)
		return -1;
	move.orig_start = move.donor_start = offset / (uint64_t)fs.f_bsize;
	move.len = 2 * PAGE / (uint64_t)fs.f_bsize;
	return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'f', 15, sizeof(move)), &move);
}

long act_move_ext(struct breaker *b)
{
	return move_ext(b->fd, b->other_fd, b->argument);
}

long act_move_ext_other(struct breaker *b)
{
	return move_ext(b->other_fd, b->fd, b->argument);
}

long act_swap_boot(struct breaker *b)
{
	return ioctl(b->fd, _IO('f', 17));
}

long act_migrate(struct breaker *b)
{
	return ioctl(b->fd, _IO('f', 9));
}

/* The attributes that bear on blocks: ext4's "extents" and data journal, taken and given. */
long act_setflags(struct breaker *b)
{
	static const int changes[] = {FS_EXTENT_FL, FS_JOURNAL_DATA_FL, FS_NODUMP_FL};
	int before;
	long ret = 0;

	if (ioctl(b->fd, FS_IOC_GETFLAGS, &before) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		int flags = before ^ changes[i];

		ret = ioctl(b->fd, FS_IOC_SETFLAGS, &flags);
		if (ret == 0)
			ret = ioctl(b->fd, FS_IOC_SETFLAGS, &before);
	}
	return ret; /* of the last, which every file system takes */
}
