/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of the core save it into, in place of a journal: whether a commit is all or nothing is
 * another test's concern (journal_cut.c).
 */
#ifndef DAXLEASE_TESTS_CORE_STORE_H
#define DAXLEASE_TESTS_CORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "daemon/core/core.h"
#include "daemon/core/saved.h"

#define STORE_RECORDS 1024u

struct store_record {
	bool used;
	_Alignas(8) char bytes[sizeof(struct core_saved_lease)];
};

struct store {
	struct store_record records[CORE_SAVED_KINDS][STORE_RECORDS];
	uint32_t high[CORE_SAVED_KINDS]; /* no record above it was ever put */
	uint32_t room[CORE_SAVED_KINDS]; /* asked for up to there */
	const char *wrong;		 /* put where no room was */
};

static const uint32_t store_size[CORE_SAVED_KINDS] = {
	[CORE_SAVED_HEAD] = sizeof(struct core_saved_head),
	[CORE_SAVED_FILE] = sizeof(struct core_saved_file),
	[CORE_SAVED_FENCED] = sizeof(struct core_saved_fenced),
	[CORE_SAVED_LEASE] = sizeof(struct core_saved_lease),
	[CORE_SAVED_OP] = sizeof(struct core_saved_op),
};

static int store_room(void *arg, unsigned kind, uint32_t index)
{
	struct store *store = arg;

	if (index > store->room[kind])
		store->room[kind] = index;
	return 0;
}

static void store_put(void *arg, unsigned kind, uint32_t index, const void *record)
{
	struct store *store = arg;
	struct store_record *to;

	if (index == 0 || index >= STORE_RECORDS) {
		store->wrong = "an index out of range is saved";
		return;
	}
	if (record && index > store->room[kind])
		store->wrong = "a record is saved that no room was asked for";
	to = &store->records[kind][index];
	memset(to, 0, sizeof(*to));
	if (index > store->high[kind])
		store->high[kind] = index;
	if (!record)
		return;
	to->used = true;
	memcpy(to->bytes, record, store_size[kind]);
}

static const void *store_next(void *arg, unsigned kind, uint32_t *index)
{
	const struct store *store = arg;

	while (*index < store->high[kind])
		if (store->records[kind][++*index].used)
			return store->records[kind][*index].bytes;
	return NULL;
}

/* The first kind in which they differ; CORE_SAVED_KINDS: none. */
static inline unsigned store_differ(const struct store *a, const struct store *b)
{
	for (unsigned kind = 0; kind < CORE_SAVED_KINDS; kind++) {
		uint32_t high = a->high[kind] > b->high[kind] ? a->high[kind] : b->high[kind];

		if (memcmp(a->records[kind], b->records[kind],
			   (high + 1) * sizeof(struct store_record)) != 0)
			return kind;
	}
	return CORE_SAVED_KINDS;
}

static void store_clear(struct store *store)
{
	for (unsigned kind = 0; kind < CORE_SAVED_KINDS; kind++)
		memset(store->records[kind], 0,
		       (store->high[kind] + 1) * sizeof(struct store_record));
	memset(store->high, 0, sizeof(store->high));
	memset(store->room, 0, sizeof(store->room));
	store->wrong = NULL;
}

#endif
