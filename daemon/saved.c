// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/saved.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/saved_inside.h"

void *saved_guard_region(const struct daemon *d)
{
	return journal_extra(d->saved->journal);
}

/* --- records -------------------------------------------------------------------------------------------- */

int saved_reserve_free(struct indices *indices, uint32_t top)
{
	uint32_t capacity = top * 2 + 64, *grown;

	if (indices->free_capacity >= top)
		return 0;
	grown = realloc(indices->free, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	indices->free = grown;
	indices->free_capacity = capacity;
	return 0;
}

uint32_t saved_take(struct daemon *d, enum saved_kind kind)
{
	struct indices *indices = &d->saved->indices[kind];

	if (indices->free_count > 0)
		return indices->free[--indices->free_count];
	if (saved_reserve_free(indices, indices->top + 1) < 0)
		return 0;
	if (journal_reserve(d->saved->journal, kind, indices->top + 1) < 0)
		return 0;
	return ++indices->top;
}

void saved_give(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	struct indices *indices = &d->saved->indices[kind];

	if (!index)
		return;
	journal_drop(d->saved->journal, kind, index);
	indices->free[indices->free_count++] = index;
}

int saved_reserve(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	return journal_reserve(d->saved->journal, kind, index);
}

void saved_put(struct daemon *d, enum saved_kind kind, uint32_t index, const void *record)
{
	journal_put(d->saved->journal, kind, index, record);
}

void saved_drop(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	journal_drop(d->saved->journal, kind, index);
}

void saved_meta(struct daemon *d)
{
	struct saved_meta meta = {
		.next_cookie = d->next_cookie,
		.next_session = d->next_session,
		.restarts = d->restarts,
		.newcomer_crashes = d->newcomers.crashes + d->newcomers.on,
	};

	saved_put(d, SAVED_META, 1, &meta);
}

const void *saved_next(struct daemon *d, enum saved_kind kind, uint32_t *cursor)
{
	return journal_next(d->saved->journal, kind, cursor);
}

/* --- the core ------------------------------------------------------------------------------------------- */

static void put_of_core(void *arg, unsigned kind, uint32_t index, const void *record)
{
	struct journal *journal = arg;

	if (record)
		journal_put(journal, kind, index, record);
	else
		journal_drop(journal, kind, index);
}

void saved_commit(struct daemon *d)
{
	if (!d->core)
		return;
	core_save(d->core, false, put_of_core, d->saved->journal);
	kill_at("commit");
	journal_commit(d->saved->journal);
	kill_at("committed");
}

static int room_for_core(void *arg, unsigned kind, uint32_t index)
{
	struct daemon *d = arg;

	return journal_reserve(d->saved->journal, kind, index);
}

static const void *next_of_core(void *arg, unsigned kind, uint32_t *index)
{
	struct daemon *d = arg;

	return journal_next(d->saved->journal, kind, index);
}

int saved_core(struct daemon *d)
{
	struct core_params params = {
		.margin_ns = d->config.margin_ns,
		.fence_ns = d->config.fence_ns,
		.max_leases = SAVED_LEASES_MAX,
		.max_ops = SAVED_OPS_MAX,
		.max_files = SAVED_FILES_MAX,
		.room = room_for_core,
		.room_arg = d,
	};
	uint32_t cursor = 0;
	const struct saved_meta *meta;

	if (!d->returned) {
		d->core = core_new(&params);
		return d->core ? 0 : -ENOMEM;
	}
	meta = saved_next(d, SAVED_META, &cursor);
	/* Numbers that were given away after the last commit must not come again. */
	if (meta) {
		d->next_cookie = meta->next_cookie + (1u << 20);
		d->next_session = meta->next_session + (1u << 16);
		d->restarts = meta->restarts + 1;
		d->newcomers.crashes = (uint16_t)meta->newcomer_crashes;
	}
	saved_meta(d);
	return core_restore(&d->core, &params, now_ns(), next_of_core, d);
}
