/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/host/breakers.h"

/* Only whether the blocks are there, written and nobody else's. */
#define FLAGS                                                                                      \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNWRITTEN |                \
	 FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_DATA_INLINE)

static void add_extent(struct picture *p, uint64_t start, uint64_t end,
		       const struct fiemap_extent *e)
{
	const uint64_t from = e->fe_logical > start ? e->fe_logical : start;
	const uint64_t stop = e->fe_logical + e->fe_length < end ? e->fe_logical + e->fe_length
								 : end;
	const uint64_t physical = e->fe_physical + (from - e->fe_logical);
	const uint32_t flags = e->fe_flags & FLAGS;

	if (from >= stop)
		return;
	/* What adjoins is one: a split of the record moves nothing. */
	if (p->extents && p->extent[p->extents - 1].flags == flags &&
	    p->extent[p->extents - 1].logical + p->extent[p->extents - 1].length == from &&
	    p->extent[p->extents - 1].physical + p->extent[p->extents - 1].length == physical) {
		p->extent[p->extents - 1].length += stop - from;
		return;
	}
	p->extent[p->extents].logical = from;
	p->extent[p->extents].physical = physical;
	p->extent[p->extents].length = stop - from;
	p->extent[p->extents].flags = flags;
	p->extents++;
}

int picture_take(int fd, uint64_t start, uint64_t end, struct picture *p)
{
	union {
		struct fiemap map;
		char space[sizeof(struct fiemap) + PICTURE_EXTENTS * sizeof(struct fiemap_extent)];
	} u = {.map = {.fm_start = start,
		       .fm_length = end - start,
		       .fm_extent_count = PICTURE_EXTENTS}};
	struct stat st;

	memset(p, 0, sizeof(*p));
	if (ioctl(fd, FS_IOC_FIEMAP, &u.map) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (u.map.fm_mapped_extents >= PICTURE_EXTENTS)
		return -E2BIG;
	for (uint32_t i = 0; i < u.map.fm_mapped_extents; i++)
		add_extent(p, start, end, &u.map.fm_extents[i]);
	p->size = st.st_size < (off_t)end ? st.st_size : (off_t)end;
	p->length = pread(fd, p->bytes, end - start, (off_t)start);
	return p->length < 0 ? -errno : 0;
}

const char *picture_compare(const struct picture *before, const struct picture *now)
{
	static char words[32];
	const bool map = before->extents != now->extents ||
			 memcmp(before->extent, now->extent, sizeof(now->extent));
	const bool bytes = before->length != now->length ||
			   memcmp(before->bytes, now->bytes, sizeof(now->bytes));
	const bool size = before->size != now->size;

	snprintf(words, sizeof(words), "%s%s%s", map ? " map" : "", bytes ? " bytes" : "",
		 size ? " size" : "");
	return words[0] ? words + 1 : NULL;
}
