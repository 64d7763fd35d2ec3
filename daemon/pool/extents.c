/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a range of a file allocated, written and its own? Runs in a worker forked without exec: no
 * allocation, no stdio, no lock.
 */
#include "daemon/pool/extents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "proto/proto.h"

/*
 * Extents asked for at a time. One call is 0.3 us and a little for each extent; this bounds the
 * stack.
 */
#define BATCH 128

/* How often the check is repeated for a file whose size changes under it. */
#define SIZE_TRIES 4

/*
 * Every flag FIEMAP knows. The first row that matches an extent decides; a bit in no row is one
 * this code does not know and decides too, against the lease.
 */
static const struct {
	uint32_t flags;
	enum dlp_reason reason;
} flag_rules[] = {
	{ FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNWRITTEN,
	  DLP_REASON_UNWRITTEN },
	{ FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_ENCODED |
		  FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED,
	  DLP_REASON_INLINE },
	{ FIEMAP_EXTENT_SHARED, DLP_REASON_SHARED },
	{ ~(uint32_t)(FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED), DLP_REASON_INLINE },
};

static enum dlp_reason judge_flags(uint32_t flags)
{
	for (size_t i = 0; i < sizeof(flag_rules) / sizeof(flag_rules[0]); i++) {
		if (flags & flag_rules[i].flags)
			return flag_rules[i].reason;
	}
	return DLP_REASON_NONE;
}

enum dlp_reason pool_judge_extents(const struct fiemap_extent *extents, unsigned count,
				   uint64_t *pos, uint64_t end, uint64_t *offset)
{
	uint64_t asked = *pos;

	for (unsigned i = 0; i < count && *pos < end; i++) {
		uint64_t extent_end;
		enum dlp_reason reason;

		if (__builtin_add_overflow(extents[i].fe_logical, extents[i].fe_length,
					   &extent_end))
			extent_end = UINT64_MAX;
		if (extent_end <= *pos) /* empty or behind us; if all are, it is a hole */
			continue;
		if (extents[i].fe_logical > *pos)
			break;
		reason = judge_flags(extents[i].fe_flags);
		if (reason != DLP_REASON_NONE) {
			*offset = *pos;
			return reason;
		}
		*pos = extent_end;
		if ((extents[i].fe_flags & FIEMAP_EXTENT_LAST) && *pos < end)
			break;
		if (i + 1 == count)
			return DLP_REASON_NONE;
	}
	if (*pos >= end && *pos > asked)
		return DLP_REASON_NONE;
	*offset = *pos;
	return DLP_REASON_HOLE;
}

enum dlp_reason pool_judge_size(uint64_t size, uint64_t page, uint64_t start, uint64_t end,
				uint64_t *need, uint64_t *offset)
{
	uint64_t limit;

	if (__builtin_add_overflow(size, page - 1, &limit))
		limit = UINT64_MAX;
	limit -= limit % page;
	if (end > limit) {
		*offset = start > limit ? start : limit;
		return DLP_REASON_BEYOND_EOF;
	}
	end += (page - end % page) % page; /* <= limit */
	*need = end < size ? end : size;
	return DLP_REASON_NONE;
}

/* By FIEMAP. 0, -EOPNOTSUPP: the file system has none; -errno; *refusal when it looked. */
static int check_fiemap(int fd, uint64_t start, uint64_t end, struct pool_refusal *refusal)
{
	union {
		struct fiemap map;
		unsigned char bytes[sizeof(struct fiemap) + BATCH * sizeof(struct fiemap_extent)];
	} buffer;
	uint64_t pos = start;

	while (pos < end) {
		memset(&buffer.map, 0, sizeof(buffer.map));
		buffer.map.fm_start = pos;
		buffer.map.fm_length = end - pos;
		buffer.map.fm_flags = FIEMAP_FLAG_SYNC;
		buffer.map.fm_extent_count = BATCH;
		if (ioctl(fd, FS_IOC_FIEMAP, &buffer.map) < 0) {
			if (errno == EINTR)
				continue;
			return errno == ENOTTY ? -EOPNOTSUPP : -errno;
		}
		if (buffer.map.fm_mapped_extents > BATCH)
			return -EIO;
		refusal->reason = pool_judge_extents(buffer.map.fm_extents,
						     buffer.map.fm_mapped_extents, &pos, end,
						     &refusal->offset);
		if (refusal->reason != DLP_REASON_NONE)
			return 0;
	}
	return 0;
}

