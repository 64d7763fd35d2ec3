// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/tree.h"

#include <stdbool.h>
#include <stddef.h>

static int compare(const struct tree_node *node, uint64_t dev, uint64_t ino)
{
	if (node->dev != dev)
		return node->dev < dev ? -1 : 1;
	if (node->ino != ino)
		return node->ino < ino ? -1 : 1;
	return 0;
}

static uint32_t next_random(struct tree *tree)
{
	/* xorshift: good enough to keep the treap flat, and needs no state but this word */
	uint32_t x = tree->random ? tree->random : 0x9e3779b9u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	tree->random = x;
	return x;
}

/* Puts `child` where `node` hangs below its parent. */
static void replace(struct tree *tree, struct tree_node *node, struct tree_node *child)
{
	struct tree_node *parent = node->parent;

	if (!parent)
		tree->root = child;
	else if (parent->left == node)
		parent->left = child;
	else
		parent->right = child;
	if (child)
		child->parent = parent;
}

/* Lifts `node` over its parent. */
static void rotate_up(struct tree *tree, struct tree_node *node)
{
	struct tree_node *parent = node->parent;

	replace(tree, parent, node);
	if (parent->left == node) {
		parent->left = node->right;
		if (node->right)
			node->right->parent = parent;
		node->right = parent;
	} else {
		parent->right = node->left;
		if (node->left)
			node->left->parent = parent;
		node->left = parent;
	}
	parent->parent = node;
}

void tree_insert(struct tree *tree, struct tree_node *node)
{
	struct tree_node **link = &tree->root, *parent = NULL;

	while (*link) {
		int order = compare(*link, node->dev, node->ino);

		parent = *link;
		if (order < 0 || (order == 0 && parent->start < node->start))
			link = &parent->right;
		else
			link = &parent->left;
	}
	node->left = node->right = NULL;
	node->parent = parent;
	node->priority = next_random(tree);
	*link = node;
	while (node->parent && node->parent->priority < node->priority)
		rotate_up(tree, node);
	tree->count++;
}

void tree_erase(struct tree *tree, struct tree_node *node)
{
	while (node->left && node->right)
		rotate_up(tree,
			  node->left->priority > node->right->priority ? node->left : node->right);
	replace(tree, node, node->left ? node->left : node->right);
	node->left = node->right = node->parent = NULL;
	tree->count--;
}

struct tree_node *tree_find(const struct tree *tree, uint64_t dev, uint64_t ino, uint64_t at)
{
	struct tree_node *node = tree->root, *best = NULL;

	while (node) {
		int order = compare(node, dev, ino);

		/* ranges do not overlap, so their ends are in the same order as their starts */
		if (order < 0 || (order == 0 && node->end <= at)) {
			node = node->right;
		} else {
			if (order == 0)
				best = node;
			node = node->left;
		}
	}
	return best;
}

struct tree_node *tree_first(const struct tree *tree)
{
	struct tree_node *node = tree->root;

	while (node && node->left)
		node = node->left;
	return node;
}

struct tree_node *tree_next(const struct tree_node *node)
{
	struct tree_node *next;

	if (node->right) {
		for (next = node->right; next->left; next = next->left)
			;
		return next;
	}
	while (node->parent && node->parent->right == node)
		node = node->parent;
	return node->parent;
}

void tree_split(struct tree *tree, struct tree_node *node, struct tree_node *tail, uint64_t at)
{
	tail->dev = node->dev;
	tail->ino = node->ino;
	tail->start = at;
	tail->end = node->end;
	node->end = at;
	tree_insert(tree, tail);
}
