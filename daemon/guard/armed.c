/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/armed.h"

#include <errno.h>
#include <stdlib.h>

static size_t home_of(const struct armed *set, uint64_t dev, uint64_t ino)
{
	uint64_t hash = (ino ^ (dev << 32 | dev >> 32)) * 0x9e3779b97f4a7c15u;

	return (size_t)(hash ^ hash >> 32) & (set->capacity - 1);
}

/* The entry of the pair, or the free one where it belongs. */
static size_t find(const struct armed *set, uint64_t dev, uint64_t ino)
{
	size_t at = home_of(set, dev, ino);

	while (set->entry[at].used && (set->entry[at].ino != ino || set->entry[at].dev != dev))
		at = (at + 1) & (set->capacity - 1);
	return at;
}

bool armed_has(const struct armed *set, uint64_t dev, uint64_t ino)
{
	return set->count && set->entry[find(set, dev, ino)].used;
}

static int grow(struct armed *set)
{
	struct armed bigger = {.capacity = set->capacity ? set->capacity * 2 : 64,
			       .count = set->count};

	bigger.entry = calloc(bigger.capacity, sizeof(*bigger.entry));
	if (!bigger.entry)
		return -ENOMEM;
	for (size_t i = 0; i < set->capacity; i++) {
		const struct armed_inode *old = &set->entry[i];

		if (old->used)
			bigger.entry[find(&bigger, old->dev, old->ino)] = *old;
	}
	free(set->entry);
	*set = bigger;
	return 0;
}

int armed_add(struct armed *set, uint64_t dev, uint64_t ino)
{
	if (armed_has(set, dev, ino))
		return 0;
	if (2 * (set->count + 1) > set->capacity && grow(set) < 0)
		return -ENOMEM;
	set->entry[find(set, dev, ino)] = (struct armed_inode){.dev = dev, .ino = ino, .used = 1};
	set->count++;
	return 0;
}

bool armed_remove(struct armed *set, uint64_t dev, uint64_t ino)
{
	size_t hole, at;

	if (!armed_has(set, dev, ino))
		return false;
	hole = at = find(set, dev, ino);
	/* move back what stands behind its home only because the hole was taken */
	for (;;) {
		size_t home;

		at = (at + 1) & (set->capacity - 1);
		if (!set->entry[at].used)
			break;
		home = home_of(set, set->entry[at].dev, set->entry[at].ino);
		if (((at - home) & (set->capacity - 1)) >= ((at - hole) & (set->capacity - 1))) {
			set->entry[hole] = set->entry[at];
			hole = at;
		}
	}
	set->entry[hole] = (struct armed_inode){0};
	set->count--;
	return true;
}

size_t armed_remove_dev(struct armed *set, uint64_t dev)
{
	size_t removed = 0;

	/* a removal moves others back, also around the end: stay where it was, and go round again
	 */
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < set->capacity; i++) {
			while (set->entry[i].used && set->entry[i].dev == dev) {
				armed_remove(set, dev, set->entry[i].ino);
				removed++;
				again = true;
			}
		}
	}
	return removed;
}

void armed_clear(struct armed *set)
{
	free(set->entry);
	*set = (struct armed){0};
}
