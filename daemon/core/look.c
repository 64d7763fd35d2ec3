/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Views of the state. Nothing here changes anything. */
#include <string.h>

#include "daemon/core/records.h"

static bool is_granted(const struct core_lease *lease)
{
	return lease->state != RECORD_FREE && lease->state != RECORD_GONE &&
	       lease->state != CORE_PENDING;
}

static void view_lease(const struct core *core, const struct core_lease *lease,
		       struct core_lease_view *view)
{
	const struct core_file *file = file_at(core, lease->file);

	*view = (struct core_lease_view){
		.number = lease->number,
		.dev = file->dev,
		.ino = file->ino,
		.start = lease->range.start,
		.end = lease->range.end,
		.since_ns = lease->since_ns,
		.deadline_ns = lease->deadline_ns,
		.session = lease->session,
		.flags = lease->flags,
		.state = lease->state,
	};
}

static void view_op(const struct core *core, uint32_t index, struct core_op_view *view)
{
	const struct core_op *op = op_at(core, index);
	const struct core_file *file = file_at(core, op->file);

	*view = (struct core_op_view){
		.op = index,
		.in = {
			.dev = file->dev,
			.ino = file->ino,
			.start = op->range.start,
			.end = op->range.end,
			.cookie = op->cookie,
			.break_time_ns = op->break_time_ns,
			.tid = op->who.tid,
			.tgid = op->who.tgid,
			.uid = op->who.uid,
			.cause = op->who.cause,
			.own = op->own,
			.two_file = op->two_file,
			.answered = op->answered,
			.only_lease = op->only_lease,
		},
		.state = op->state,
		.since_ns = op->since_ns,
	};
	memcpy(view->in.comm, op->who.comm, sizeof(view->in.comm));
}

bool core_list(const struct core *core, uint32_t *cursor, struct core_lease_view *view)
{
	for (uint64_t index = (uint64_t)*cursor + 1; index < core->leases.top; index++) {
		const struct core_lease *lease = lease_at(core, (uint32_t)index);

		*cursor = (uint32_t)index;
		if (!is_granted(lease))
			continue;
		view_lease(core, lease, view);
		return true;
	}
	return false;
}

bool core_list_session(const struct core *core, uint32_t session, uint32_t *cursor,
		       struct core_lease_view *view)
{
	uint32_t anchor, index;

	if (*cursor == CORE_NONE) {
		anchor = anchor_find(&core->sessions, session);
		index = anchor ? ((struct core_anchor *)table_at(&core->sessions, anchor))->leases
			       : CORE_NONE;
	} else {
		if (*cursor >= core->leases.top || !is_granted(lease_at(core, *cursor)) ||
		    lease_at(core, *cursor)->session != session)
			return false;
		index = lease_at(core, *cursor)->session_next;
	}
	while (index && !is_granted(lease_at(core, index)) && !CORE_SABOTAGE(17))
		index = lease_at(core, index)->session_next;
	if (!index)
		return false;
	view_lease(core, lease_at(core, index), view);
	*cursor = index;
	return true;
}

bool core_list_session_file(const struct core *core, uint32_t session, uint64_t dev, uint64_t ino,
			    uint64_t *offset, struct core_lease_view *view)
{
	uint32_t file = file_find(core, dev, ino);
	uint32_t index = file ? lease_of_session(core, file, session, *offset) : CORE_NONE;

	if (!index)
		return false;
	view_lease(core, lease_at(core, index), view);
	*offset = view->end;
	return true;
}

bool core_list_file(const struct core *core, uint64_t dev, uint64_t ino, uint64_t *offset,
		    struct core_lease_view *view)
{
	uint32_t file = file_find(core, dev, ino), index;
	struct tree_walk walk = TREE_WALK(*offset, UINT64_MAX);

	while (file && (index = tree_overlap(&core_by_range, &core->leases,
					     file_at(core, file)->leases, &walk))) {
		const struct core_lease *lease = lease_at(core, index);

		if (!is_granted(lease))
			continue;
		*view = (struct core_lease_view){
			.start = lease->range.start > *offset ? lease->range.start : *offset,
			.end = lease->range.end,
		};
		*offset = lease->range.end;
		return true;
	}
	return false;
}

