/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "daemon/core/records.h"

static int range_order(const void *a, const void *b)
{
	const struct tree_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int session_order(const void *a, const void *b)
{
	const struct core_lease *x = a, *y = b;

	if (x->session != y->session)
		return x->session < y->session ? -1 : 1;
	return range_order(a, b);
}

const struct tree_kind core_by_range = {
	.node = offsetof(struct core_lease, by_range),
	.order = range_order,
	.ranges = true,
};
const struct tree_kind core_by_session = {
	.node = offsetof(struct core_lease, by_session),
	.order = session_order,
};
const struct tree_kind core_ops_by_range = {
	.node = offsetof(struct core_op, by_range),
	.order = range_order,
	.ranges = true,
};

int records_reserve(struct core *core, struct table *table, enum core_saved_kind kind,
		    uint64_t more)
{
	int err = table_reserve(table, more);

	if (err || !core->params.room)
		return err;
	return core->params.room(core->params.room_arg, kind, table_highest(table, more));
}

int leases_reserve(struct core *core, uint64_t more)
{
	int err = records_reserve(core, &core->leases, CORE_SAVED_LEASE, more);

	return err ? err : deadlines_reserve(core, core->leases.capacity);
}

/* --- files and anchors ------------------------------------------------------------------------ */

static uint64_t file_key(uint64_t dev, uint64_t ino)
{
	return table_mix(table_mix(dev) ^ ino);
}

uint64_t file_hash(const void *record)
{
	const struct core_file *file = record;

	return file_key(file->dev, file->ino);
}

uint32_t file_find(const struct core *core, uint64_t dev, uint64_t ino)
{
	uint32_t index = table_bucket(&core->files, file_key(dev, ino));

	while (index && (file_at(core, index)->dev != dev || file_at(core, index)->ino != ino))
		index = table_bucket_next(&core->files, index);
	return index;
}

uint32_t file_make(struct core *core, uint64_t dev, uint64_t ino)
{
	uint32_t index = table_take(&core->files);
	struct core_file *file = file_at(core, index);

	file->dev = dev;
	file->ino = ino;
	table_enter(&core->files, index);
	return index;
}

void file_free_unused(struct core *core, uint32_t index)
{
	const struct core_file *file = file_at(core, index);

	if (file->records || file->queued)
		return;
	table_leave(&core->files, index);
	table_give(&core->files, index);
}

void file_put(struct core *core, uint32_t index)
{
	file_at(core, index)->records--;
	file_free_unused(core, index);
}

void file_relax(struct core *core, uint32_t index)
{
	const struct core_file *file = file_at(core, index);
	uint32_t waiting = CORE_SABOTAGE(8) ? 0 : file->waiting_count;

	if (file->armed && file->lease_count == 0 && waiting == 0)
		effect_disarm(core, index);
}

uint32_t anchor_find(const struct table *table, uint64_t key)
{
	uint32_t index = table_bucket(table, table_mix(key));

	while (index && ((const struct core_anchor *)table_at(table, index))->key != key)
		index = table_bucket_next(table, index);
	return index;
}

int anchor_reserve(struct table *table, uint64_t key)
{
	return anchor_find(table, key) ? 0 : table_reserve(table, 1);
}

uint32_t anchor_make(struct table *table, uint64_t key)
{
	uint32_t index = anchor_find(table, key);

	if (!index) {
		index = table_take(table);
		((struct core_anchor *)table_at(table, index))->key = key;
		table_enter(table, index);
	}
	return index;
}

void anchor_put(struct table *table, uint32_t index)
{
	const struct core_anchor *anchor = table_at(table, index);

	if (anchor->leases || anchor->ops || anchor->fenced)
		return;
	table_leave(table, index);
	table_give(table, index);
}

int session_reserve(struct core *core, uint32_t session)
{
	if (anchor_find(&core->sessions, session))
		return 0;
	return records_reserve(core, &core->sessions, CORE_SAVED_FENCED, 1);
}

bool session_fenced(const struct core *core, uint32_t session)
{
	uint32_t index = anchor_find(&core->sessions, session);

	return index && ((struct core_anchor *)table_at(&core->sessions, index))->fenced;
}

/* --- finding ---------------------------------------------------------------------------------- */

uint32_t lease_find(const struct core *core, uint64_t number)
{
	uint32_t index = table_bucket(&core->leases, table_mix(number));

	while (index && lease_at(core, index)->number != number)
		index = table_bucket_next(&core->leases, index);
	return index;
}

uint32_t lease_of_session(const struct core *core, uint32_t file, uint32_t session, uint64_t offset)
{
	uint32_t index = file_at(core, file)->held, found = CORE_NONE;

	while (index) {
		const struct core_lease *lease = lease_at(core, index);

		/* They do not overlap, so their ends are in the same order as their starts. */
		if (lease->session > session ||
		    (lease->session == session && lease->range.end > offset)) {
			found = index;
			index = lease->by_session.left;
		} else {
			index = lease->by_session.right;
		}
	}
	return found && lease_at(core, found)->session == session ? found : CORE_NONE;
}

/* --- one lease -------------------------------------------------------------------------------- */

static void session_link(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);
	struct core_anchor *session = table_at(&core->sessions,
					       anchor_make(&core->sessions, lease->session));

	lease->session_prev = CORE_NONE;
	lease->session_next = session->leases;
	if (session->leases)
		lease_at(core, session->leases)->session_prev = index;
	session->leases = index;
}

