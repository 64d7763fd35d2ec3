// SPDX-License-Identifier: LGPL-2.1-or-later
/* The one place that says which messages are well formed. */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>

#define HOLDER (1u << DLP_ROLE_HOLDER)
#define ADMIN (1u << DLP_ROLE_ADMIN)
#define VIEWER (1u << DLP_ROLE_VIEWER)
#define ANY (HOLDER | ADMIN | VIEWER)
#define NEW (1u << 0)

/* clang-format off */
static const struct dlp_rule rules[] = {
	/* opcode              channel               size                            fds  roles   one-way name */
	{ DLP_HELLO,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_hello),        0, 0, NEW,    false, "HELLO" },
	{ DLP_POOL,            DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_pool),         0, 0, ANY,    false, "POOL" },
	{ DLP_GRANT,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_grant),        1, 1, HOLDER, false, "GRANT" },
	{ DLP_RELEASE,         DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_range),        0, 0, HOLDER, true,  "RELEASE" },
	{ DLP_MR_ADD,          DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_mr),           0, 1, HOLDER, true,  "MR_ADD" },
	{ DLP_MR_DEL,          DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_mr),           0, 0, HOLDER, true,  "MR_DEL" },
	{ DLP_QUERY,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_range),        0, 0, HOLDER, false, "QUERY" },
	{ DLP_LIST,            DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_list),         0, 0, ANY,    false, "LIST" },
	{ DLP_STATUS,          DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_head),         0, 0, ANY,    false, "STATUS" },
	{ DLP_BREAK,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_break),        1, 1, ADMIN,  false, "BREAK" },
	{ DLP_LEASE_REVOKE,    DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_lease_revoke), 0, 0, ADMIN,  false, "LEASE_REVOKE" },

	{ DLP_LEASE_FORGET,    DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_lease_revoke), 0, 0, ADMIN,  false, "LEASE_FORGET" },
	{ DLP_STATS,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_head),         0, 0, ANY,    false, "STATS" },
	{ DLP_POOL_STATS,      DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_pool),         0, 0, ANY,    false, "POOL_STATS" },
	{ DLP_WAITING,         DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_list),         0, 0, ANY,    false, "WAITING" },
	{ DLP_WATCH,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_head),         0, 0, ADMIN,  false, "WATCH" },
	{ DLP_DRAIN,           DLP_TO_DAEMON_CALLS,  sizeof(struct dlp_drain),        0, 1, ADMIN,  false, "DRAIN" },

	{ DLP_REVOKED,         DLP_TO_DAEMON_EVENTS, sizeof(struct dlp_range),        0, 0, HOLDER, true,  "REVOKED" },

	{ DLP_HELLO | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_hello_reply),  0, 1, 0, false, "HELLO reply" },
	{ DLP_POOL | DLP_REPLY,         DLP_TO_CLIENT_CALLS, sizeof(struct dlp_pool_reply),   0, 0, 0, false, "POOL reply" },
	{ DLP_GRANT | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_grant_reply),  0, 0, 0, false, "GRANT reply" },
	{ DLP_QUERY | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_query_reply),  0, 0, 0, false, "QUERY reply" },
	{ DLP_LIST | DLP_REPLY,         DLP_TO_CLIENT_CALLS, sizeof(struct dlp_list_reply),   0, 0, 0, false, "LIST reply" },
	{ DLP_STATUS | DLP_REPLY,       DLP_TO_CLIENT_CALLS, sizeof(struct dlp_status_reply), 0, 0, 0, false, "STATUS reply" },
	{ DLP_BREAK | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_break_reply),  0, 0, 0, false, "BREAK reply" },
	{ DLP_LEASE_REVOKE | DLP_REPLY, DLP_TO_CLIENT_CALLS, sizeof(struct dlp_break_reply),  0, 0, 0, false, "LEASE_REVOKE reply" },

	{ DLP_LEASE_FORGET | DLP_REPLY, DLP_TO_CLIENT_CALLS, sizeof(struct dlp_break_reply),  0, 0, 0, false, "LEASE_FORGET reply" },
	{ DLP_STATS | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_stats_reply),  0, 0, 0, false, "STATS reply" },
	{ DLP_POOL_STATS | DLP_REPLY,   DLP_TO_CLIENT_CALLS, sizeof(struct dlp_pool_stats_reply), 0, 0, 0, false, "POOL_STATS reply" },
	{ DLP_WAITING | DLP_REPLY,      DLP_TO_CLIENT_CALLS, sizeof(struct dlp_waiting_reply), 0, 0, 0, false, "WAITING reply" },
	{ DLP_WATCH | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_watch_reply),  0, 0, 0, false, "WATCH reply" },
	{ DLP_DRAIN | DLP_REPLY,        DLP_TO_CLIENT_CALLS, sizeof(struct dlp_drain_reply),  0, 0, 0, false, "DRAIN reply" },

	{ DLP_EV_BREAK,        DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_break),     0, 0, 0,      true,  "EV_BREAK" },
	{ DLP_EV_REVOKE,       DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_break),     0, 0, 0,      true,  "EV_REVOKE" },
	{ DLP_EV_DROP,         DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_break),     0, 0, 0,      true,  "EV_DROP" },
	{ DLP_EV_DONE,         DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_done),      0, 0, 0,      true,  "EV_DONE" },
	{ DLP_EV_POOLS,        DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_pools),     0, 0, 0,      true,  "EV_POOLS" },
	{ DLP_EV_WATCH,        DLP_TO_CLIENT_EVENTS, sizeof(struct dlp_ev_watch),     0, 0, 0,      true,  "EV_WATCH" },
};
/* clang-format on */

