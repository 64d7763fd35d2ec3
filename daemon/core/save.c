/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records out, for a journal, and in again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/records.h"

/*
 * So far do epochs and numbers jump when a core is restored. One that somebody was told and whose
 * commit was cut off must never be given again: an answer, or an administrator's revoke by number,
 * would hit another lease. What was revoked under such an epoch is revoked anew, under a higher one
 * that the old answer does not end, and answered anew. What an input gives cannot be more: it gives each
 * lease one epoch, and there are less than 2^30; it makes new leases at two borders for each session
 * (and people type the numbers).
 */
#define EPOCH_JUMP ((uint64_t)1 << 32)
#define NUMBER_JUMP ((uint64_t)1 << 20)

/* --- out -------------------------------------------------------------------------------------- */

static void save_who(struct core_saved_who *saved, const struct core_who *who)
{
	*saved = (struct core_saved_who){who->cause, who->tid, who->tgid, who->uid, ""};
	memcpy(saved->comm, who->comm, sizeof(saved->comm));
}

static void load_who(struct core_who *who, const struct core_saved_who *saved)
{
	*who = (struct core_who){saved->cause, saved->tid, saved->tgid, saved->uid, ""};
	memcpy(who->comm, saved->comm, sizeof(who->comm));
}

struct out {
	core_put *put;
	void *arg;
};

static void save_file(const struct core *core, uint32_t index, const struct out *out)
{
	const struct core_file *file = file_at(core, index);
	const struct core_saved_file saved = {.dev = file->dev, .ino = file->ino};

	out->put(out->arg, CORE_SAVED_FILE, index, file->armed ? &saved : NULL);
}

static void save_session(const struct core *core, uint32_t index, const struct out *out)
{
	const struct core_anchor *session = table_at(&core->sessions, index);
	const struct core_saved_fenced saved = {.session = session->key};

	out->put(out->arg, CORE_SAVED_FENCED, index, session->fenced ? &saved : NULL);
}

static void save_lease(const struct core *core, uint32_t index, const struct out *out)
{
	const struct core_lease *lease = lease_at(core, index);
	const bool effect = !CORE_SABOTAGE(34);
	struct core_saved_lease saved;

	/* The effect of a pending one that is gone can only be CORE_CANCELLED. */
	if (lease->state == RECORD_FREE || lease->state == CORE_PENDING ||
	    lease->effect == EFFECT(CORE_CANCELLED)) {
		out->put(out->arg, CORE_SAVED_LEASE, index, NULL);
		return;
	}
	saved = (struct core_saved_lease){
		.dev = file_at(core, lease->file)->dev,
		.ino = file_at(core, lease->file)->ino,
		.start = lease->range.start,
		.end = lease->range.end,
		.number = lease->number,
		.since_ns = lease->since_ns,
		.deadline_ns = lease->deadline_ns,
		.revoked_epoch = lease->revoked_epoch,
		.session = lease->session,
		.tgid = lease->tgid,
		.state = lease->state,
		.flags = lease->flags,
		.effect = effect ? lease->effect : EFFECT_NONE,
		.dropped = lease->dropped,
	};
	save_who(&saved.who, &lease->who);
	out->put(out->arg, CORE_SAVED_LEASE, index, &saved);
}

static void save_op(const struct core *core, uint32_t index, const struct out *out)
{
	const struct core_op *op = op_at(core, index);
	struct core_saved_op saved;

	if (op->state == RECORD_FREE) {
		out->put(out->arg, CORE_SAVED_OP, index, NULL);
		return;
	}
	saved = (struct core_saved_op){
		.dev = file_at(core, op->file)->dev,
		.ino = file_at(core, op->file)->ino,
		.start = op->range.start,
		.end = op->range.end,
		.cookie = op->cookie,
		.since_ns = op->since_ns,
		.break_time_ns = op->break_time_ns,
		.only_lease = op->only_lease,
		.only_session = op->only_session,
		.error = op->error,
		.state = op->state,
		.own = op->own,
		.effect = op->effect,
		.two_file = op->two_file,
		.answered = op->answered,
		.finished = op->finished,
	};
	save_who(&saved.who, &op->who);
	out->put(out->arg, CORE_SAVED_OP, index, &saved);
}

static void save_head(struct core *core, bool all, const struct out *out)
{
	const struct core_saved_head saved = {
		.last_number = core->last_number,
		.epoch = core->epoch,
		.breaks = core->counts.breaks,
		.revoked = core->counts.revoked,
		.fenced = core->counts.fenced,
		.refused = core->counts.refused,
	};

	if (!all && memcmp(&saved, &core->saved, sizeof(saved)) == 0)
		return;
	core->saved = saved;
	out->put(out->arg, CORE_SAVED_HEAD, 1, &saved);
}