static void session_unlink(struct core *core, uint32_t index)
{
	const struct core_lease *lease = lease_at(core, index);
	uint32_t anchor = anchor_find(&core->sessions, lease->session);

	if (lease->session_prev)
		lease_at(core, lease->session_prev)->session_next = lease->session_next;
	else
		((struct core_anchor *)table_at(&core->sessions, anchor))->leases =
			lease->session_next;
	if (lease->session_next)
		lease_at(core, lease->session_next)->session_prev = lease->session_prev;
	anchor_put(&core->sessions, anchor);
}

static void pending_link(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);
	uint64_t dev = file_at(core, lease->file)->dev;
	struct core_anchor *anchor = table_at(&core->devs, anchor_make(&core->devs, dev));

	lease->pending.prev = CORE_NONE;
	lease->pending.next = anchor->leases;
	if (anchor->leases)
		lease_at(core, anchor->leases)->pending.prev = index;
	anchor->leases = index;
}

static void pending_unlink(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);
	uint32_t dev = anchor_find(&core->devs, file_at(core, lease->file)->dev);

	if (lease->pending.prev)
		lease_at(core, lease->pending.prev)->pending.next = lease->pending.next;
	else
		((struct core_anchor *)table_at(&core->devs, dev))->leases = lease->pending.next;
	if (lease->pending.next)
		lease_at(core, lease->pending.next)->pending.prev = lease->pending.prev;
	memset(&lease->who, 0, sizeof(lease->who));
	anchor_put(&core->devs, dev);
}

void lease_enter(struct core *core, uint32_t index)
{
	struct core_file *file = file_at(core, lease_at(core, index)->file);

	file->lease_count++;
	file->records++;
	table_enter(&core->leases, index);
	tree_insert(&core_by_range, &core->leases, &file->leases, index);
	session_link(core, index);
	if (lease_at(core, index)->state == CORE_PENDING) {
		pending_link(core, index);
	} else {
		tree_insert(&core_by_session, &core->leases, &file->held, index);
		core->counts.leases++;
	}
}

uint32_t lease_make(struct core *core, const struct core_lease *like)
{
	/* By value: *like may be a record of the table. */
	const struct core_lease from = *like;
	uint32_t index = table_take(&core->leases);
	struct core_lease *lease = lease_at(core, index);

	lease->range = from.range;
	lease->number = ++core->last_number;
	lease->since_ns = from.since_ns;
	lease->revoked_epoch = CORE_SABOTAGE(13) ? 0 : from.revoked_epoch;
	lease->dropped = from.dropped;
	lease->file = from.file;
	lease->session = from.session;
	lease->tgid = from.tgid;
	lease->state = from.state;
	lease->flags = from.flags;
	lease->who = from.who;
	lease_enter(core, index);
	if (from.heap_pos && !CORE_SABOTAGE(4))
		deadline_set(core, index, from.deadline_ns);
	else
		lease->deadline_ns = from.deadline_ns;
	if (from.effect != EFFECT_NONE && from.effect != EFFECT(CORE_FENCE)) /* once a session */
		effect_of_lease(core, index, from.effect - EFFECT(0));
	return index;
}

void lease_set_end(struct core *core, uint32_t index, uint64_t end)
{
	struct core_lease *lease = lease_at(core, index);

	lease->range.end = end;
	if (!CORE_SABOTAGE(18))
		table_mark(&core->leases, index);
	tree_resized(&core_by_range, &core->leases, file_at(core, lease->file)->leases, index);
	if (!CORE_SABOTAGE(2))
		waiters_orphan(core, index, false);
}

void lease_set_start(struct core *core, uint32_t index, uint64_t start)
{
	struct core_lease *lease = lease_at(core, index);
	struct core_file *file = file_at(core, lease->file);

	/* Its place among the session's own leases stays: they do not overlap. */
	tree_remove(&core_by_range, &core->leases, &file->leases, index);
	lease->range.start = start;
	if (!CORE_SABOTAGE(19))
		table_mark(&core->leases, index);
	tree_insert(&core_by_range, &core->leases, &file->leases, index);
	waiters_orphan(core, index, false);
}

uint32_t lease_split(struct core *core, uint32_t index, uint64_t at)
{
	struct core_lease right = *lease_at(core, index);

	/* First cut, then make: the session's leases never overlap. */
	right.range.start = at;
	lease_set_end(core, index, at);
	return lease_make(core, &right);
}

void lease_hold(struct core *core, uint32_t index, uint64_t now_ns, uint64_t start, uint64_t end)
{
	struct core_lease *lease = lease_at(core, index);
	struct core_file *file = file_at(core, lease->file);

	tree_remove(&core_by_range, &core->leases, &file->leases, index);
	pending_unlink(core, index);
	lease->range.start = start;
	lease->range.end = end;
	lease->state = CORE_HELD;
	lease->since_ns = now_ns;
	if (!CORE_SABOTAGE(20))
		table_mark(&core->leases, index);
	tree_insert(&core_by_range, &core->leases, &file->leases, index);
	tree_insert(&core_by_session, &core->leases, &file->held, index);
	core->counts.leases++;
}

void lease_end(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);
	struct core_file *file = file_at(core, lease->file);

	tree_remove(&core_by_range, &core->leases, &file->leases, index);
	if (lease->state == CORE_PENDING) {
		pending_unlink(core, index);
	} else {
		tree_remove(&core_by_session, &core->leases, &file->held, index);
		core->counts.leases--;
	}
	session_unlink(core, index);
	deadline_clear(core, index);
	waiters_orphan(core, index, true);
	table_leave(&core->leases, index);
	lease->state = RECORD_GONE;
	if (!CORE_SABOTAGE(21))
		table_mark(&core->leases, index);
	file->lease_count--;
	file_relax(core, lease->file);
	if (lease->effect == EFFECT_NONE)
		lease_free(core, index);
}