const struct dlp_rule *dlp_rule(enum dlp_channel channel, uint16_t opcode)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].channel == channel && rules[i].opcode == opcode)
			return &rules[i];
	}
	return NULL;
}

static bool range_ok(uint64_t start, uint64_t end)
{
	return start < end;
}

/* A file offset fits loff_t: what a kernel would not take cannot be leased. */
static bool file_range_ok(uint64_t start, uint64_t end)
{
	return range_ok(start, end) && end <= INT64_MAX;
}

static int check_hello(const void *packet)
{
	struct dlp_hello m;

	memcpy(&m, packet, sizeof(m));
	if (m.magic != DLP_MAGIC || m.pad)
		return -EBADMSG;
	if (m.major == DLP_MAJOR && (m.role < DLP_ROLE_HOLDER || m.role > DLP_ROLE_VIEWER))
		return -EBADMSG;
	return 0;
}

static int check_pool(const void *packet)
{
	struct dlp_pool m;

	memcpy(&m, packet, sizeof(m));
	return m.pad ? -EBADMSG : 0;
}

static int check_grant(const void *packet)
{
	struct dlp_grant m;

	memcpy(&m, packet, sizeof(m));
	if (m.pad || (m.flags & ~DLP_GRANT_FLAGS) || !file_range_ok(m.start, m.end))
		return -EBADMSG;
	return 0;
}

static int check_range(const void *packet)
{
	struct dlp_range m;

	memcpy(&m, packet, sizeof(m));
	return file_range_ok(m.start, m.end) ? 0 : -EBADMSG;
}

/* What was granted is named by its range; only the answer to a revocation says which one it answers. */
static int check_plain_range(const void *packet)
{
	struct dlp_range m;

	memcpy(&m, packet, sizeof(m));
	return m.epoch ? -EBADMSG : check_range(packet);
}

static int check_mr_add(const void *packet)
{
	struct dlp_mr m;

	memcpy(&m, packet, sizeof(m));
	if (m.pad || (m.flags & ~DLP_MR_FLAGS) || !file_range_ok(m.start, m.end))
		return -EBADMSG;
	if ((m.flags & DLP_MR_BEGIN) && (m.handle || m.lkey || m.rkey))
		return -EBADMSG;
	return 0;
}

static int check_mr_del(const void *packet)
{
	struct dlp_mr m;

	memcpy(&m, packet, sizeof(m));
	return m.pad || m.flags || m.dev || m.ino || m.start || m.end ? -EBADMSG : 0;
}

static int check_drain(const void *packet, unsigned fds)
{
	struct dlp_drain m;

	memcpy(&m, packet, sizeof(m));
	if ((m.flags & ~DLP_DRAIN_FLAGS) || m.flags == DLP_DRAIN_FLAGS)
		return -EBADMSG;
	return (m.pool == DLP_DRAIN_FILE) == (fds == 1) ? 0 : -EBADMSG;
}

static int check_break(const void *packet)
{
	struct dlp_break m;

	memcpy(&m, packet, sizeof(m));
	return range_ok(m.start, m.end) ? 0 : -EBADMSG;
}