typedef void save_record(const struct core *core, uint32_t index, const struct out *out);

static void save_table(const struct core *core, struct table *table, bool all, save_record *save,
		       const struct out *out)
{
	uint32_t index;

	for (index = 1; all && index < table->top; index++)
		table_mark(table, index);
	while ((index = table_next_changed(table)))
		save(core, index, out);
}

void core_save(struct core *core, bool all, core_put *put, void *arg)
{
	const struct out out = {put, arg};

	save_head(core, all, &out);
	save_table(core, &core->files, all, save_file, &out);
	save_table(core, &core->sessions, all, save_session, &out);
	save_table(core, &core->leases, all, save_lease, &out);
	save_table(core, &core->ops, all, save_op, &out);
}

/* --- in --------------------------------------------------------------------------------------- */

/* The file's record; found or made. */
static int load_file_of(struct core *core, uint64_t dev, uint64_t ino, uint32_t *file)
{
	int err = 0;

	*file = file_find(core, dev, ino);
	if (*file)
		return 0;
	err = table_reserve(&core->files, 1);
	if (!err)
		*file = file_make(core, dev, ino);
	return err;
}

static int load_file(struct core *core, uint32_t index, const void *record)
{
	const struct core_saved_file *saved = record;
	struct core_file *file;
	int err;

	if (file_find(core, saved->dev, saved->ino))
		return -EBADMSG;
	err = table_place(&core->files, index);
	if (err)
		return err;
	file = file_at(core, index);
	file->dev = saved->dev;
	file->ino = saved->ino;
	file->armed = true;
	table_enter(&core->files, index);
	return 0;
}

static int load_fenced(struct core *core, uint32_t index, const void *record)
{
	const struct core_saved_fenced *saved = record;
	struct core_anchor *session;
	int err;

	if (saved->session > UINT32_MAX || anchor_find(&core->sessions, saved->session))
		return -EBADMSG;
	err = table_place(&core->sessions, index);
	if (err)
		return err;
	session = table_at(&core->sessions, index);
	session->key = saved->session;
	session->fenced = true;
	table_enter(&core->sessions, index);
	return 0;
}

static bool is_lease_effect(uint8_t effect)
{
	return effect == EFFECT(CORE_TELL) || effect == EFFECT(CORE_REVOKE) ||
	       effect == EFFECT(CORE_DROP) || effect == EFFECT(CORE_FENCE);
}

/* Can it be what a core has saved? */
static bool is_lease(const struct core *core, const struct core_saved_lease *saved)
{
	if (saved->start >= saved->end || (saved->flags & ~DLP_GRANT_FLAGS) || saved->number == 0 ||
	    saved->number > core->last_number || saved->revoked_epoch > core->epoch ||
	    (saved->dropped && !saved->revoked_epoch))
		return false;
	if (saved->effect != EFFECT_NONE && !is_lease_effect(saved->effect))
		return false;
	switch (saved->state) {
	case RECORD_GONE:
		return saved->effect != EFFECT_NONE;
	case CORE_HELD:
	case CORE_BREAKING:
		return saved->revoked_epoch == 0;
	case CORE_REVOKING:
		return saved->revoked_epoch != 0;
	case CORE_FENCING:
	case CORE_UNPROVEN:
		return true;
	default:
		return false;
	}
}

/* Does the session hold something there already, or is the number taken? */
static bool collides(const struct core *core, const struct core_lease *lease)
{
	uint32_t held = lease_of_session(core, lease->file, lease->session, lease->range.start);

	return (held && lease_at(core, held)->range.start < lease->range.end) ||
	       lease_find(core, lease->number);
}

static void restore_lease(struct core *core, uint32_t index, uint64_t deadline_ns)
{
	uint8_t state = lease_at(core, index)->state;

	if (state == RECORD_GONE) {
		file_at(core, lease_at(core, index)->file)->records++;
	} else {
		file_at(core, lease_at(core, index)->file)->armed = true;
		lease_enter(core, index);
	}
	if (state == CORE_BREAKING || state == CORE_REVOKING || state == CORE_FENCING)
		deadline_set(core, index, deadline_ns);
	else
		lease_at(core, index)->deadline_ns = deadline_ns;
}

