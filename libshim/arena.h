/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory for table nodes without malloc: a hook of ours may run inside the program's allocator,
 * with that allocator's locks held. Objects of one size from chunks that raw system calls map;
 * chunks go back all together. No lock of its own: an arena belongs to the lock of its owner.
 */
#ifndef DAXLEASE_ARENA_H
#define DAXLEASE_ARENA_H

#include <stddef.h>

struct arena {
	size_t size;  /* of an object; at least a pointer, a multiple of 8 */
	void *free;   /* list through the first word of each object */
	size_t spare; /* objects on that list */
	void *chunks; /* list through the first word of each chunk */
};

#define ARENA_INIT(type)                                                                           \
	{                                                                                          \
		.size = sizeof(type)                                                               \
	}

/* Makes sure that the next `count` arena_alloc() succeed. 0 or -ENOMEM. For those who are about to
 * do something that cannot be undone. */
int arena_reserve(struct arena *arena, size_t count);
void *arena_alloc(struct arena *arena); /* zeroed; NULL: no memory */
void arena_free(struct arena *arena, void *object);
void arena_destroy(struct arena *arena); /* every object with it */

#endif
