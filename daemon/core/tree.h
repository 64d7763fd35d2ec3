/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A balanced (AVL) tree of records of one table, linked by index inside the records. AVL and not a
 * treap: its depth is a fact, whatever order a hostile client chooses for its leases, so recursion
 * is bounded.
 */
#ifndef DAXLEASE_CORE_TREE_H
#define DAXLEASE_CORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/table.h"

struct tree_node {
	uint32_t left, right;
	uint32_t height; /* of the subtree; 0: no node */
};

/* What a tree is ordered by. Records that compare equal are ordered by index. */
struct tree_kind {
	size_t node; /* offset of the tree_node in the record */
	int (*order)(const void *a, const void *b);
	bool ranges; /* the record begins with a tree_range; keep its max_end, for tree_overlap() */
};

struct tree_range {
	uint64_t start, end; /* bytes, end exclusive */
	uint64_t max_end;    /* derived: the greatest end in the subtree */
};

void tree_insert(const struct tree_kind *kind, struct table *table, uint32_t *root, uint32_t index);
void tree_remove(const struct tree_kind *kind, struct table *table, uint32_t *root, uint32_t index);
/* The end of the record's range has changed (its place in the order has not): keep max_end
 * right. */
void tree_resized(const struct tree_kind *kind, struct table *table, uint32_t root, uint32_t index);

static inline const struct tree_node *tree_node(const struct tree_kind *kind,
						const struct table *table, uint32_t index)
{
	return (const struct tree_node *)((const char *)table_at(table, index) + kind->node);
}

/*
 * Walks the records overlapping [start, end) of a tree ordered by range.start:
 *
 *	struct tree_walk walk = TREE_WALK(start, end);
 *	while ((index = tree_overlap(kind, table, root, &walk)))
 *
 * Each step is O(log n). The tree may change in between: the walk goes on behind the place of the
 * record it gave last, as it was then.
 */
struct tree_walk {
	uint64_t start, end;
	uint64_t after_start;
	uint32_t after_index; /* 0 (and after_start 0): nothing given yet */
};
#define TREE_WALK(from, to)                                                                        \
	{                                                                                          \
		.start = (from), .end = (to)                                                       \
	}

uint32_t tree_overlap(const struct tree_kind *kind, const struct table *table, uint32_t root,
		      struct tree_walk *walk);

#endif