static int load_lease(struct core *core, uint32_t index, const void *record)
{
	const struct core_saved_lease *saved = record;
	struct core_lease lease = {
		.range = {.start = saved->start, .end = saved->end},
		.number = saved->number,
		.since_ns = saved->since_ns,
		.revoked_epoch = saved->revoked_epoch,
		.session = saved->session,
		.tgid = saved->tgid,
		.state = saved->state,
		.flags = saved->flags,
		.effect = saved->effect,
		.dropped = saved->dropped,
	};
	int err;

	if (!is_lease(core, saved))
		return -EBADMSG;
	load_who(&lease.who, &saved->who);
	err = load_file_of(core, saved->dev, saved->ino, &lease.file);
	if (!err)
		err = table_place(&core->leases, index);
	if (!err)
		err = leases_reserve(core, 0); /* the heap grows with the table */
	if (!err)
		err = anchor_reserve(&core->sessions, lease.session);
	if (err)
		return err;
	if (lease.state != RECORD_GONE && collides(core, &lease))
		return -EBADMSG;
	*lease_at(core, index) = lease;
	restore_lease(core, index, saved->deadline_ns);
	return 0;
}

static bool is_op(const struct core_saved_op *saved)
{
	if (saved->start >= saved->end || saved->own > CORE_OWN_DROP)
		return false;
	if (saved->effect != EFFECT_NONE && saved->effect != EFFECT(CORE_VERDICT))
		return false;
	return saved->state == CORE_OP_WAITING || saved->state == CORE_OP_PASSED ||
	       (saved->state == RECORD_GONE && saved->effect != EFFECT_NONE);
}

static void restore_op(struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);

	if (op->state == RECORD_GONE)
		file_at(core, op->file)->records++;
	else
		op_enter(core, index);
	if (op->state == CORE_OP_WAITING)
		op_hang(core, index, CORE_NONE);
}

static int load_op(struct core *core, uint32_t index, const void *record)
{
	const struct core_saved_op *saved = record;
	struct core_op op = {
		.range = {.start = saved->start, .end = saved->end},
		.cookie = saved->cookie,
		.since_ns = saved->since_ns,
		.break_time_ns = saved->break_time_ns,
		.only_lease = saved->only_lease,
		.only_session = saved->only_session,
		.error = saved->error,
		.state = saved->state,
		.own = saved->own,
		.effect = saved->effect,
		.two_file = saved->two_file,
		.answered = saved->answered,
		.finished = saved->finished,
	};
	int err;

	if (!is_op(saved))
		return -EBADMSG;
	load_who(&op.who, &saved->who);
	err = load_file_of(core, saved->dev, saved->ino, &op.file);
	if (!err)
		err = table_place(&core->ops, index);
	if (!err)
		err = anchor_reserve(&core->threads, (uint32_t)op.who.tid);
	if (!err && op.two_file)
		err = anchor_reserve(&core->devs, saved->dev);
	if (err)
		return err;
	*op_at(core, index) = op;
	restore_op(core, index);
	return 0;
}

static int load_head(struct core *core, uint32_t index, const void *record)
{
	const struct core_saved_head *saved = record;

	if (index != 1 || saved->epoch > UINT64_MAX / 2 || saved->last_number > UINT64_MAX / 2)
		return -EBADMSG;
	core->epoch = saved->epoch;
	core->last_number = saved->last_number;
	core->counts.breaks = saved->breaks;
	core->counts.revoked = saved->revoked;
	core->counts.fenced = saved->fenced;
	core->counts.refused = saved->refused;
	return 0;
}

typedef int load_record(struct core *core, uint32_t index, const void *record);

/* In this order: a file or session that another record names as well gets its own index first. */
static load_record *const load_of[CORE_SAVED_KINDS] = {
	[CORE_SAVED_HEAD] = load_head,	   [CORE_SAVED_FILE] = load_file,
	[CORE_SAVED_FENCED] = load_fenced, [CORE_SAVED_LEASE] = load_lease,
	[CORE_SAVED_OP] = load_op,
};

static int load_all(struct core *core, core_next *next, void *arg)
{
	for (unsigned kind = 0; kind < CORE_SAVED_KINDS; kind++) {
		uint32_t index = 0;
		const void *record;

		while ((record = next(arg, kind, &index))) {
			int err = load_of[kind](core, index, record);

			if (err)
				return err == -EINVAL ? -EBADMSG : err;
		}
	}
	return 0;
}

/* The answer to a revocation may have come to nobody, and its time, or a fence's, have run while nobody
 * looked: it is asked again, and each has its time again. */
