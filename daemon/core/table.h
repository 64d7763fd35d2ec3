/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A growable table of fixed-size records, known by their index (from 1; CORE_NONE is no record),
 * and optionally an index of them by a hash. Records hold no pointers, so the table may move when
 * it grows: a pointer to a record is good until the next table_reserve().
 *
 * It knows which records have changed since they were looked at last (core_save()): taking and giving
 * back are changes, others are marked. That needs no memory beyond what was reserved.
 */
#ifndef DAXLEASE_CORE_TABLE_H
#define DAXLEASE_CORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t table_hash(const void *record);

struct table {
	char *records;	   /* owned; slot 0 is never used */
	uint32_t *buckets; /* owned; NULL: not indexed */
	uint32_t *changed; /* owned; the next of the changed ones; 0: not among them */
	uint32_t changed_first;
	size_t stride;
	uint32_t capacity;  /* slots, slot 0 included */
	uint32_t top;	    /* slots from here on were never used */
	uint32_t used, max; /* records in use, and how many there may be */
	uint32_t free;	    /* first free slot; the next one stands in its first bytes */
	uint32_t mask;	    /* number of buckets - 1 */
	size_t link;	    /* where a record keeps the next of its bucket */
	table_hash *hash;   /* NULL: not indexed */
};

/* hash NULL: no index, and link means nothing. */
void table_init(struct table *table, size_t stride, uint32_t max, table_hash *hash, size_t link);
void table_close(struct table *table);

/* From now on `more` calls of table_take() succeed. 0, -ENOMEM, -ENOLCK: the table may not grow
 * that far. */
int table_reserve(struct table *table, uint64_t more);
/* A zeroed record. Only after table_reserve(). */
uint32_t table_take(struct table *table);
/* Zeroes the record, so that its fields say that it is free. It must not be in the index any
 * more. */
void table_give(struct table *table, uint32_t index);

/* For a table that is filled from records with an index, in ascending order of it and before any
 * table_take(): this one is in use, and zeroed. Its max does not count. 0, -ENOMEM, -EINVAL (not
 * ascending, or no index can be so high). */
int table_place(struct table *table, uint32_t index);
/* The greatest index that may be in use after `more` calls of table_take(). */
uint32_t table_highest(const struct table *table, uint64_t more);

/* The record has changed. Also right for one that is free. */
void table_mark(struct table *table, uint32_t index);
/* Takes one record off the changed ones; 0: there is none. */
uint32_t table_next_changed(struct table *table);

void table_enter(struct table *table, uint32_t index);
void table_leave(struct table *table, uint32_t index);
/* The records of one bucket: the caller compares the keys. */
uint32_t table_bucket(const struct table *table, uint64_t hash);
uint32_t table_bucket_next(const struct table *table, uint32_t index);

/* A bijection that spreads consecutive keys (the finalizer of splitmix64). */
uint64_t table_mix(uint64_t key);

static inline void *table_at(const struct table *table, uint32_t index)
{
	return table->records + (size_t)index * table->stride;
}

#endif
