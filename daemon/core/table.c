/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/sabotage.h"

#define FIRST_CAPACITY 16u
#define CHANGED_LAST UINT32_MAX
/* The index must fit beside a tag of two bits (effects.c). */
#define MOST_RECORDS ((1u << 30) - 1)

static uint32_t *link_of(const struct table *table, uint32_t index)
{
	return (uint32_t *)((char *)table_at(table, index) + table->link);
}

static uint32_t *bucket_of(const struct table *table, uint64_t hash)
{
	return &table->buckets[hash & table->mask];
}

void table_init(struct table *table, size_t stride, uint32_t max, table_hash *hash, size_t link)
{
	*table = (struct table){
		.stride = stride,
		.max = max < MOST_RECORDS ? max : MOST_RECORDS,
		.capacity = 1,
		.top = 1,
		.hash = hash,
		.link = link,
		.changed_first = CHANGED_LAST,
	};
}

void table_close(struct table *table)
{
	free(table->records);
	free(table->buckets);
	free(table->changed);
	table->records = NULL;
	table->buckets = NULL;
	table->changed = NULL;
}

/* Spreads the records over at least `capacity` buckets. */
static int grow_index(struct table *table, uint32_t capacity)
{
	uint32_t old_size = table->buckets ? table->mask + 1 : 0;
	uint32_t size = old_size ? old_size : FIRST_CAPACITY;
	uint32_t *old = table->buckets;
	uint32_t *grown;

	while (size < capacity)
		size *= 2;
	if (size == old_size)
		return 0;
	grown = calloc(size, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	table->buckets = grown;
	table->mask = size - 1;
	for (uint32_t i = 0; i < old_size; i++) {
		uint32_t index = old[i];

		while (index) {
			uint32_t next = *link_of(table, index);

			table_enter(table, index);
			index = next;
		}
	}
	free(old);
	return 0;
}

/* Room for the slots below `capacity`, in all that grows with them. */
static int grow(struct table *table, uint64_t capacity)
{
	size_t bytes;
	void *grown;

	if (__builtin_mul_overflow(capacity, table->stride, &bytes))
		return -ENOMEM;
	if (table->hash && grow_index(table, (uint32_t)capacity) < 0)
		return -ENOMEM;
	grown = reallocarray(table->changed, capacity, sizeof(*table->changed));
	if (!grown)
		return -ENOMEM;
	table->changed = grown;
	grown = realloc(table->records, bytes);
	if (!grown)
		return -ENOMEM;
	table->records = grown;
	memset(table->changed + table->capacity, 0,
	       (size_t)(capacity - table->capacity) * sizeof(*table->changed));
	table->capacity = (uint32_t)capacity;
	return 0;
}

int table_reserve(struct table *table, uint64_t more)
{
	uint64_t need, capacity;

	if (table->used > table->max || more > table->max - table->used)
		return more ? -ENOLCK : 0;
	need = (uint64_t)table->used + more + 1;
	if (need <= table->capacity && table->records)
		return 0;
	capacity = (uint64_t)table->capacity * 2;
	if (capacity < FIRST_CAPACITY)
		capacity = FIRST_CAPACITY;
	if (capacity < need)
		capacity = need;
	if (capacity > (uint64_t)table->max + 1)
		capacity = (uint64_t)table->max + 1;
	return grow(table, capacity);
}

uint32_t table_take(struct table *table)
{
	uint32_t index = table->free;

	if (index)
		memcpy(&table->free, table_at(table, index), sizeof(table->free));
	else
		index = table->top++;
	memset(table_at(table, index), 0, table->stride);
	table->used++;
	if (!CORE_SABOTAGE(38))
		table_mark(table, index);
	return index;
}

static void push_free(struct table *table, uint32_t index)
{
	memset(table_at(table, index), 0, table->stride);
	memcpy(table_at(table, index), &table->free, sizeof(table->free));
	table->free = index;
}

int table_place(struct table *table, uint32_t index)
{
	uint64_t capacity = (uint64_t)table->capacity * 2;
	int err = 0;

	if (index < table->top || index > MOST_RECORDS)
		return -EINVAL;
	if (capacity <= index)
		capacity = (uint64_t)index + 1;
	if (index >= table->capacity || !table->records)
		err = grow(table, capacity > FIRST_CAPACITY ? capacity : FIRST_CAPACITY);
	if (err)
		return err;
	while (table->top < index)
		push_free(table, table->top++);
	table->top++;
	memset(table_at(table, index), 0, table->stride);
	table->used++;
	return 0;
}

uint32_t table_highest(const struct table *table, uint64_t more)
{
	uint64_t used = table->used + more;

	return used < table->top ? table->top - 1 : (uint32_t)used;
}

void table_mark(struct table *table, uint32_t index)
{
	if (table->changed[index])
		return;
	table->changed[index] = table->changed_first;
	table->changed_first = index;
}

uint32_t table_next_changed(struct table *table)
{
	uint32_t index = table->changed_first;

	if (index == CHANGED_LAST)
		return 0;
	table->changed_first = table->changed[index];
	table->changed[index] = 0;
	return index;
}

void table_give(struct table *table, uint32_t index)
{
	push_free(table, index);
	table->used--;
	if (!CORE_SABOTAGE(39))
		table_mark(table, index);
}

void table_enter(struct table *table, uint32_t index)
{
	uint32_t *bucket = bucket_of(table, table->hash(table_at(table, index)));

	*link_of(table, index) = *bucket;
	*bucket = index;
}

void table_leave(struct table *table, uint32_t index)
{
	uint32_t *at = bucket_of(table, table->hash(table_at(table, index)));

	while (*at != index)
		at = link_of(table, *at);
	*at = *link_of(table, index);
}

uint32_t table_bucket(const struct table *table, uint64_t hash)
{
	return table->buckets ? *bucket_of(table, hash) : 0;
}

uint32_t table_bucket_next(const struct table *table, uint32_t index)
{
	return *link_of(table, index);
}

uint64_t table_mix(uint64_t key)
{
	key += 0x9e3779b97f4a7c15u;
	key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
	key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
	return key ^ (key >> 31);
}
