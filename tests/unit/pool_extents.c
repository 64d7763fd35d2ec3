/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a block map must be for a lease (C5): the judgement alone, on made-up maps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/pool/extents.h"

#define K 4096ull
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define E(start, length, flags)                                                                    \
	{                                                                                          \
		.fe_logical = (start), .fe_length = (length), .fe_flags = (flags)                  \
	}

struct map_case {
	const char *name;
	uint64_t pos, end;
	unsigned count;
	struct fiemap_extent extents[4];
	enum dlp_reason reason;
	uint64_t offset; /* of the refusal, or the new position */
};

static const struct map_case map_cases[] = {
	{ "no extents", 0, 4 * K, 0, { E(0, 0, 0) }, DLP_REASON_HOLE, 0 },
	{ "one that fits",
	  0,
	  4 * K,
	  1,
	  { E(0, 4 * K, FIEMAP_EXTENT_LAST) },
	  DLP_REASON_NONE,
	  4 * K },
	{ "begins before and ends behind",
	  2 * K,
	  4 * K,
	  1,
	  { E(0, 9 * K, 0) },
	  DLP_REASON_NONE,
	  9 * K },
	{ "hole in front", 0, 4 * K, 1, { E(K, 3 * K, 0) }, DLP_REASON_HOLE, 0 },
	{ "gap", 0, 4 * K, 2, { E(0, K, 0), E(2 * K, 2 * K, 0) }, DLP_REASON_HOLE, K },
	{ "gap behind the end", 0, K, 2, { E(0, K, 0), E(2 * K, K, 0) }, DLP_REASON_NONE, K },
	{ "last one is short",
	  0,
	  4 * K,
	  1,
	  { E(0, 2 * K, FIEMAP_EXTENT_LAST) },
	  DLP_REASON_HOLE,
	  2 * K },
	{ "batch ends, more to ask", 0, 4 * K, 1, { E(0, 2 * K, 0) }, DLP_REASON_NONE, 2 * K },
	{ "only what is behind us", 4 * K, 8 * K, 1, { E(0, 4 * K, 0) }, DLP_REASON_HOLE, 4 * K },
	{ "empty extent", 0, 4 * K, 1, { E(0, 0, 0) }, DLP_REASON_HOLE, 0 },
	{ "empty extent before a good one",
	  0,
	  K,
	  2,
	  { E(0, 0, 0), E(0, K, 0) },
	  DLP_REASON_NONE,
	  K },
	{ "length overflows", K, 2 * K, 1, { E(K, UINT64_MAX, 0) }, DLP_REASON_NONE, UINT64_MAX },
	{ "unwritten in the second",
	  0,
	  4 * K,
	  2,
	  { E(0, K, 0), E(K, 3 * K, FIEMAP_EXTENT_UNWRITTEN) },
	  DLP_REASON_UNWRITTEN,
	  K },
	{ "unwritten, from the middle",
	  2 * K,
	  4 * K,
	  1,
	  { E(0, 8 * K, FIEMAP_EXTENT_UNWRITTEN) },
	  DLP_REASON_UNWRITTEN,
	  2 * K },
	{ "unwritten behind the end",
	  0,
	  K,
	  2,
	  { E(0, K, 0), E(K, K, FIEMAP_EXTENT_UNWRITTEN) },
	  DLP_REASON_NONE,
	  K },
};

static void maps(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(map_cases); i++) {
		const struct map_case *c = &map_cases[i];
		uint64_t pos = c->pos, offset = 77;
		enum dlp_reason reason = pool_judge_extents(c->extents, c->count, &pos, c->end,
							    &offset);

		print_message("%s\n", c->name);
		assert_int_equal(reason, c->reason);
		assert_int_equal(reason == DLP_REASON_NONE ? pos : offset, c->offset);
	}
}

