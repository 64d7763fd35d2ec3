/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>

#include "daemon/core/records.h"

static uint64_t hash_lease(const void *record)
{
	return table_mix(((const struct core_lease *)record)->number);
}

static uint64_t hash_anchor(const void *record)
{
	return table_mix(((const struct core_anchor *)record)->key);
}

struct core *core_new(const struct core_params *params)
{
	const size_t anchor = sizeof(struct core_anchor);
	const size_t link = offsetof(struct core_anchor, hash_next);
	uint64_t devs = (uint64_t)params->max_leases + params->max_ops;
	struct core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	if (params->room && params->room(params->room_arg, CORE_SAVED_HEAD, 1) < 0) {
		free(core);
		return NULL;
	}
	core->params = *params;
	core->saved.epoch = UINT64_MAX; /* as no head is: the first one is saved */
	/* So that one call of core_tick() moves a lease by one state and overtakes no
	 * effect. */
	if (core->params.margin_ns == 0)
		core->params.margin_ns = 1;
	if (core->params.fence_ns == 0)
		core->params.fence_ns = 1;
	table_init(&core->leases, sizeof(struct core_lease), params->max_leases, hash_lease,
		   offsetof(struct core_lease, number_next));
	table_init(&core->ops, sizeof(struct core_op), params->max_ops, NULL, 0);
	table_init(&core->files, sizeof(struct core_file), params->max_files, file_hash,
		   offsetof(struct core_file, hash_next));
	/* Fenced sessions stay without leases: no other limit of their number than the caller's. */
	table_init(&core->sessions, anchor, UINT32_MAX, hash_anchor, link);
	table_init(&core->threads, anchor, params->max_ops, hash_anchor, link);
	table_init(&core->devs, anchor, devs > UINT32_MAX ? UINT32_MAX : (uint32_t)devs,
		   hash_anchor, link);
	return core;
}

void core_free(struct core *core)
{
	if (!core)
		return;
	table_close(&core->leases);
	table_close(&core->ops);
	table_close(&core->files);
	table_close(&core->sessions);
	table_close(&core->threads);
	table_close(&core->devs);
	free(core->heap);
	free(core);
}

/* --- granting --------------------------------------------------------------------------------- */

/* Is an operation waiting or unfinished that overlaps the range? */
static bool operation_on(const struct core *core, uint32_t file, uint64_t start, uint64_t end)
{
	struct tree_walk walk = TREE_WALK(start, end);
	uint32_t index = CORE_NONE;

	while ((index = tree_overlap(&core_ops_by_range, &core->ops, file_at(core, file)->ops,
				     &walk)))
		if (!CORE_SABOTAGE(3) || op_at(core, index)->state != CORE_OP_PASSED)
			return true;
	return false;
}

/* Is one of the session's own leases there being broken? */
static bool own_broken(const struct core *core, uint32_t file, uint32_t session, uint64_t start,
		       uint64_t end)
{
	uint32_t index = lease_of_session(core, file, session, start);

	while (index && lease_at(core, index)->range.start < end) {
		if (lease_at(core, index)->state != CORE_HELD)
			return true;
		index = lease_of_session(core, file, session, lease_at(core, index)->range.end);
	}
	return false;
}

static bool two_file_in_flight(const struct core *core, uint64_t dev)
{
	uint32_t index = anchor_find(&core->devs, dev);

	return index && ((struct core_anchor *)table_at(&core->devs, index))->ops;
}

int core_grant_begin(struct core *core, uint64_t now_ns, uint64_t dev, uint64_t ino, uint64_t start,
		     uint64_t end, uint32_t session, int32_t tgid, uint32_t flags, uint64_t *ticket,
		     bool *two_file)
{
	uint32_t file = file_find(core, dev, ino);
	struct core_lease lease = {
		.range = { .start = start, .end = end },
		.since_ns = now_ns,
		.file = file,
		.session = session,
		.tgid = tgid,
		.state = CORE_PENDING,
		.flags = (uint8_t)flags,
	};
	uint32_t index;
	int err = 0;

	*ticket = 0;
	*two_file = two_file_in_flight(core, dev) && !CORE_SABOTAGE(6);
	if (start >= end || (flags & ~DLP_GRANT_FLAGS))
		return -EINVAL;
	if (*two_file || session_fenced(core, session))
		return -EAGAIN;
	if (file &&
	    (operation_on(core, file, start, end) || own_broken(core, file, session, start, end)))
		return -EAGAIN;
	err = leases_reserve(core, 1);
	if (!err && !file)
		err = records_reserve(core, &core->files, CORE_SAVED_FILE, 1);
	if (!err)
		err = session_reserve(core, session);
	if (!err)
		err = anchor_reserve(&core->devs, dev);
	if (err)
		return err;
	if (!file)
		lease.file = file_make(core, dev, ino);
	file_at(core, lease.file)->armed = true;
	if (!CORE_SABOTAGE(22))
		table_mark(&core->files, lease.file);
	index = lease_make(core, &lease);
	*ticket = lease_at(core, index)->number;
	return 0;
}