unsigned core_ops_in_the_way(const struct core *core, uint64_t dev, uint64_t ino, uint64_t start,
			     uint64_t end, struct core_op_view *views, unsigned max)
{
	uint32_t file = file_find(core, dev, ino), anchor = anchor_find(&core->devs, dev), index;
	struct tree_walk walk = TREE_WALK(start, end);
	unsigned count = 0;

	while (file && count < max &&
	       (index = tree_overlap(&core_ops_by_range, &core->ops, file_at(core, file)->ops,
				     &walk)))
		if (op_at(core, index)->state == CORE_OP_PASSED && !op_at(core, index)->two_file)
			view_op(core, index, &views[count++]);
	index = anchor ? ((struct core_anchor *)table_at(&core->devs, anchor))->ops : CORE_NONE;
	for (; index && count < max; index = op_at(core, index)->dev_next)
		view_op(core, index, &views[count++]);
	return count;
}

static unsigned all_passed(const struct core *core, struct core_op_view *views, unsigned max)
{
	unsigned count = 0;

	for (uint32_t index = 1; index < core->ops.top && count < max; index++)
		if (op_at(core, index)->state == CORE_OP_PASSED)
			view_op(core, index, &views[count++]);
	return count;
}

unsigned core_ops_passed(const struct core *core, int32_t tid, struct core_op_view *views,
			 unsigned max)
{
	uint32_t anchor = anchor_find(&core->threads, (uint32_t)tid), index;
	unsigned count = 0;

	if (tid == 0)
		return all_passed(core, views, max);
	index = anchor ? ((struct core_anchor *)table_at(&core->threads, anchor))->ops : CORE_NONE;
	for (; index && count < max; index = op_at(core, index)->thread_next)
		if (op_at(core, index)->state == CORE_OP_PASSED)
			view_op(core, index, &views[count++]);
	return count;
}

bool core_list_ops(const struct core *core, uint32_t *cursor, struct core_op_view *view)
{
	for (uint64_t index = (uint64_t)*cursor + 1; index < core->ops.top; index++) {
		uint8_t state = op_at(core, (uint32_t)index)->state;

		*cursor = (uint32_t)index;
		if (state != CORE_OP_WAITING && state != CORE_OP_PASSED)
			continue;
		view_op(core, *cursor, view);
		return true;
	}
	return false;
}

bool core_session_fenced(const struct core *core, uint32_t session)
{
	return session_fenced(core, session);
}

bool core_list_fenced(const struct core *core, uint32_t *cursor, uint32_t *session)
{
	for (uint64_t index = (uint64_t)*cursor + 1; index < core->sessions.top; index++) {
		const struct core_anchor *anchor = table_at(&core->sessions, (uint32_t)index);

		*cursor = (uint32_t)index;
		if (!anchor->fenced)
			continue;
		*session = (uint32_t)anchor->key;
		return true;
	}
	return false;
}

bool core_list_waiting(const struct core *core, uint32_t *cursor, struct core_op_view *view,
		       uint64_t *lease)
{
	if (core->counts.waiting == 0)
		return false;
	for (uint64_t index = (uint64_t)*cursor + 1; index < core->ops.top; index++) {
		const struct core_op *op = op_at(core, (uint32_t)index);

		*cursor = (uint32_t)index;
		if (op->state != CORE_OP_WAITING)
			continue;
		view_op(core, (uint32_t)index, view);
		*lease = op->blocker ? lease_at(core, op->blocker)->number : 0;
		return true;
	}
	return false;
}

bool core_lease_by_number(const struct core *core, uint64_t number, struct core_lease_view *view)
{
	uint32_t index = lease_find(core, number);

	if (!index || !is_granted(lease_at(core, index)))
		return false;
	view_lease(core, lease_at(core, index), view);
	return true;
}

bool core_file_busy(const struct core *core, uint64_t dev, uint64_t ino)
{
	uint32_t file = file_find(core, dev, ino);

	return file && (file_at(core, file)->lease_count || file_at(core, file)->waiting_count);
}

bool core_session_holds(const struct core *core, uint32_t session)
{
	uint32_t anchor = anchor_find(&core->sessions, session);

	return anchor && ((struct core_anchor *)table_at(&core->sessions, anchor))->leases;
}

void core_counts(const struct core *core, struct core_counts *counts)
{
	*counts = core->counts;
	counts->files = core->files.used;
}
