/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The judgement of a block map, apart from how it was read. For pool_check_range() and its tests.
 */
#ifndef DAXLEASE_POOL_EXTENTS_H
#define DAXLEASE_POOL_EXTENTS_H

#include <linux/fiemap.h>
#include <stdint.h>

#include "daemon/pool/pool.h"

/*
 * Goes on from *pos through `count` extents, sorted by offset as FIEMAP gives them (the first may
 * begin before *pos, the last may end behind `end`). DLP_REASON_NONE: all is well up to the new
 * *pos, which is `end` or more when nothing is left to ask for; else why not, and *offset. No
 * extent at all is a hole at *pos.
 */
enum dlp_reason pool_judge_extents(const struct fiemap_extent *extents, unsigned count,
				   uint64_t *pos, uint64_t end, uint64_t *offset);

/*
 * What of the pages of [start, end) must have blocks in a file of `size` bytes: up to *need, which
 * is <= size. DLP_REASON_NONE or DLP_REASON_BEYOND_EOF with *offset, the first byte of the range
 * behind the file's last page.
 */
enum dlp_reason pool_judge_size(uint64_t size, uint64_t page, uint64_t start, uint64_t end,
				uint64_t *need, uint64_t *offset);

#endif
