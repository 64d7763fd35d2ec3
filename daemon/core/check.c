/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything derived, compared with the records. Each check says in one sentence what is wrong. For
 * tests: it is linear in everything.
 */
#include "daemon/core/records.h"

static bool is_live(const struct core_lease *lease)
{
	return lease->state != RECORD_FREE && lease->state != RECORD_GONE;
}

static bool op_is_live(const struct core_op *op)
{
	return op->state == CORE_OP_WAITING || op->state == CORE_OP_PASSED;
}

static bool overlap(const struct tree_range *a, const struct tree_range *b)
{
	return a->start < b->end && b->start < a->end;
}

/* --- trees ------------------------------------------------------------------------------------ */

struct shape {
	uint32_t count, height, last; /* last: the record before, in order */
	uint64_t max_end;
	const char *wrong;
};

/* In order; what is found adds up in *shape. */
static void check_subtree(const struct tree_kind *kind, const struct table *table, uint32_t root,
			  struct shape *shape)
{
	struct shape left = { .last = shape->last }, right = { 0 };
	const struct tree_range *range;
	const struct tree_node *node;
	int order;

	if (!root)
		return;
	node = tree_node(kind, table, root);
	range = table_at(table, root);
	check_subtree(kind, table, node->left, &left);
	if (left.last) {
		order = kind->order(table_at(table, left.last), table_at(table, root));
		if (order > 0 || (order == 0 && left.last >= root))
			shape->wrong = "a tree is out of order";
	}
	right.last = root;
	check_subtree(kind, table, node->right, &right);
	if (node->height != 1 + (left.height > right.height ? left.height : right.height))
		shape->wrong = "a tree's height is wrong";
	if (left.height > right.height + 1 || right.height > left.height + 1)
		shape->wrong = "a tree is not balanced";
	shape->max_end = range->end;
	if (left.max_end > shape->max_end)
		shape->max_end = left.max_end;
	if (right.max_end > shape->max_end)
		shape->max_end = right.max_end;
	if (kind->ranges && range->max_end != shape->max_end)
		shape->wrong = "a tree's max_end is wrong";
	if (left.wrong || right.wrong)
		shape->wrong = left.wrong ? left.wrong : right.wrong;
	shape->count = left.count + right.count + 1;
	shape->height = node->height;
	shape->last = right.last;
}

static struct shape shape_of(const struct tree_kind *kind, const struct table *table, uint32_t root)
{
	struct shape shape = { 0 };

	check_subtree(kind, table, root, &shape);
	return shape;
}

/* --- files ------------------------------------------------------------------------------------ */

struct seen {
	uint32_t leases, held, ops, waiting, records;
};

static struct seen records_of_file(const struct core *core, uint32_t file)
{
	struct seen seen = { 0 };

	for (uint32_t i = 1; i < core->leases.top; i++) {
		const struct core_lease *lease = lease_at(core, i);

		if (lease->state == RECORD_FREE || lease->file != file)
			continue;
		seen.records++;
		seen.leases += is_live(lease);
		seen.held += is_live(lease) && lease->state != CORE_PENDING;
	}
	for (uint32_t i = 1; i < core->ops.top; i++) {
		const struct core_op *op = op_at(core, i);

		if (op->state == RECORD_FREE || op->file != file)
			continue;
		seen.records++;
		seen.ops += op_is_live(op);
		seen.waiting += op->state == CORE_OP_WAITING;
	}
	return seen;
}

static const char *check_file(const struct core *core, uint32_t index)
{
	const struct core_file *file = file_at(core, index);
	struct seen seen = records_of_file(core, index);
	struct shape leases = shape_of(&core_by_range, &core->leases, file->leases);
	struct shape held = shape_of(&core_by_session, &core->leases, file->held);
	struct shape ops = shape_of(&core_ops_by_range, &core->ops, file->ops);

	if (leases.wrong || held.wrong || ops.wrong)
		return leases.wrong ? leases.wrong : held.wrong ? held.wrong : ops.wrong;
	if (leases.count != seen.leases || held.count != seen.held || ops.count != seen.ops)
		return "a record is missing in a tree, or one too many is there";
	if (file->lease_count != seen.leases || file->waiting_count != seen.waiting ||
	    file->records != seen.records)
		return "a file's counts are wrong";
	if (!file->records && !file->queued)
		return "a file without records was not freed";
	if (seen.leases && !file->armed)
		return "a file with leases is not armed";
	if (file->armed && !seen.leases && !seen.waiting && !file->queued)
		return "an idle file is not to be disarmed";
	return NULL;
}

