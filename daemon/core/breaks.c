/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "daemon/core/records.h"

static bool is_administrator(const struct core_op *op)
{
	return op->who.tid == 0 && !op->answered;
}

/* A process that is not known (0, -1) has nothing of its own. */
static bool is_own(const struct core_op *op, const struct core_lease *lease)
{
	return op->who.tgid > 0 && op->who.tgid == lease->tgid;
}

bool lease_in_the_way(const struct core_op *op, const struct core_lease *lease)
{
	if (lease->state == CORE_PENDING)
		return false;
	if (op->only_lease && lease->session != op->only_session)
		return false;
	if (CORE_SABOTAGE(5) && op->own == CORE_OWN_EXEMPT)
		return false;
	return op->own != CORE_OWN_EXEMPT || !is_own(op, lease);
}

static bool overlap(const struct tree_range *a, const struct tree_range *b)
{
	return a->start < b->end && b->start < a->end;
}

/* --- the records of operations ---------------------------------------------------------------- */

static struct core_anchor *anchor_at(struct table *table, uint32_t index)
{
	return table_at(table, index);
}

static uint64_t thread_key(const struct core_op *op)
{
	return (uint32_t)op->who.tid;
}

static void thread_link(struct core *core, uint32_t index)
{
	struct core_op *op = op_at(core, index);
	struct core_anchor *thread = anchor_at(&core->threads,
					       anchor_make(&core->threads, thread_key(op)));

	op->thread_next = thread->ops;
	if (thread->ops)
		op_at(core, thread->ops)->thread_prev = index;
	thread->ops = index;
}

static void thread_unlink(struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	uint32_t thread = anchor_find(&core->threads, thread_key(op));

	if (op->thread_prev)
		op_at(core, op->thread_prev)->thread_next = op->thread_next;
	else
		anchor_at(&core->threads, thread)->ops = op->thread_next;
	if (op->thread_next)
		op_at(core, op->thread_next)->thread_prev = op->thread_prev;
	anchor_put(&core->threads, thread);
}

static void dev_link(struct core *core, uint32_t index)
{
	struct core_op *op = op_at(core, index);
	uint64_t key = file_at(core, op->file)->dev;
	struct core_anchor *dev = anchor_at(&core->devs, anchor_make(&core->devs, key));

	op->dev_next = dev->ops;
	if (dev->ops)
		op_at(core, dev->ops)->dev_prev = index;
	dev->ops = index;
}

static void dev_unlink(struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	uint32_t dev = anchor_find(&core->devs, file_at(core, op->file)->dev);

	if (op->dev_prev)
		op_at(core, op->dev_prev)->dev_next = op->dev_next;
	else
		anchor_at(&core->devs, dev)->ops = op->dev_next;
	if (op->dev_next)
		op_at(core, op->dev_next)->dev_prev = op->dev_prev;
	anchor_put(&core->devs, dev);
}

void op_enter(struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	struct core_file *file = file_at(core, op->file);

	file->records++;
	if (op->state == CORE_OP_WAITING) {
		file->waiting_count++;
		core->counts.waiting++;
	} else {
		core->counts.passed++;
	}
	tree_insert(&core_ops_by_range, &core->ops, &file->ops, index);
	thread_link(core, index);
	if (op->two_file)
		dev_link(core, index);
}

/* The operation enters as waiting, and nothing to wait for yet. After reserving. */
static uint32_t op_make(struct core *core, uint64_t now_ns, const struct core_op *draft,
			uint64_t dev, uint64_t ino)
{
	uint32_t index = table_take(&core->ops), known = file_find(core, dev, ino);
	struct core_op *op = op_at(core, index);

	*op = *draft;
	op->file = known ? known : file_make(core, dev, ino);
	op->state = CORE_OP_WAITING;
	op->since_ns = now_ns;
	op_enter(core, index);
	return index;
}

/* It waits no more. */
static void op_wait_over(struct core *core, uint32_t index)
{
	uint32_t file = op_at(core, index)->file;

	file_at(core, file)->waiting_count--;
	core->counts.waiting--;
	file_relax(core, file);
}

