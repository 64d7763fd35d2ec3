/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ordered set of ranges that do not overlap: a treap, intrusive, without allocation. The key is
 * (dev, ino, start); ranges of addresses use dev = ino = 0. No lock: its owner has one.
 */
#ifndef DAXLEASE_TREE_H
#define DAXLEASE_TREE_H

#include <stdint.h>

struct tree_node {
	struct tree_node *left, *right, *parent;
	uint64_t dev, ino;
	uint64_t start, end; /* [start, end), never empty */
	uint32_t priority;
};

struct tree {
	struct tree_node *root;
	uint32_t random;
	uint64_t count;
};

void tree_insert(struct tree *tree, struct tree_node *node); /* overlaps none of its file */
void tree_erase(struct tree *tree, struct tree_node *node);

/* The first range of (dev, ino) that ends behind `at`: it contains `at` or lies behind it. NULL:
 * none. */
struct tree_node *tree_find(const struct tree *tree, uint64_t dev, uint64_t ino, uint64_t at);
/* In order, over all files. */
struct tree_node *tree_first(const struct tree *tree);
struct tree_node *tree_next(const struct tree_node *node);

/* `tail` becomes the part of `node` from `at` on (node->start < at < node->end) and is inserted. */
void tree_split(struct tree *tree, struct tree_node *node, struct tree_node *tail, uint64_t at);

#endif