static const char *check_files(const struct core *core)
{
	uint32_t files = 0;

	for (uint32_t i = 0; core->files.buckets && i <= core->files.mask; i++) {
		for (uint32_t f = core->files.buckets[i]; f;
		     f = table_bucket_next(&core->files, f)) {
			const char *wrong = check_file(core, f);

			if (wrong)
				return wrong;
			files++;
		}
	}
	return files == core->files.used ? NULL : "a file is not in the hash";
}

/* --- leases ----------------------------------------------------------------------------------- */

static bool in_list(const struct core *core, uint32_t first, uint32_t index, bool pending)
{
	uint32_t prev = CORE_NONE;

	while (first) {
		const struct core_lease *lease = lease_at(core, first);

		if ((pending ? lease->pending.prev : lease->session_prev) != prev)
			return false;
		if (first == index)
			return true;
		prev = first;
		first = pending ? lease->pending.next : lease->session_next;
	}
	return false;
}

static const char *check_own_neighbours(const struct core *core, uint32_t index)
{
	const struct core_lease *lease = lease_at(core, index);

	if (lease_of_session(core, lease->file, lease->session, lease->range.start) != index)
		return "a session's leases overlap";
	return NULL;
}

/* What an answer may end. */
static bool revocation_is_right(const struct core *core, const struct core_lease *lease)
{
	if (lease->revoked_epoch > core->epoch || (lease->dropped && !lease->revoked_epoch))
		return false;
	if (lease->state <= CORE_BREAKING)
		return lease->revoked_epoch == 0;
	return lease->state != CORE_REVOKING || lease->revoked_epoch;
}

static const char *check_lease(const struct core *core, uint32_t index)
{
	const struct core_lease *lease = lease_at(core, index);
	uint32_t session = anchor_find(&core->sessions, lease->session);
	uint32_t dev = anchor_find(&core->devs, file_at(core, lease->file)->dev);
	bool timed = lease->state == CORE_BREAKING || lease->state == CORE_REVOKING ||
		     lease->state == CORE_FENCING;

	if (lease->range.start >= lease->range.end)
		return "a lease is empty";
	if (lease_find(core, lease->number) != index)
		return "a lease is not found by its number";
	if (!revocation_is_right(core, lease))
		return "a lease does not know its revocation";
	if (timed != (lease->heap_pos != 0))
		return "a deadline is lost, or one is there without need";
	if (lease->heap_pos &&
	    (lease->heap_pos > core->heap_used || core->heap[lease->heap_pos] != index))
		return "a lease does not know its place in the heap";
	if (lease->state <= CORE_HELD && lease->waiters)
		return "an operation waits for a lease that nobody breaks";
	if (!session ||
	    !in_list(core, ((struct core_anchor *)table_at(&core->sessions, session))->leases,
		     index, false))
		return "a lease is not in its session's list";
	if (lease->state == CORE_PENDING)
		return dev && in_list(core,
				      ((struct core_anchor *)table_at(&core->devs, dev))->leases,
				      index, true)
			       ? NULL
			       : "a pending lease is not in its file system's list";
	return check_own_neighbours(core, index);
}

static const char *check_heap(const struct core *core)
{
	for (uint32_t i = 2; i <= core->heap_used; i++)
		if (lease_at(core, core->heap[i])->deadline_ns <
		    lease_at(core, core->heap[i / 2])->deadline_ns)
			return "the heap is out of order";
	return NULL;
}