/* What an opcode's fields must be, beyond its size. */
static int check_body(uint16_t opcode, const void *packet, unsigned fds)
{
	switch (opcode) {
	case DLP_HELLO:
		return check_hello(packet);
	case DLP_POOL:
	case DLP_POOL_STATS:
		return check_pool(packet);
	case DLP_GRANT:
		return check_grant(packet);
	case DLP_RELEASE:
	case DLP_QUERY:
		return check_plain_range(packet);
	case DLP_REVOKED:
		return check_range(packet);
	case DLP_MR_ADD:
		return check_mr_add(packet);
	case DLP_MR_DEL:
		return check_mr_del(packet);
	case DLP_BREAK:
		return check_break(packet);
	case DLP_DRAIN:
		return check_drain(packet, fds);
	default:
		return 0;
	}
}

/* Strings from the daemon end inside their field: a client prints them. */
static int check_strings(uint16_t opcode, const void *packet)
{
	union {
		struct dlp_pool_reply pool;
		struct dlp_list_reply list;
		struct dlp_status_reply status;
		struct dlp_ev_break broken;
		struct dlp_waiting_reply waiting;
		struct dlp_pool_stats_reply stats;
		struct dlp_ev_watch watch;
	} m;

#define ENDS(field) (memchr((field), 0, sizeof(field)) != NULL)
	switch (opcode) {
	case DLP_POOL | DLP_REPLY:
		memcpy(&m.pool, packet, sizeof(m.pool));
		return ENDS(m.pool.name) && ENDS(m.pool.fstype) && ENDS(m.pool.path) && ENDS(m.pool.reason)
			       ? 0
			       : -EBADMSG;
	case DLP_LIST | DLP_REPLY:
		memcpy(&m.list, packet, sizeof(m.list));
		return ENDS(m.list.comm) && ENDS(m.list.pool) && ENDS(m.list.path) ? 0 : -EBADMSG;
	case DLP_STATUS | DLP_REPLY:
		memcpy(&m.status, packet, sizeof(m.status));
		return ENDS(m.status.version) && ENDS(m.status.kernel) ? 0 : -EBADMSG;
	case DLP_WAITING | DLP_REPLY:
		memcpy(&m.waiting, packet, sizeof(m.waiting));
		return ENDS(m.waiting.comm) && ENDS(m.waiting.pool) && ENDS(m.waiting.path) ? 0 : -EBADMSG;
	case DLP_POOL_STATS | DLP_REPLY:
		memcpy(&m.stats, packet, sizeof(m.stats));
		return ENDS(m.stats.name) ? 0 : -EBADMSG;
	case DLP_EV_WATCH:
		memcpy(&m.watch, packet, sizeof(m.watch));
		return ENDS(m.watch.comm) && ENDS(m.watch.breaker_comm) && ENDS(m.watch.pool) && ENDS(m.watch.path)
			       ? 0
			       : -EBADMSG;
	case DLP_EV_BREAK:
	case DLP_EV_REVOKE:
	case DLP_EV_DROP:
		memcpy(&m.broken, packet, sizeof(m.broken));
		/* the answer repeats it */
		return ENDS(m.broken.comm) && file_range_ok(m.broken.start, m.broken.end) ? 0 : -EBADMSG;
	default:
		return 0;
	}
#undef ENDS
}

int dlp_validate(enum dlp_channel channel, uint32_t role, const void *packet, size_t size, unsigned fds)
{
	const struct dlp_rule *rule;
	struct dlp_head head;
	bool to_daemon = channel == DLP_TO_DAEMON_CALLS || channel == DLP_TO_DAEMON_EVENTS;

	if (size < sizeof(head))
		return -EBADMSG;
	memcpy(&head, packet, sizeof(head));
	rule = dlp_rule(channel, head.opcode);
	if (!rule || head.size != size || size != rule->size || head.flags)
		return -EBADMSG;
	if (fds < rule->fds_min || fds > rule->fds_max)
		return -EBADMSG;
	if (!to_daemon)
		return head.error < 0 ? -EBADMSG : check_strings(head.opcode, packet);
	/* A holder says with an error that it could not take everything away; nothing else has one. */
	if (head.error < 0 || (head.error && head.opcode != DLP_REVOKED))
		return -EBADMSG;
	if ((role == 0) != (head.opcode == DLP_HELLO))
		return -EPROTO;
	if (role && !(rule->role_mask & (1u << role)))
		return -EACCES;
	return check_body(head.opcode, packet, fds);
}