/* Out of all trees and lists; the record stays if its verdict was not taken yet. */
static void op_end(struct core *core, uint32_t index)
{
	struct core_op *op = op_at(core, index);

	if (op->state == CORE_OP_PASSED)
		core->counts.passed--;
	tree_remove(&core_ops_by_range, &core->ops, &file_at(core, op->file)->ops, index);
	thread_unlink(core, index);
	if (op->two_file)
		dev_unlink(core, index);
	op->state = RECORD_GONE;
	if (!CORE_SABOTAGE(24))
		table_mark(&core->ops, index);
	if (op->effect == EFFECT_NONE)
		op_free(core, index);
}

static void op_pass(struct core *core, uint32_t index, uint64_t now_ns)
{
	op_at(core, index)->state = CORE_OP_PASSED;
	op_at(core, index)->since_ns = now_ns;
	core->counts.passed++;
	op_wait_over(core, index);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static uint32_t *chain_of(struct core *core, const struct core_op *op)
{
	return op->blocker ? &lease_at(core, op->blocker)->waiters : &core->orphans;
}

void op_hang(struct core *core, uint32_t index, uint32_t blocker)
{
	struct core_op *op = op_at(core, index);
	uint32_t *first;

	op->blocker = blocker;
	first = chain_of(core, op);
	op->waiter_prev = CORE_NONE;
	op->waiter_next = *first;
	if (*first)
		op_at(core, *first)->waiter_prev = index;
	*first = index;
}

static void op_unhang(struct core *core, uint32_t index)
{
	struct core_op *op = op_at(core, index);

	if (op->waiter_prev)
		op_at(core, op->waiter_prev)->waiter_next = op->waiter_next;
	else
		*chain_of(core, op) = op->waiter_next;
	if (op->waiter_next)
		op_at(core, op->waiter_next)->waiter_prev = op->waiter_prev;
	op->waiter_next = op->waiter_prev = op->blocker = CORE_NONE;
}

void waiters_orphan(struct core *core, uint32_t index, bool all)
{
	uint32_t op = lease_at(core, index)->waiters, next;

	for (; op; op = next) {
		next = op_at(core, op)->waiter_next;
		if (!all && overlap(&op_at(core, op)->range, &lease_at(core, index)->range))
			continue;
		op_unhang(core, op);
		op_hang(core, op, CORE_NONE);
	}
}

/* A lease in the way of the operation; CORE_NONE: it may go on. */
static uint32_t find_blocker(const struct core *core, const struct core_op *op)
{
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	uint32_t root = file_at(core, op->file)->leases, index;

	while ((index = tree_overlap(&core_by_range, &core->leases, root, &walk))) {
		const struct core_lease *lease = lease_at(core, index);

		if (CORE_SABOTAGE(1) && lease->state == CORE_FENCING)
			continue;
		if (lease_in_the_way(op, lease))
			return index;
	}
	return CORE_NONE;
}

void core_settle(struct core *core, uint64_t now_ns)
{
	uint32_t index, blocker;

	while ((index = core->orphans)) {
		op_unhang(core, index);
		blocker = find_blocker(core, op_at(core, index));
		if (blocker) {
			op_hang(core, index, blocker);
			continue;
		}
		effect_verdict(core, index, 0);
		op_pass(core, index, now_ns);
		if (is_administrator(op_at(core, index)))
			op_end(core, index);
	}
}

/* The end of `lease` cannot be proven: all that wait for it are refused, also those that hang on
 * another. */
static void refuse_waiting(struct core *core, uint32_t lease)
{
	const struct tree_range range = lease_at(core, lease)->range;
	uint32_t file = lease_at(core, lease)->file, index;
	struct tree_walk walk = TREE_WALK(range.start, range.end);

	while ((index = tree_overlap(&core_ops_by_range, &core->ops, file_at(core, file)->ops,
				     &walk))) {
		const struct core_op *op = op_at(core, index);

		if (op->state != CORE_OP_WAITING || !lease_in_the_way(op, lease_at(core, lease)))
			continue;
		op_unhang(core, index);
		effect_verdict(core, index, -EBUSY);
		core->counts.refused++;
		op_wait_over(core, index);
		op_end(core, index);
	}
}

/* --- breaking --------------------------------------------------------------------------------- */

static void lease_revoke(struct core *core, uint32_t index, uint64_t now_ns,
			 enum core_effect_kind kind)
{
	struct core_lease *lease = lease_at(core, index);

	effect_of_lease(core, index, kind);
	lease->revoked_epoch = ++core->epoch;
	lease->dropped = kind == CORE_DROP;
	if (kind == CORE_REVOKE)
		core->counts.revoked++;
	if (lease->flags &
	    DLP_GRANT_FREEZE) { /* nothing to take away: its holder is told, that is all */
		lease_end(core, index);
		return;
	}
	lease->state = CORE_REVOKING;
	deadline_set(core, index, add_saturated(now_ns, core->params.margin_ns));
}

static void lease_fence(struct core *core, uint32_t index, uint64_t now_ns)
{
	struct core_lease *lease = lease_at(core, index);
	struct core_anchor *session = anchor_at(&core->sessions,
						anchor_find(&core->sessions, lease->session));

	lease->state = CORE_FENCING;
	if (!CORE_SABOTAGE(25))
		table_mark(&core->leases, index);
	deadline_set(core, index, add_saturated(now_ns, core->params.fence_ns));
	if (session->fenced && !CORE_SABOTAGE(10))
		return;
	session->fenced = true;
	if (!CORE_SABOTAGE(26))
		table_mark(&core->sessions, anchor_find(&core->sessions, lease->session));
	core->counts.fenced++;
	effect_of_lease(core, index, CORE_FENCE);
}

/* Its own process asks for its end, and its mapping may stay. */
static bool is_own_drop(const struct core_op *op, const struct core_lease *lease)
{
	return op->own == CORE_OWN_DROP && is_own(op, lease);
}

/* Does the operation change anything for a lease in its way, or is that on its way already? */
static bool is_touched(const struct core_op *op, const struct core_lease *lease)
{
	switch ((enum core_lease_state)lease->state) {
	case CORE_HELD:
		return true;
	case CORE_BREAKING:
		/* An administrator's revoke does not wait for the rest of its time. */
		return is_own_drop(op, lease) || op->break_time_ns == 0;
	case CORE_REVOKING:
		/* The answer to CORE_DROP leaves the mapping: others cannot go on with that. */
		return lease->dropped && !is_own_drop(op, lease) && !CORE_SABOTAGE(14);
	case CORE_FENCING:
		return lease->dropped && !is_own_drop(op, lease) && !CORE_SABOTAGE(16);
	case CORE_PENDING:
	case CORE_UNPROVEN:
		return false;
	}
	return false;
}

/* Breaks the part of the lease that the operation touches, unless that is on its way already. */
static void lease_break(struct core *core, uint32_t index, const struct core_op *op,
			uint64_t now_ns)
{
	bool drop = is_own_drop(op, lease_at(core, index));
	uint8_t state = lease_at(core, index)->state;
	struct core_lease *lease;

	if (!is_touched(op, lease_at(core, index)))
		return;
	if (lease_at(core, index)->range.start < op->range.start) {
		lease_split(core, index, op->range.start);
		return; /* the walk comes to the new part next */
	}
	if (lease_at(core, index)->range.end > op->range.end)
		lease_split(core, index, op->range.end);
	lease = lease_at(core, index);
	if (state == CORE_FENCING) { /* too late to tell it: the answer to CORE_DROP is void */
		lease->revoked_epoch = 0;
		lease->dropped = false;
		if (!CORE_SABOTAGE(27))
			table_mark(&core->leases, index);
		return;
	}
	lease->who = op->who;
	if (drop && (state == CORE_HELD || CORE_SABOTAGE(15))) {
		lease_revoke(core, index, now_ns, CORE_DROP);
	} else if (state != CORE_HELD || op->break_time_ns == 0) {
		/* Held, or its time cut short. Where its own process asks for the end somebody else
		 * waits for it too, and the mapping must go. */
		lease_revoke(core, index, now_ns, CORE_REVOKE);
	} else {
		lease->state = CORE_BREAKING;
		deadline_set(core, index, add_saturated(now_ns, op->break_time_ns));
		effect_of_lease(core, index, CORE_TELL);
	}
}

/* A pending lease loses against an operation. */
static void pending_cancel(struct core *core, uint32_t index)
{
	effect_of_lease(core, index, CORE_CANCELLED);
	lease_end(core, index);
}

/* An operation is there: no pending grant on its range, nor, if it is a two-file one, on the file
 * system (its other side may have been looked at before that grant was guarded). */
static void cancel_pending(struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	const struct core_file *file = file_at(core, op->file);
	uint32_t lease, dev;

	while ((lease = tree_overlap(&core_by_range, &core->leases, file->leases, &walk)))
		if (lease_at(core, lease)->state == CORE_PENDING)
			pending_cancel(core, lease);
	if (!op->two_file || CORE_SABOTAGE(7))
		return;
	dev = anchor_find(&core->devs, file->dev); /* the operation itself keeps it */
	while ((lease = anchor_at(&core->devs, dev)->leases))
		pending_cancel(core, lease);
}

/* What an attempt will meet, found before anything is changed. */
struct outlook {
	uint64_t parts;	 /* leases in the way */
	uint64_t splits; /* records it takes to split them */
	bool unproven;	 /* one of them will not end */
};

static struct outlook look_ahead(const struct core *core, uint32_t file, const struct core_op *op)
{
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	struct outlook outlook = { 0 };
	uint32_t index;

	while ((index = tree_overlap(&core_by_range, &core->leases, file_at(core, file)->leases,
				     &walk))) {
		const struct core_lease *lease = lease_at(core, index);

		if (!lease_in_the_way(op, lease))
			continue;
		outlook.parts++;
		if (lease->state == CORE_UNPROVEN)
			outlook.unproven = true;
		if (is_touched(op, lease))
			outlook.splits += (lease->range.start < op->range.start) +
					  (lease->range.end > op->range.end);
	}
	return outlook;
}

/* An administrator's revoke of one lease: from now on an operation on that lease's session and
 * range, so that it waits for all parts of it, whatever numbers they get. False: there is no such
 * lease there (any more). */
static bool narrow(const struct core *core, uint32_t file, struct core_op *op)
{
	uint32_t index = lease_find(core, op->only_lease);
	const struct core_lease *lease = index ? lease_at(core, index) : NULL;

	if (!lease || lease->file != file || !overlap(&lease->range, &op->range))
		return false;
	op->only_session = lease->session;
	if (lease->range.start > op->range.start)
		op->range.start = lease->range.start;
	if (lease->range.end < op->range.end)
		op->range.end = lease->range.end;
	return true;
}

static void break_all(struct core *core, uint32_t index, uint64_t now_ns)
{
	const struct core_op *op = op_at(core, index);
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	const struct core_file *file = file_at(core, op->file);
	uint32_t lease;

	while ((lease = tree_overlap(&core_by_range, &core->leases, file->leases, &walk)))
		if (lease_in_the_way(op, lease_at(core, lease)))
			lease_break(core, lease, op, now_ns);
}

/* One that hangs nowhere. */
static void op_refuse(struct core *core, uint32_t index, int error)
{
	effect_verdict(core, index, error);
	core->counts.refused++;
	op_wait_over(core, index);
	op_end(core, index);
}

/* Is one in its way that it would wait for, longer than for its own process's answer? */
static bool others_in_the_way(const struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	uint32_t root = file_at(core, op->file)->leases, lease;

	while ((lease = tree_overlap(&core_by_range, &core->leases, root, &walk)))
		if (lease_in_the_way(op, lease_at(core, lease)) &&
		    !is_own_drop(op, lease_at(core, lease)))
			return true;
	return false;
}

static int attempt_reserve(struct core *core, const struct core_op_in *in, uint32_t file,
			   uint64_t splits)
{
	int err = records_reserve(core, &core->ops, CORE_SAVED_OP, 1);

	if (!err && !file)
		err = records_reserve(core, &core->files, CORE_SAVED_FILE, 1);
	if (!err)
		err = anchor_reserve(&core->threads, (uint32_t)in->tid);
	if (!err && in->two_file)
		err = anchor_reserve(&core->devs, in->dev);
	if (!err && splits)
		err = leases_reserve(core, splits);
	return err;
}

int core_attempt(struct core *core, uint64_t now_ns, const struct core_op_in *in, uint32_t *op,
		 uint64_t *leases)
{
	uint32_t file = file_find(core, in->dev, in->ino);
	struct outlook outlook = { 0 };
	struct core_op draft = {
		.range = { .start = in->start, .end = in->end },
		.cookie = in->cookie,
		.break_time_ns = in->break_time_ns,
		.only_lease = in->only_lease,
		.own = (uint8_t)in->own,
		.two_file = in->two_file,
		.answered = in->answered,
		.who = { in->cause, in->tid, in->tgid, in->uid, "" },
	};
	bool touches = true;
	int err;

	memcpy(draft.who.comm, in->comm, sizeof(draft.who.comm));
	*op = CORE_NONE;
	*leases = 0;
	if (in->start >= in->end || (in->only_lease && (in->tid != 0 || in->answered)))
		return -EINVAL;
	if (in->only_lease)
		touches = file && narrow(core, file, &draft);
	if (file && touches && !in->answered)
		outlook = look_ahead(core, file, &draft);
	err = attempt_reserve(core, in, file, outlook.unproven ? 0 : outlook.splits);
	if (err)
		return err;

	*op = op_make(core, now_ns, &draft, in->dev, in->ino);
	if (outlook.unproven) {
		op_refuse(core, *op, -EBUSY);
		return 0;
	}
	if (touches)
		cancel_pending(core, *op);
	if (in->answered) {
		op_pass(core, *op, now_ns);
		return 0;
	}
	if (outlook.parts) {
		core->counts.breaks++;
		break_all(core, *op, now_ns);
	}
	*leases = outlook.parts;
	if (in->deny && others_in_the_way(core, *op))
		op_refuse(core, *op, CORE_SABOTAGE(40) ? 0 : in->deny);
	else
		op_hang(core, *op, CORE_NONE);
	core_settle(core, now_ns);
	return 0;
}

void core_op_finished(struct core *core, uint64_t now_ns, uint32_t index)
{
	struct core_op *op;

	if (index == CORE_NONE || index >= core->ops.top)
		return;
	op = op_at(core, index);
	if (op->state != CORE_OP_WAITING && op->state != CORE_OP_PASSED)
		return;
	op->finished = true;
	if (op->state == CORE_OP_WAITING) {
		op_unhang(core, index);
		effect_verdict(core, index, 0);
		op_wait_over(core, index);
	}
	op_end(core, index);
	core_settle(core, now_ns);
}

void core_op_one_file(struct core *core, uint32_t index)
{
	if (index == CORE_NONE || index >= core->ops.top)
		return;
	if (op_at(core, index)->state != CORE_OP_PASSED || !op_at(core, index)->two_file)
		return;
	dev_unlink(core, index);
	op_at(core, index)->two_file = false;
	if (!CORE_SABOTAGE(42))
		table_mark(&core->ops, index);
}

void core_session_failed(struct core *core, uint64_t now_ns, uint32_t session)
{
	uint32_t anchor = anchor_find(&core->sessions, session), index;

	if (!anchor)
		return;
	index = anchor_at(&core->sessions, anchor)->leases;
	for (; index; index = lease_at(core, index)->session_next) {
		const struct core_lease *lease = lease_at(core, index);

		/* A freeze has nothing to fence: it ends at its deadline. */
		if (lease->state == CORE_REVOKING ||
		    (lease->state == CORE_BREAKING && !(lease->flags & DLP_GRANT_FREEZE)))
			lease_fence(core, index, now_ns);
	}
}

void lease_unproven(struct core *core, uint32_t index)
{
	lease_at(core, index)->state = CORE_UNPROVEN;
	if (!CORE_SABOTAGE(28))
		table_mark(&core->leases, index);
	deadline_clear(core, index);
	refuse_waiting(core, index);
}

/* --- time ------------------------------------------------------------------------------------- */

uint64_t core_deadline(const struct core *core)
{
	uint32_t first = deadline_first(core);

	return first ? lease_at(core, first)->deadline_ns : UINT64_MAX;
}

static void lease_due(struct core *core, uint32_t index, uint64_t now_ns)
{
	struct core_lease *lease = lease_at(core, index);

	switch ((enum core_lease_state)lease->state) {
	case CORE_BREAKING:
		lease_revoke(core, index, now_ns, CORE_REVOKE);
		return;
	case CORE_REVOKING:
		lease_fence(core, index, now_ns);
		return;
	case CORE_FENCING:
		lease_unproven(core, index);
		return;
	case CORE_PENDING:
	case CORE_HELD:
	case CORE_UNPROVEN:
		deadline_clear(core, index);
		return;
	}
}

void core_tick(struct core *core, uint64_t now_ns)
{
	uint32_t index;

	while ((index = deadline_first(core)) && lease_at(core, index)->deadline_ns <= now_ns)
		lease_due(core, index, now_ns);
	core_settle(core, now_ns);
}