static const char *check_leases(const struct core *core)
{
	uint32_t used = 0, timed = 0;
	uint64_t granted = 0;

	for (uint32_t i = 1; i < core->leases.top; i++) {
		const struct core_lease *lease = lease_at(core, i);
		const char *wrong = is_live(lease) ? check_lease(core, i) : NULL;

		if (wrong)
			return wrong;
		used += lease->state != RECORD_FREE;
		timed += lease->heap_pos != 0;
		granted += is_live(lease) && lease->state != CORE_PENDING;
	}
	if (used != core->leases.used || granted != core->counts.leases || timed != core->heap_used)
		return "the leases are miscounted";
	return check_heap(core);
}

/* --- operations ------------------------------------------------------------------------------- */

static const char *check_waiting(const struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	const struct core_lease *blocker = lease_at(core, op->blocker);
	uint32_t at;

	if (!op->blocker)
		return "an operation waits for nothing";
	if (!is_live(blocker) || blocker->file != op->file ||
	    !overlap(&blocker->range, &op->range) || !lease_in_the_way(op, blocker))
		return "an operation waits for a lease that is not in its way";
	if (blocker->state == CORE_UNPROVEN)
		return "an operation waits for what will not end";
	for (at = blocker->waiters; at && at != index; at = op_at(core, at)->waiter_next)
		;
	return at ? NULL : "an operation is not among those that wait for its lease";
}

static const char *check_op(const struct core *core, uint32_t index)
{
	const struct core_op *op = op_at(core, index);
	uint32_t thread = anchor_find(&core->threads, (uint32_t)op->who.tid);
	uint32_t dev = anchor_find(&core->devs, file_at(core, op->file)->dev), at;
	struct tree_walk walk = TREE_WALK(op->range.start, op->range.end);
	uint32_t root = file_at(core, op->file)->leases;

	at = thread ? ((struct core_anchor *)table_at(&core->threads, thread))->ops : CORE_NONE;
	while (at && at != index)
		at = op_at(core, at)->thread_next;
	if (!at)
		return "an operation is not in its thread's list";
	at = dev ? ((struct core_anchor *)table_at(&core->devs, dev))->ops : CORE_NONE;
	while (at && at != index)
		at = op_at(core, at)->dev_next;
	if (op->two_file != (at != CORE_NONE))
		return "a two-file operation is not in its file system's list, or another is";
	while ((at = tree_overlap(&core_by_range, &core->leases, root, &walk)))
		if (lease_at(core, at)->state == CORE_PENDING)
			return "a grant is pending on an operation's range";
	return op->state == CORE_OP_WAITING ? check_waiting(core, index) : NULL;
}

static const char *check_ops(const struct core *core)
{
	uint64_t waiting = 0, passed = 0;
	uint32_t used = 0;

	if (core->orphans)
		return "an orphan was left";
	for (uint32_t i = 1; i < core->ops.top; i++) {
		const struct core_op *op = op_at(core, i);
		const char *wrong = op_is_live(op) ? check_op(core, i) : NULL;

		if (wrong)
			return wrong;
		used += op->state != RECORD_FREE;
		waiting += op->state == CORE_OP_WAITING;
		passed += op->state == CORE_OP_PASSED;
	}
	if (used != core->ops.used || waiting != core->counts.waiting ||
	    passed != core->counts.passed)
		return "the operations are miscounted";
	return NULL;
}

/* --- anchors ---------------------------------------------------------------------------------- */

static const char *check_anchors(const struct table *table)
{
	uint32_t found = 0;

	for (uint32_t i = 0; table->buckets && i <= table->mask; i++) {
		for (uint32_t a = table->buckets[i]; a; a = table_bucket_next(table, a)) {
			const struct core_anchor *anchor = table_at(table, a);

			if (!anchor->leases && !anchor->ops && !anchor->fenced)
				return "a session, thread or file system nobody needs was not "
				       "freed";
			found++;
		}
	}
	return found == table->used ? NULL : "a session, thread or file system is not in its hash";
}

const char *core_check(const struct core *core)
{
	const struct table *anchors[] = { &core->sessions, &core->threads, &core->devs };
	const char *wrong = check_files(core);

	if (!wrong)
		wrong = check_leases(core);
	if (!wrong)
		wrong = check_ops(core);
	for (unsigned i = 0; !wrong && i < sizeof(anchors) / sizeof(*anchors); i++)
		wrong = check_anchors(anchors[i]);
	return wrong;
}
