/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the core: its records and what its parts offer one another. Not for the rest of the
 * daemon.
 *
 *	table.c     records by index, and a hash over them
 *	tree.c      balanced trees of records
 *	leases.c    one lease record: made, split, trimmed, ended; its place in all that is derived
 *	deadlines.c the heap of deadlines
 *	effects.c   the queue of what the caller must do
 *	core.c      new, free, grants, releases, sessions
 *	breaks.c    attempts, waiting, verdicts, time
 *	look.c      views
 *	save.c      records out, for a journal, and in again
 *	check.c     everything derived against the records, for tests
 *
 * Effects need no memory of their own: a record that has one is linked into the queue and says
 * which kind (`effect`); what the effect says is read from the record when it is taken out. A
 * record that is gone before its effect was taken stays, out of all trees and lists, until then. So
 * no call can lose an effect for want of memory, and core_tick() and the like cannot fail.
 *
 * Saving: whoever changes what core/saved.h has of a record marks it (table_mark()), if nothing it calls
 * does. table_take(), table_give() and effect_*() do.
 *
 * Waiting: an operation hangs on one lease in its way (`blocker`). When that lease is gone, or
 * shrinks off the operation's range, the operation becomes an orphan; core_settle(), at the end of
 * every call, looks for the next lease in its way, or lets it go on.
 */
#ifndef DAXLEASE_CORE_RECORDS_H
#define DAXLEASE_CORE_RECORDS_H

#include "daemon/core/core.h"
#include "daemon/core/sabotage.h"
#include "daemon/core/saved.h"
#include "daemon/core/table.h"
#include "daemon/core/tree.h"

/* Record states beyond those of core.h. */
#define RECORD_FREE 0
#define RECORD_GONE 7 /* waits only for its effect to be taken */

/* core_lease.effect and core_op.effect: no effect, or the kind. */
#define EFFECT_NONE 0
#define EFFECT(kind) (1 + (kind))

/* Who broke a lease, kept with it: the operation may be gone before its holder is told more. */
struct core_who {
	uint32_t cause;
	int32_t tid, tgid;
	uint32_t uid;
	char comm[16];
};

struct core_lease {
	struct tree_range range;
	uint64_t number; /* of a pending one: its ticket */
	uint64_t since_ns, deadline_ns;
	/* Of its newest CORE_REVOKE or CORE_DROP. 0: none, so no answer can end it: held, being
	 * broken, or fenced without having been told to take away what it has. */
	uint64_t revoked_epoch;
	struct tree_node by_range;   /* in file->leases */
	struct tree_node by_session; /* in file->held; not if pending, so that none overlap there */
	uint32_t file;
	uint32_t session;
	int32_t tgid;
	uint32_t session_next, session_prev;
	uint32_t heap_pos; /* 0: no deadline */
	uint32_t waiters;  /* first operation that hangs on it */
	uint32_t number_next;
	uint32_t effect_next;
	uint8_t state; /* enum core_lease_state or RECORD_* */
	uint8_t flags; /* DLP_GRANT_* */
	uint8_t effect;
	bool dropped; /* that newest one was CORE_DROP: the mapping stays */
	union {
		struct core_who who; /* being broken: by whom */
		struct {
			uint32_t next, prev; /* pending: the others on the file system */
		} pending;
	};
};
/* The rest: its place in the heap 4, among the changed ones 4, in the hash 4 to 8. */
_Static_assert(sizeof(struct core_lease) <= 152, "a lease may cost 200 bytes in all");

struct core_op {
	struct tree_range range;
	uint64_t cookie, since_ns, break_time_ns, only_lease;
	struct tree_node by_range; /* in file->ops */
	uint32_t file;
	uint32_t only_session; /* only_lease: the session that held it */
	uint32_t blocker;      /* waiting: the lease it hangs on; CORE_NONE: an orphan */
	uint32_t waiter_next, waiter_prev;
	uint32_t thread_next, thread_prev; /* operations of one thread */
	uint32_t dev_next, dev_prev;	   /* two-file operations of one file system */
	uint32_t effect_next;
	int32_t error; /* of the verdict */
	uint8_t state; /* enum core_op_state or RECORD_* */
	uint8_t own;   /* enum core_own */
	uint8_t effect;
	bool two_file : 1;
	bool answered : 1;
	bool finished : 1; /* before its verdict was taken */
	struct core_who who;
};

struct core_file {
	uint64_t dev, ino;
	uint32_t leases; /* tree by range: pending ones too */
	uint32_t held;	 /* tree by session and range */
	uint32_t ops;	 /* tree by range: waiting and passed */
	uint32_t lease_count, waiting_count;
	uint32_t records; /* leases and operations that name it, gone ones included */
	uint32_t hash_next, effect_next;
	bool armed;  /* something was pending since the last CORE_DISARM */
	bool queued; /* for CORE_DISARM */
};

/* A session, a file system or a thread: what hangs together by one key. Exists while something
 * does, or while it is fenced. */
struct core_anchor {
	uint64_t key;
	uint32_t leases; /* session: all its leases; file system: its pending leases */
	uint32_t ops;	 /* thread: all its operations; file system: its two-file operations */
	uint32_t hash_next;
	bool fenced; /* session: CORE_FENCE is out, until core_session_gone() or core_fence_over() */
};

