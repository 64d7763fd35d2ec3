/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue of effects: the records that have one, linked in the order in which they came
 * (records.h). */
#include <string.h>

#include "daemon/core/records.h"

/* A link names a table and a record of it; 0 is the end. */
enum { OF_LEASE = 1, OF_OP, OF_FILE };
#define LINK(of, index) ((uint32_t)(of) << 30 | (index))
#define LINK_OF(link) ((link) >> 30)
#define LINK_INDEX(link) ((link) & ((1u << 30) - 1))

static uint32_t *next_of(struct core *core, uint32_t link)
{
	uint32_t index = LINK_INDEX(link);

	if (LINK_OF(link) == OF_LEASE)
		return &lease_at(core, index)->effect_next;
	if (LINK_OF(link) == OF_OP)
		return &op_at(core, index)->effect_next;
	return &file_at(core, index)->effect_next;
}

static void append(struct core *core, uint32_t link)
{
	*next_of(core, link) = 0;
	if (core->effect_last)
		*next_of(core, core->effect_last) = link;
	else
		core->effect_first = link;
	core->effect_last = link;
}

static uint32_t take(struct core *core)
{
	uint32_t link = core->effect_first;

	core->effect_first = *next_of(core, link);
	if (!core->effect_first)
		core->effect_last = 0;
	return link;
}

void effect_of_lease(struct core *core, uint32_t index, enum core_effect_kind kind)
{
	struct core_lease *lease = lease_at(core, index);

	if (lease->effect == EFFECT_NONE)
		append(core, LINK(OF_LEASE, index));
	lease->effect = EFFECT(kind);
	if (!CORE_SABOTAGE(29))
		table_mark(&core->leases, index);
}

void effect_verdict(struct core *core, uint32_t index, int error)
{
	struct core_op *op = op_at(core, index);

	op->error = error;
	if (op->effect == EFFECT_NONE)
		append(core, LINK(OF_OP, index));
	op->effect = EFFECT(CORE_VERDICT);
	if (!CORE_SABOTAGE(30))
		table_mark(&core->ops, index);
}

void effect_relink_lease(struct core *core, uint32_t index)
{
	append(core, LINK(OF_LEASE, index));
}

void effect_relink_op(struct core *core, uint32_t index)
{
	append(core, LINK(OF_OP, index));
}

void effect_disarm(struct core *core, uint32_t index)
{
	struct core_file *file = file_at(core, index);

	if (!file->queued)
		append(core, LINK(OF_FILE, index));
	file->queued = true;
}

void lease_free(struct core *core, uint32_t index)
{
	uint32_t file = lease_at(core, index)->file;

	table_give(&core->leases, index);
	file_put(core, file);
}

void op_free(struct core *core, uint32_t index)
{
	uint32_t file = op_at(core, index)->file;

	table_give(&core->ops, index);
	file_put(core, file);
}

/* --- taking ----------------------------------------------------------------------------------- */

static void fill(const struct core *core, struct core_effect *effect, uint8_t kind, uint32_t file,
		 const struct tree_range *range, const struct core_who *who)
{
	*effect = (struct core_effect){
		.kind = kind - EFFECT(0),
		.dev = file_at(core, file)->dev,
		.ino = file_at(core, file)->ino,
		.start = range->start,
		.end = range->end,
		.cause = who->cause,
		.tid = who->tid,
		.tgid = who->tgid,
		.uid = who->uid,
	};
	memcpy(effect->comm, who->comm, sizeof(effect->comm));
}

static void lease_taken(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);

	lease->effect = EFFECT_NONE;
	if (!CORE_SABOTAGE(31))
		table_mark(&core->leases, index);
	if (lease->state == RECORD_GONE)
		lease_free(core, index);
}

/* Is `link` the same notice to the same session for the range right behind *effect? */
static bool continues(const struct core *core, const struct core_effect *effect, uint32_t file,
		      uint32_t link)
{
	const struct core_lease *lease = lease_at(core, LINK_INDEX(link));

	if (LINK_OF(link) != OF_LEASE ||
	    (effect->kind != CORE_TELL && effect->kind != CORE_REVOKE && effect->kind != CORE_DROP))
		return false;
	return lease->effect == EFFECT(effect->kind) && lease->file == file &&
	       lease->session == effect->session && lease->range.start == effect->end &&
	       lease->deadline_ns == effect->deadline_ns && lease->who.cause == effect->cause &&
	       lease->who.tid == effect->tid && lease->who.tgid == effect->tgid &&
	       lease->who.uid == effect->uid &&
	       memcmp(lease->who.comm, effect->comm, sizeof(effect->comm)) == 0;
}

static void take_lease(struct core *core, uint32_t index, struct core_effect *effect)
{
	const struct core_lease *lease = lease_at(core, index);
	uint32_t file = lease->file;

	fill(core, effect, lease->effect, file, &lease->range, &lease->who);
	effect->session = lease->session;
	effect->deadline_ns = lease->deadline_ns;
	effect->epoch = effect->kind == CORE_TELL ? core->epoch : lease->revoked_epoch;
	if (effect->kind == CORE_CANCELLED)
		effect->grant = lease->number;
	while (core->effect_first && continues(core, effect, file, core->effect_first)) {
		uint32_t more = LINK_INDEX(take(core));

		lease = lease_at(core, more);
		effect->end = lease->range.end;
		if (effect->epoch < lease->revoked_epoch)
			effect->epoch = lease->revoked_epoch;
		lease_taken(core, more);
	}
	lease_taken(core, index);
}

static void take_op(struct core *core, uint32_t index, struct core_effect *effect)
{
	struct core_op *op = op_at(core, index);

	fill(core, effect, op->effect, op->file, &op->range, &op->who);
	effect->op_cookie = op->cookie;
	effect->error = op->error;
	effect->finished = op->finished;
	op->effect = EFFECT_NONE;
	if (!CORE_SABOTAGE(32))
		table_mark(&core->ops, index);
	if (op->state == RECORD_GONE)
		op_free(core, index);
}

static bool take_file(struct core *core, uint32_t index, struct core_effect *effect)
{
	struct core_file *file = file_at(core, index);
	bool idle = file->lease_count == 0 && file->waiting_count == 0;

	if (CORE_SABOTAGE(8))
		idle = true;
	if (idle) {
		*effect = (struct core_effect){.kind = CORE_DISARM,
					       .dev = file->dev,
					       .ino = file->ino};
		file->armed = false;
		if (!CORE_SABOTAGE(33))
			table_mark(&core->files, index);
	}
	file->queued = false;
	file_free_unused(core, index);
	return idle;
}

bool core_next_effect(struct core *core, struct core_effect *effect)
{
	while (core->effect_first) {
		uint32_t link = take(core);

		if (LINK_OF(link) == OF_LEASE) {
			take_lease(core, LINK_INDEX(link), effect);
			return true;
		}
		if (LINK_OF(link) == OF_OP) {
			take_op(core, LINK_INDEX(link), effect);
			return true;
		}
		/* Held or waited for again before it was taken: then there is nothing to disarm. */
		if (take_file(core, LINK_INDEX(link), effect))
			return true;
	}
	return false;
}