/* "/proc/self/fd/N" without snprintf, which is not made for a forked child. */
static void fd_link(char *link, int fd)
{
	static const char prefix[] = "/proc/self/fd/";
	char digits[12];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	memcpy(link, prefix, sizeof(prefix) - 1);
	link += sizeof(prefix) - 1;
	while (n)
		*link++ = digits[--n];
	*link = '\0';
}

/*
 * By SEEK_HOLE, on tmpfs only: the generic implementation of file systems that have none of their
 * own says that all is data (mm/filemap.c and fs/read_write.c, generic_file_llseek). tmpfs calls
 * fallocated pages that were never written holes.
 */
static int check_seek(int fd, uint64_t start, uint64_t end, struct pool_refusal *refusal)
{
	char link[32];
	struct statfs fs;
	off_t hole;
	int own, rc = 0;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC)
		return -EOPNOTSUPP;
	fd_link(link, fd);
	own = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (own < 0)
		return -errno;
	hole = lseek(own, (off_t)start, SEEK_HOLE);
	if (hole >= 0) {
		if ((uint64_t)hole < end)
			*refusal = (struct pool_refusal){ DLP_REASON_HOLE, (uint64_t)hole };
	} else if (errno == ENXIO) { /* it was truncated since: the caller looks again */
		*refusal = (struct pool_refusal){ DLP_REASON_HOLE, start };
	} else {
		rc = -errno;
	}
	close(own);
	return rc;
}

static int refused(struct pool_refusal *refusal)
{
	return refusal->reason == DLP_REASON_NONE ? 0 : -dlp_reason_errno(refusal->reason);
}

static int refuse(struct pool_refusal *refusal, enum dlp_reason reason, uint64_t offset)
{
	*refusal = (struct pool_refusal){ reason, offset };
	return refused(refusal);
}

void pool_wait_thawed(int fd)
{
	/* What it says does not matter: on a file system without attributes or mounted read-only nobody else gets
	 * further. */
	(void)fremovexattr(fd, "user.daxlease.none");
}

int pool_check_range(int fd, uint64_t start, uint64_t end, bool require_dax, bool reopen_ok,
		     struct pool_refusal *refusal)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), need = 0, need_after, offset = 0;
	enum dlp_reason reason;
	struct statx stx;
	struct stat st;
	int rc;

	*refusal = (struct pool_refusal){ DLP_REASON_NONE, 0 };
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(refusal, DLP_REASON_NOT_REGULAR, 0);
	if (start >= end)
		return -EINVAL;
	if (require_dax) {
		if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx) < 0)
			return -errno;
		if (!(stx.stx_attributes & STATX_ATTR_DAX))
			return refuse(refusal, DLP_REASON_NOT_DAX, 0);
	}

	start -= start % page; /* a part of a page can only be mapped with the rest of it */
	for (int try = 0; try < SIZE_TRIES; try++) {
		*refusal = (struct pool_refusal){ DLP_REASON_NONE, 0 };
		reason = pool_judge_size((uint64_t)st.st_size, page, start, end, &need, &offset);
		if (reason != DLP_REASON_NONE)
			return refuse(refusal, reason, offset);
		rc = check_fiemap(fd, start, need, refusal);
		if (rc == -EOPNOTSUPP && reopen_ok)
			rc = check_seek(fd, start, need, refusal);
		if (rc < 0)
			return rc;

		/*
		 * A hole may be the hole a truncation left, and what was not asked for may have
		 * become part of the file.
		 */
		if (fstat(fd, &st) < 0)
			return -errno;
		reason = pool_judge_size((uint64_t)st.st_size, page, start, end, &need_after,
					 &offset);
		if (reason != DLP_REASON_NONE)
			return refuse(refusal, reason, offset);
		if (need_after == need)
			return refused(refusal);
	}
	return refuse(refusal, DLP_REASON_BARRIER, 0);
}