static void flags(void **state)
{
	static const struct {
		uint32_t flags;
		enum dlp_reason reason;
	} cases[] = {
		{ 0, DLP_REASON_NONE },
		{ FIEMAP_EXTENT_LAST, DLP_REASON_NONE },
		{ FIEMAP_EXTENT_MERGED, DLP_REASON_NONE },
		{ FIEMAP_EXTENT_UNKNOWN, DLP_REASON_UNWRITTEN },
		{ FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC, DLP_REASON_UNWRITTEN },
		{ FIEMAP_EXTENT_DELALLOC, DLP_REASON_UNWRITTEN },
		{ FIEMAP_EXTENT_UNWRITTEN, DLP_REASON_UNWRITTEN },
		{ FIEMAP_EXTENT_ENCODED, DLP_REASON_INLINE },
		{ FIEMAP_EXTENT_DATA_ENCRYPTED, DLP_REASON_INLINE },
		{ FIEMAP_EXTENT_NOT_ALIGNED, DLP_REASON_INLINE },
		{ FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED, DLP_REASON_INLINE },
		{ FIEMAP_EXTENT_DATA_TAIL, DLP_REASON_INLINE },
		{ FIEMAP_EXTENT_SHARED, DLP_REASON_SHARED },
		{ FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_UNWRITTEN, DLP_REASON_UNWRITTEN },
		{ 0x80000000u, DLP_REASON_INLINE }, /* of a later kernel */
		{ 0x4000u, DLP_REASON_INLINE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct fiemap_extent extent = E(0, K, cases[i].flags);
		uint64_t pos = 0, offset = 77;

		assert_int_equal(pool_judge_extents(&extent, 1, &pos, K, &offset), cases[i].reason);
	}
}

/* Every bit alone: only the two harmless ones pass. */
static void flags_all(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		const struct fiemap_extent extent = E(0, K, 1u << bit);
		uint64_t pos = 0, offset;
		bool fine = 1u << bit == FIEMAP_EXTENT_LAST || 1u << bit == FIEMAP_EXTENT_MERGED;

		assert_int_equal(pool_judge_extents(&extent, 1, &pos, K, &offset) ==
					 DLP_REASON_NONE,
				 fine);
	}
}

static void sizes(void **state)
{
	static const struct {
		uint64_t size, start, end, need;
		enum dlp_reason reason;
		uint64_t offset;
	} cases[] = {
		{ 8 * K, 0, 8 * K, 8 * K, DLP_REASON_NONE, 0 },
		{ 8 * K, 0, 4 * K, 4 * K, DLP_REASON_NONE, 0 },
		{ 8 * K, 0, 8 * K + 1, 0, DLP_REASON_BEYOND_EOF, 8 * K },
		{ 8 * K, 16 * K, 20 * K, 0, DLP_REASON_BEYOND_EOF, 16 * K },
		{ 5000, 0, 8192, 5000, DLP_REASON_NONE, 0 }, /* the last page, in part */
		{ 5000, 4096, 8192, 5000, DLP_REASON_NONE, 0 },
		{ 5000, 6000, 7000, 5000, DLP_REASON_NONE, 0 },
		{ 5000, 0, 8193, 0, DLP_REASON_BEYOND_EOF, 8192 },
		{ 9000, 10, 20, 4096, DLP_REASON_NONE, 0 },
		{ 0, 0, 1, 0, DLP_REASON_BEYOND_EOF, 0 },
		{ 8 * K, 0, UINT64_MAX, 0, DLP_REASON_BEYOND_EOF, 8 * K },
		{ INT64_MAX, 0, UINT64_MAX, 0, DLP_REASON_BEYOND_EOF, (uint64_t)INT64_MAX + 1 },
		{ INT64_MAX, 0, INT64_MAX, INT64_MAX, DLP_REASON_NONE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t need = 77, offset = 77;

		assert_int_equal(pool_judge_size(cases[i].size, K, cases[i].start, cases[i].end,
						 &need, &offset),
				 cases[i].reason);
		assert_int_equal(cases[i].reason == DLP_REASON_NONE ? need : offset,
				 cases[i].reason == DLP_REASON_NONE ? cases[i].need
								    : cases[i].offset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps),
		cmocka_unit_test(flags),
		cmocka_unit_test(flags_all),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