/* What a lease's flags become when its holder is granted `added` as well: a part that anything
 * depends on is no mere freeze any more. */
static uint8_t joined_flags(uint8_t held, uint8_t added)
{
	const uint8_t freeze = DLP_GRANT_FREEZE;

	if (CORE_SABOTAGE(9))
		return held | added;
	return (uint8_t)(((held | added) & ~freeze) | (held & added & freeze));
}

/* What it takes to make a pending lease held. */
struct holding {
	uint64_t gaps;	 /* parts that the session does not hold */
	uint64_t splits; /* records for splitting what it holds, where flags change */
	bool broken;	 /* it cannot be: a part is being broken */
};

static struct holding look_at_held(const struct core *core, const struct core_lease *pending)
{
	uint64_t at = pending->range.start;
	struct holding holding = { 0 };

	while (at < pending->range.end) {
		uint32_t index = lease_of_session(core, pending->file, pending->session, at);
		const struct core_lease *held = index ? lease_at(core, index) : NULL;

		if (!held || held->range.start >= pending->range.end) {
			holding.gaps++;
			break;
		}
		holding.gaps += held->range.start > at;
		if (held->state != CORE_HELD)
			holding.broken = true;
		if (joined_flags(held->flags, pending->flags) != held->flags)
			holding.splits += (held->range.start < pending->range.start) +
					  (held->range.end > pending->range.end);
		at = held->range.end;
	}
	return holding;
}

/* Can it become held, and is there room for it? */
static int prepare_hold(struct core *core, uint32_t pending)
{
	const struct core_lease *lease = lease_at(core, pending);
	struct holding holding = look_at_held(core, lease);

	if (holding.broken || session_fenced(core, lease->session))
		return -EAGAIN;
	/* The first gap takes the pending record itself. */
	return leases_reserve(core, holding.splits + holding.gaps - (holding.gaps > 0));
}

/* The part of a held lease in [start, end) gets the flags too. */
static void join(struct core *core, uint32_t index, uint64_t start, uint64_t end, uint8_t added)
{
	uint8_t flags = joined_flags(lease_at(core, index)->flags, added);

	if (flags == lease_at(core, index)->flags)
		return;
	if (lease_at(core, index)->range.start < start)
		index = lease_split(core, index, start);
	if (lease_at(core, index)->range.end > end)
		lease_split(core, index, end);
	lease_at(core, index)->flags = flags;
	if (!CORE_SABOTAGE(23))
		table_mark(&core->leases, index);
}

/* The first gap becomes the pending lease's own record, the others are new. */
static void hold_gap(struct core *core, uint32_t pending, uint32_t *first, uint64_t now_ns,
		     uint64_t start, uint64_t end)
{
	struct core_lease lease;

	if (!*first) {
		lease_hold(core, pending, now_ns, start, end);
		*first = pending;
		return;
	}
	lease = *lease_at(core, pending);
	lease.range.start = start;
	lease.range.end = end;
	lease_make(core, &lease);
}

static void hold(struct core *core, uint32_t pending, uint64_t now_ns)
{
	const struct core_lease grant = *lease_at(core, pending);
	uint64_t at = grant.range.start;
	uint32_t first = CORE_NONE;

	while (at < grant.range.end) {
		uint32_t index = lease_of_session(core, grant.file, grant.session, at);
		uint64_t start = index ? lease_at(core, index)->range.start : UINT64_MAX;
		uint64_t end = index ? lease_at(core, index)->range.end : UINT64_MAX;

		if (start > at) {
			hold_gap(core, pending, &first, now_ns, at,
				 start < grant.range.end ? start : grant.range.end);
			at = start;
			continue;
		}
		join(core, index, grant.range.start, grant.range.end, grant.flags);
		at = end;
	}
	if (!first)
		lease_end(core, pending);
}