struct core {
	struct core_params params;
	struct table leases, ops, files;
	struct table sessions, threads, devs; /* of core_anchor */
	uint32_t *heap; /* lease indices, from slot 1; as many slots as the table has */
	uint32_t heap_used, heap_capacity;
	uint32_t orphans; /* operations to settle, linked by waiter_next */
	uint32_t effect_first, effect_last;
	uint64_t last_number;
	uint64_t epoch; /* of the last grant or revocation */
	struct core_counts counts;
	struct core_saved_head saved; /* as it was at the last core_save() */
};

extern const struct tree_kind core_by_range;
extern const struct tree_kind core_by_session;
extern const struct tree_kind core_ops_by_range;

static inline struct core_lease *lease_at(const struct core *core, uint32_t index)
{
	return table_at(&core->leases, index);
}

static inline struct core_op *op_at(const struct core *core, uint32_t index)
{
	return table_at(&core->ops, index);
}

static inline struct core_file *file_at(const struct core *core, uint32_t index)
{
	return table_at(&core->files, index);
}

static inline uint64_t add_saturated(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* --- leases.c --------------------------------------------------------------------------------- */

/* Room for `more` records, in their table and wherever they are saved. 0, -ENOMEM, -ENOLCK, or what
 * core_params.room says. */
int records_reserve(struct core *core, struct table *table, enum core_saved_kind kind,
		    uint64_t more);
/* The same for leases, in everything that grows with them. */
int leases_reserve(struct core *core, uint64_t more);

uint64_t file_hash(const void *record);
uint32_t file_find(const struct core *core, uint64_t dev, uint64_t ino);
uint32_t file_make(struct core *core, uint64_t dev,
		   uint64_t ino); /* after reserving in core->files */
/* A lease or waiting operation of the file is gone: asks for CORE_DISARM if it was the last. */
void file_relax(struct core *core, uint32_t file);
/* A record naming the file is freed: so is the file, if it was the last. */
void file_put(struct core *core, uint32_t file);
void file_free_unused(struct core *core, uint32_t file);

uint32_t anchor_find(const struct table *table, uint64_t key);
uint32_t anchor_make(struct table *table, uint64_t key); /* finds it or makes it; after reserving */
void anchor_put(struct table *table, uint32_t index);	 /* frees it if nothing hangs on it */
int anchor_reserve(struct table *table, uint64_t key);
int session_reserve(struct core *core, uint32_t session);
bool session_fenced(const struct core *core, uint32_t session);

uint32_t lease_find(const struct core *core, uint64_t number);
/* The session's first lease (not pending) on the file that ends behind `offset`. */
uint32_t lease_of_session(const struct core *core, uint32_t file, uint32_t session,
			  uint64_t offset);

/* Makes a lease like *like (its range, file, session, flags, state, times, who, effect) with a
 * number of its own. After reserving. */
uint32_t lease_make(struct core *core, const struct core_lease *like);
/* Splits at `at`, inside the lease: it keeps the left part and its number, the right one is new and
 * is returned. After reserving. Operations that waited only for the right part become orphans. */
uint32_t lease_split(struct core *core, uint32_t index, uint64_t at);
void lease_set_end(struct core *core, uint32_t index, uint64_t end);
void lease_set_start(struct core *core, uint32_t index, uint64_t start);
/* A pending lease becomes held, with this range. */
void lease_hold(struct core *core, uint32_t index, uint64_t now_ns, uint64_t start, uint64_t end);
/* It is gone: so are its deadline and all that is derived; who waited for it becomes an orphan. The
 * record stays if it has an effect. */
void lease_end(struct core *core, uint32_t index);

/* All places of a lease that is not gone, by its fields: in the tables' indices, trees, lists, counts. Its
 * file and its session's anchor are there or reserved. Deadline and effect come after. */
void lease_enter(struct core *core, uint32_t index);

/* --- deadlines.c ------------------------------------------------------------------------------ */

int deadlines_reserve(struct core *core, uint32_t capacity);
void deadline_set(struct core *core, uint32_t lease, uint64_t deadline_ns);
void deadline_clear(struct core *core, uint32_t lease);
uint32_t deadline_first(const struct core *core); /* the lease whose deadline is next */

/* --- effects.c -------------------------------------------------------------------------------- */

/* A record has one effect: a later one takes the place of an earlier that was not taken yet. */
void effect_of_lease(struct core *core, uint32_t lease, enum core_effect_kind kind);
void effect_verdict(struct core *core, uint32_t op, int error);
void effect_disarm(struct core *core, uint32_t file);
/* The record of a lease or operation that is gone and has no effect left. */
void lease_free(struct core *core, uint32_t index);
void op_free(struct core *core, uint32_t index);

/* For core_restore(): the effect it has is linked in. */
void effect_relink_lease(struct core *core, uint32_t lease);
void effect_relink_op(struct core *core, uint32_t op);

/* --- breaks.c --------------------------------------------------------------------------------- */

/* Takes every operation off the lease (all), or those that it is not in the way of any more. */
void waiters_orphan(struct core *core, uint32_t lease, bool all);
/* Is the lease in the way of the operation, wherever their ranges are? */
bool lease_in_the_way(const struct core_op *op, const struct core_lease *lease);
/* All places of an operation that is not gone, by its fields, but that it hangs nowhere. */
void op_enter(struct core *core, uint32_t index);
/* On the lease it waits for; CORE_NONE: among the orphans. */
void op_hang(struct core *core, uint32_t index, uint32_t blocker);
/* The end of a lease being fenced cannot be proven: who waits for it is refused. */
void lease_unproven(struct core *core, uint32_t lease);
/* Every public call that may have made orphans ends with it. */
void core_settle(struct core *core, uint64_t now_ns);

#endif