static void ask_again(struct core *core, uint32_t index, uint64_t now_ns)
{
	struct core_lease *lease = lease_at(core, index);
	uint64_t least = add_saturated(now_ns, lease->state == CORE_REVOKING
						       ? core->params.margin_ns
						       : core->params.fence_ns);

	if (lease->state != CORE_REVOKING && lease->state != CORE_FENCING)
		return;
	if (lease->state == CORE_REVOKING && lease->effect == EFFECT_NONE)
		lease->effect = lease->dropped ? EFFECT(CORE_DROP) : EFFECT(CORE_REVOKE);
	if (lease->deadline_ns < least)
		deadline_set(core, index, least);
	table_mark(&core->leases, index);
}

static int epoch_order(const void *a, const void *b, void *arg)
{
	const uint32_t *x = a, *y = b;
	const struct core *core = arg;
	uint64_t first = lease_at(core, *x)->revoked_epoch;
	uint64_t second = lease_at(core, *y)->revoked_epoch;

	return first != second ? (first < second ? -1 : 1) : (*x < *y ? -1 : *x > *y);
}

/*
 * The effects that were not taken. Their order is lost, and made again as far as it matters:
 * revocations by epoch, as they came; verdicts behind all of them, so that nobody goes on before a
 * freeze's holder was told; CORE_DISARM behind the verdicts (relax_files()). The rest can be in any
 * order: a CORE_TELL or CORE_FENCE speaks of a record that has no other effect, a session that is
 * fenced needs no telling, and a verdict follows from what is, not from what was told.
 */
static int relink_effects(struct core *core)
{
	uint32_t *leases = malloc(((size_t)core->leases.used + 1) * sizeof(*leases));
	size_t count = 0;

	if (!leases)
		return -ENOMEM;
	for (uint32_t index = 1; index < core->leases.top; index++)
		if (lease_at(core, index)->effect != EFFECT_NONE)
			leases[count++] = index;
	qsort_r(leases, count, sizeof(*leases), epoch_order, core);
	for (size_t i = 0; i < count && !CORE_SABOTAGE(35); i++)
		effect_relink_lease(core, leases[i]);
	free(leases);
	for (uint32_t index = 1; index < core->ops.top && !CORE_SABOTAGE(36); index++)
		if (op_at(core, index)->effect != EFFECT_NONE)
			effect_relink_op(core, index);
	return 0;
}

/* Where something was only pending, nothing is left that the guard is armed for. */
static void relax_files(struct core *core)
{
	for (uint32_t index = 1; index < core->files.top; index++)
		if (file_at(core, index)->armed)
			file_relax(core, index);
}

/* Room for what is there, where it will be saved. */
static int reserve_again(struct core *core)
{
	struct {
		struct table *table;
		enum core_saved_kind kind;
	} const tables[] = {
		{&core->files, CORE_SAVED_FILE},
		{&core->sessions, CORE_SAVED_FENCED},
		{&core->leases, CORE_SAVED_LEASE},
		{&core->ops, CORE_SAVED_OP},
	};
	int err = 0;

	for (unsigned i = 0; !err && i < sizeof(tables) / sizeof(*tables); i++)
		err = records_reserve(core, tables[i].table, tables[i].kind, 0);
	return err;
}

static int restore(struct core *core, uint64_t now_ns, core_next *next, void *arg)
{
	struct table *const tables[] = {&core->leases, &core->ops, &core->files, &core->threads,
					&core->devs};
	uint32_t max[sizeof(tables) / sizeof(*tables)];
	int err;

	/* What there is may be more than is allowed by now, which is no reason to lose any of it. */
	for (unsigned i = 0; i < sizeof(max) / sizeof(*max); i++) {
		max[i] = tables[i]->max;
		tables[i]->max = UINT32_MAX;
	}
	err = load_all(core, next, arg);
	for (uint32_t index = 1; !err && index < core->leases.top && !CORE_SABOTAGE(43); index++)
		ask_again(core, index, now_ns);
	if (!err)
		err = relink_effects(core);
	if (err)
		return err;
	core->epoch += CORE_SABOTAGE(37) ? 0 : EPOCH_JUMP;
	core->last_number += NUMBER_JUMP;
	core_settle(core, now_ns);
	relax_files(core);
	err = reserve_again(core);
	for (unsigned i = 0; i < sizeof(max) / sizeof(*max); i++)
		tables[i]->max = max[i];
	return err;
}

int core_restore(struct core **out, const struct core_params *params, uint64_t now_ns,
		 core_next *next, void *arg)
{
	struct core *core = core_new(params);
	int err;

	*out = NULL;
	if (!core)
		return -ENOMEM;
	err = restore(core, now_ns, next, arg);
	if (err) {
		core_free(core);
		return err;
	}
	*out = core;
	return 0;
}