int core_grant_end(struct core *core, uint64_t now_ns, uint64_t ticket, bool ok, uint64_t *epoch)
{
	uint32_t pending = lease_find(core, ticket);
	int err = 0;

	if (epoch)
		*epoch = 0;
	if (!pending || lease_at(core, pending)->state != CORE_PENDING)
		return -EAGAIN;
	if (ok)
		err = prepare_hold(core, pending);
	if (ok && !err) {
		core->epoch++;
		hold(core, pending, now_ns);
		if (epoch)
			*epoch = core->epoch;
	} else {
		lease_end(core, pending);
	}
	return err;
}

/* --- giving back ------------------------------------------------------------------------------ */

/* Does the answer with this epoch (NULL: a release) end the lease? */
static bool ends(const struct core_lease *lease, const uint64_t *answer)
{
	if (!answer)
		return true;
	if (lease->revoked_epoch == 0)
		return CORE_SABOTAGE(11);
	return lease->revoked_epoch <= *answer || CORE_SABOTAGE(12);
}

/* The session's leases in the range are gone there: all, or those that the answer ends. */
static int give_back(struct core *core, uint64_t now_ns, uint32_t session, uint32_t file,
		     const struct tree_range *range, const uint64_t *answer)
{
	uint64_t at = range->start;
	uint32_t index = lease_of_session(core, file, session, at);
	int err;

	/* Only one lease can stick out on both sides, and then it is the only one there. */
	if (index && ends(lease_at(core, index), answer) &&
	    lease_at(core, index)->range.start < range->start &&
	    lease_at(core, index)->range.end > range->end) {
		err = leases_reserve(core, 1);
		if (err)
			return err;
		lease_split(core, index, range->end);
	}
	while ((index = lease_of_session(core, file, session, at))) {
		const struct tree_range held = lease_at(core, index)->range;

		if (held.start >= range->end)
			break;
		at = held.end;
		if (!ends(lease_at(core, index), answer))
			continue;
		if (held.start < range->start)
			lease_set_end(core, index, range->start);
		else if (held.end > range->end)
			lease_set_start(core, index, range->end);
		else
			lease_end(core, index);
		if (file_at(core, file)->lease_count == 0)
			break; /* and the record may be gone */
	}
	core_settle(core, now_ns);
	return 0;
}

int core_release(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		 uint64_t start, uint64_t end)
{
	const struct tree_range range = { .start = start, .end = end };
	uint32_t file = file_find(core, dev, ino);

	if (!file || start >= end)
		return 0;
	return give_back(core, now_ns, session, file, &range, NULL);
}

int core_answered(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		  uint64_t start, uint64_t end, uint64_t epoch)
{
	const struct tree_range range = { .start = start, .end = end };
	uint32_t file = file_find(core, dev, ino);

	if (!file || start >= end)
		return 0;
	return give_back(core, now_ns, session, file, &range, &epoch);
}

void core_session_gone(struct core *core, uint64_t now_ns, uint32_t session)
{
	uint32_t anchor = anchor_find(&core->sessions, session), index;

	if (!anchor)
		return;
	/* Keeps the anchor in place while its leases go. */
	((struct core_anchor *)table_at(&core->sessions, anchor))->fenced = true;
	while ((index = ((struct core_anchor *)table_at(&core->sessions, anchor))->leases))
		lease_end(core, index);
	((struct core_anchor *)table_at(&core->sessions, anchor))->fenced = false;
	anchor_put(&core->sessions, anchor);
	core_settle(core, now_ns);
}

void core_fenced(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		 uint64_t start, uint64_t end, bool proven)
{
	uint32_t file = file_find(core, dev, ino), index;

	while (file && (index = lease_of_session(core, file, session, start))) {
		const struct core_lease *lease = lease_at(core, index);
		bool inside = lease->range.start >= start && lease->range.end <= end;
		bool fencing = lease->state == CORE_FENCING || CORE_SABOTAGE(50);
		bool unproven = lease->state == CORE_UNPROVEN;

		if (lease->range.start >= end)
			break;
		start = lease->range.end;
		if (inside && proven && (fencing || unproven))
			lease_end(core, index);
		else if (inside && !proven && fencing)
			lease_unproven(core, index);
		/* with its last lease the file's record may be gone */
		file = file_find(core, dev, ino);
	}
	core_settle(core, now_ns);
}

void core_fence_over(struct core *core, uint32_t session)
{
	uint32_t anchor = anchor_find(&core->sessions, session);

	if (!anchor)
		return;
	if (!CORE_SABOTAGE(51))
		((struct core_anchor *)table_at(&core->sessions, anchor))->fenced = false;
	if (!CORE_SABOTAGE(41))
		table_mark(&core->sessions, anchor);
	anchor_put(&core->sessions, anchor);
}
