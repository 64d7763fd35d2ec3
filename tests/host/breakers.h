/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every way to change a block map against a real lease of a real daemon: the rows, and the oracle
 * that looks at the file and not at the daemon. */
#ifndef DAXLEASE_TESTS_BREAKERS_H
#define DAXLEASE_TESTS_BREAKERS_H

#include "tests/host/breaker_calls.h"

/* The leased range, and where operations act: in it, or elsewhere. */
#define LEASE_START (16 * PAGE)
#define LEASE_END (32 * PAGE)
#define AT_INSIDE (24 * PAGE)
#define AT_ELSEWHERE (40 * PAGE)

enum row_flags {
	ROW_WHOLE = 1,	     /* the call has no range: there is no elsewhere */
	ROW_TAIL = 2,	     /* acts at the end: inside is an unaligned end in a leased page */
	ROW_XFS = 4,	     /* only there */
	ROW_EXT4 = 8,	     /* only there */
	ROW_OTHER = 16,	     /* has a second file of the same size */
	ROW_SAME = 32,	     /* whose bytes are the same */
	ROW_UPPER = 64,	     /* the file is in the upper directory of an overlay */
	ROW_OLD = 128,	     /* the file is the one with a descriptor older than the guard */
	ROW_TMPFILE = 256,   /* the file never had a name */
	ROW_UNWRITTEN = 512, /* the second file is allocated only */
	ROW_HARMLESS = 1024, /* C11 */
	ROW_NFS = 2048,	     /* needs an NFS server */
};

struct row {
	const char *name;
	breaker_step *prepare, *act;
	unsigned flags;
	int breaker_flags;
	uint64_t argument; /* if not 0: instead of the two places */
};
extern const struct row rows[]; /* ends with a NULL name */

/* What a range of a file is, by FIEMAP and read(2). */
#define PICTURE_EXTENTS 64
struct picture {
	unsigned extents;
	struct {
		uint64_t logical, physical, length; /* bytes, cut to the range */
		uint32_t flags;
	} extent[PICTURE_EXTENTS];
	char bytes[FILE_BYTES];
	int64_t size;	/* of the file */
	int64_t length; /* how many bytes could be read */
};
/* 0 or -errno; -E2BIG: more extents than that. */
int picture_take(int fd, uint64_t start, uint64_t end, struct picture *picture);
/* NULL: they are the same; else which of "map", "bytes" and "size" are not. The size counts only if
 * it is in the range. Static. */
const char *picture_compare(const struct picture *before, const struct picture *now);

#endif
