// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK (64u * 1024u)

static void push(struct arena *arena, void *object)
{
	memcpy(object, &arena->free, sizeof(arena->free));
	arena->free = object;
	arena->spare++;
}

int arena_reserve(struct arena *arena, size_t count)
{
	while (arena->spare < count) {
		long chunk = syscall(SYS_mmap, NULL, (size_t)CHUNK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

		if (chunk == -1)
			return -ENOMEM;
		memcpy((void *)chunk, &arena->chunks, sizeof(arena->chunks));
		arena->chunks = (void *)chunk;
		/* the first object's place is the list's */
		for (size_t at = arena->size; at + arena->size <= CHUNK; at += arena->size)
			push(arena, (char *)chunk + at);
	}
	return 0;
}

void *arena_alloc(struct arena *arena)
{
	void *object;
	int saved = errno;

	if (arena_reserve(arena, 1) < 0) {
		errno = saved;
		return NULL;
	}
	object = arena->free;
	memcpy(&arena->free, object, sizeof(arena->free));
	arena->spare--;
	memset(object, 0, arena->size);
	return object;
}

void arena_free(struct arena *arena, void *object)
{
	if (object)
		push(arena, object);
}

void arena_destroy(struct arena *arena)
{
	while (arena->chunks) {
		void *chunk = arena->chunks;

		memcpy(&arena->chunks, chunk, sizeof(arena->chunks));
		syscall(SYS_munmap, chunk, (size_t)CHUNK);
	}
	arena->free = NULL;
	arena->spare = 0;
}
