/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/tree.h"

/* One tree operation: what the recursion below needs at every level. */
struct tree {
	const struct tree_kind *kind;
	const struct table *table;
};

static struct tree_node *node_of(const struct tree *tree, uint32_t index)
{
	return (struct tree_node *)((char *)table_at(tree->table, index) + tree->kind->node);
}

static struct tree_range *range_of(const struct tree *tree, uint32_t index)
{
	return table_at(tree->table, index);
}

static bool before(const struct tree *tree, uint32_t a, uint32_t b)
{
	int order = tree->kind->order(table_at(tree->table, a), table_at(tree->table, b));

	return order ? order < 0 : a < b;
}

static uint32_t height(const struct tree *tree, uint32_t index)
{
	return index ? node_of(tree, index)->height : 0;
}

/* Makes what `index` knows of its subtree right again. */
static void update(const struct tree *tree, uint32_t index)
{
	struct tree_node *node = node_of(tree, index);
	uint32_t left = height(tree, node->left), right = height(tree, node->right);
	const uint32_t child[] = { node->left, node->right };
	struct tree_range *range;

	node->height = 1 + (left > right ? left : right);
	if (!tree->kind->ranges)
		return;
	range = range_of(tree, index);
	range->max_end = range->end;
	for (unsigned i = 0; i < 2; i++)
		if (child[i] && range_of(tree, child[i])->max_end > range->max_end)
			range->max_end = range_of(tree, child[i])->max_end;
}

static uint32_t rotate_right(const struct tree *tree, uint32_t index)
{
	uint32_t top = node_of(tree, index)->left;

	node_of(tree, index)->left = node_of(tree, top)->right;
	node_of(tree, top)->right = index;
	update(tree, index);
	update(tree, top);
	return top;
}

static uint32_t rotate_left(const struct tree *tree, uint32_t index)
{
	uint32_t top = node_of(tree, index)->right;

	node_of(tree, index)->right = node_of(tree, top)->left;
	node_of(tree, top)->left = index;
	update(tree, index);
	update(tree, top);
	return top;
}

/* Its subtrees differ in height by at most two; gives the root of the balanced whole. */
static uint32_t balance(const struct tree *tree, uint32_t index)
{
	struct tree_node *node = node_of(tree, index), *child;
	uint32_t left = height(tree, node->left), right = height(tree, node->right);

	if (left > right + 1) {
		child = node_of(tree, node->left);
		if (height(tree, child->left) < height(tree, child->right))
			node->left = rotate_left(tree, node->left);
		return rotate_right(tree, index);
	}
	if (right > left + 1) {
		child = node_of(tree, node->right);
		if (height(tree, child->right) < height(tree, child->left))
			node->right = rotate_right(tree, node->right);
		return rotate_left(tree, index);
	}
	update(tree, index);
	return index;
}

static uint32_t insert(const struct tree *tree, uint32_t root, uint32_t index)
{
	struct tree_node *node;

	if (!root) {
		*node_of(tree, index) = (struct tree_node){ 0 };
		update(tree, index);
		return index;
	}
	node = node_of(tree, root);
	if (before(tree, index, root))
		node->left = insert(tree, node->left, index);
	else
		node->right = insert(tree, node->right, index);
	return balance(tree, root);
}

/* Takes the first record out of the subtree. */
static uint32_t take_first(const struct tree *tree, uint32_t root, uint32_t *first)
{
	struct tree_node *node = node_of(tree, root);

	if (!node->left) {
		*first = root;
		return node->right;
	}
	node->left = take_first(tree, node->left, first);
	return balance(tree, root);
}

static uint32_t take(const struct tree *tree, uint32_t root, uint32_t index)
{
	struct tree_node *node = node_of(tree, root);
	uint32_t next, rest;

	if (root != index) {
		if (before(tree, index, root))
			node->left = take(tree, node->left, index);
		else
			node->right = take(tree, node->right, index);
		return balance(tree, root);
	}
	if (!node->left || !node->right)
		return node->left ? node->left : node->right;
	rest = take_first(tree, node->right, &next);
	node_of(tree, next)->left = node->left;
	node_of(tree, next)->right = rest;
	return balance(tree, next);
}

static void refresh(const struct tree *tree, uint32_t root, uint32_t index)
{
	struct tree_node *node = node_of(tree, root);

	if (root != index)
		refresh(tree, before(tree, index, root) ? node->left : node->right, index);
	update(tree, root);
}

void tree_insert(const struct tree_kind *kind, struct table *table, uint32_t *root, uint32_t index)
{
	*root = insert(&(struct tree){ kind, table }, *root, index);
}

void tree_remove(const struct tree_kind *kind, struct table *table, uint32_t *root, uint32_t index)
{
	*root = take(&(struct tree){ kind, table }, *root, index);
}

void tree_resized(const struct tree_kind *kind, struct table *table, uint32_t root, uint32_t index)
{
	refresh(&(struct tree){ kind, table }, root, index);
}

static uint32_t overlap(const struct tree *tree, uint32_t root, const struct tree_walk *walk)
{
	const struct tree_range *range;
	const struct tree_node *node;
	uint32_t found;

	if (!root || range_of(tree, root)->max_end <= walk->start)
		return 0;
	range = range_of(tree, root);
	node = node_of(tree, root);
	if (range->start > walk->after_start ||
	    (range->start == walk->after_start && root > walk->after_index)) {
		found = overlap(tree, node->left, walk);
		if (found)
			return found;
		if (range->start >= walk->end) /* and so do all behind it */
			return 0;
		if (range->end > walk->start)
			return root;
	}
	return overlap(tree, node->right, walk);
}

uint32_t tree_overlap(const struct tree_kind *kind, const struct table *table, uint32_t root,
		      struct tree_walk *walk)
{
	const struct tree tree = { kind, table };
	uint32_t found = overlap(&tree, root, walk);

	if (found) {
		walk->after_start = range_of(&tree, found)->start;
		walk->after_index = found;
	}
	return found;
}
