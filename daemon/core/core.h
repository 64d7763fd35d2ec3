/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lease core: who holds what, who waits for it, and when they may go on. Pure: no I/O, no
 * clock, no libevent; time and facts come in as arguments, effects go out as values
 * (core_next_effect). Everything that must never go wrong is decided here. May include: libc,
 * proto/protocol.h (enums only).
 *
 * Invariants, checked by tests/unit/core_property after every step:
 *   1. no verdict 0 ("go on") while an overlapping lease of another holder exists in any state;
 *   2. no lease comes to be (pending or held) that overlaps an operation waiting, or let through
 *      and not finished, nor while a two-file operation is in flight on that file system;
 *   3. every waiting operation is answered at latest at break time + margin + fence time: with 0,
 *      or with -EBUSY if the end of a lease cannot be proven by then. The break time is the longest
 *      among the operations on the range. One exception: where an operation of the holder's own
 *      process (CORE_OWN_DROP) waits for the answer to a CORE_DROP and another comes to the same
 *      part, a second margin begins: 2 * margin + fence time for that own operation, counted from
 *      its attempt, if that is longer; margin + fence time for the other, counted from its own;
 *   4. the state is flat, fixed-size records (core_lease, core_op, core_file): what is derived
 *      (trees, heap, lists) is rebuilt from them;
 *   5. what ends by the answer to a CORE_DROP, its mapping still there, lets nobody on but drops by
 *      the holder's own process.
 *
 * A session's leases on one file never overlap each other: a range is held or not. A break touches
 * only the part of a lease in its range: the record is split at the borders, the rest stays held.
 *
 * All times: uint64_t nanoseconds of CLOCK_MONOTONIC. Ranges: bytes, [start, end).
 * Nothing here blocks. Functions that can need memory say -ENOMEM (or -ENOLCK: a table is at its
 * limit) and have then changed nothing. Effects need no memory of their own (records.h), so none is
 * ever lost.
 */
#ifndef DAXLEASE_CORE_H
#define DAXLEASE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/protocol.h"

struct core;

#define CORE_NONE 0u /* no record: indices start at 1 */

struct core_params {
	uint64_t margin_ns; /* the holder's time to answer a revocation; at least 1 */
	uint64_t fence_ns;  /* the time to prove its end after that; at least 1 */
	uint32_t max_leases, max_ops, max_files; /* the tables grow up to there */
	/* Called by what can fail for want of memory, before it changes anything: room for the saved
	 * records of this kind (core/saved.h) up to this index, wherever they go. 0, or the error that
	 * the call then returns. NULL: nothing is saved. */
	int (*room)(void *room_arg, unsigned kind, uint32_t index);
	void *room_arg;
};

enum core_lease_state {
	CORE_PENDING = 1, /* being checked (guard armed, block map looked at); not granted */
	CORE_HELD,
	CORE_BREAKING, /* holder told; deadline_ns */
	CORE_REVOKING, /* CORE_REVOKE or CORE_DROP is out; deadline_ns = when it is fenced */
	CORE_FENCING,  /* CORE_FENCE is out; deadline_ns = when breakers are refused */
	CORE_UNPROVEN, /* the fence had its time: breakers are refused until the session is gone */
};

/* What an operation does to leases of its own process (C12). */
enum core_own {
	CORE_OWN_LIKE_ANY, /* opaque, an administrator, or not its own: break it as by anybody */
	CORE_OWN_EXEMPT,   /* write(2) into allocated blocks: leaves it alone */
	/* truncate, punch: the touched part ends at once, CORE_DROP, its mapping may stay. But
	 * CORE_REVOKE, at once, if it is being broken for another operation already. And if another
	 * operation comes before the answer to CORE_DROP, then its part is revoked anew, at once
	 * (CORE_REVOKE, a new epoch and deadline), since that one cannot go on while there is a
	 * mapping. If it is being fenced by then, no answer ends it any more. */
	CORE_OWN_DROP,
};

enum core_op_state {
	CORE_OP_WAITING = 1,
	CORE_OP_PASSED, /* let through, not known to have finished */
};

/* An operation that may change a block map. `cookie` is the caller's: the guard's slot, or an
 * administrator's request. */
struct core_op_in {
	uint64_t dev, ino;
	uint64_t start, end; /* widened already; end UINT64_MAX: everything behind start */
	uint64_t cookie;
	uint64_t break_time_ns; /* 0: revoke now, also what is being broken already */
	int32_t tid, tgid;	/* tid 0: an administrator (unless `answered`). A thread that cannot
				 * be named from here (another pid namespace's) is -1: it is held
				 * off like any, owns nothing */
	uint32_t uid;
	uint32_t cause; /* enum dlp_cause */
	enum core_own own;
	bool two_file; /* clone, dedupe, copy, or not known: no grant on the file system */
	/* The guard has let it through already (unleased inode): enters as CORE_OP_PASSED, gets no
	 * verdict, cancels pending grants, breaks nothing that is held. */
	bool answered;
	/* != 0: touches no lease but this number and what it is split into (an administrator's
	 * revoke, tid 0). No such lease there: a verdict at once. */
	uint64_t only_lease;
	/* != 0 (-EAGAIN, -ETXTBSY): it shall not wait. What is in its way is broken all the same, and if
	 * a lease that does not end by its own process's CORE_DROP is left, it is refused with this at
	 * once: the caller's thread holds what others need (an open that truncates: the file system's
	 * freeze protection), or there are too many waiting. Who tries again later gets on. */
	int32_t deny;
	char comm[16];
};

enum core_effect_kind {
	CORE_TELL,    /* send DLP_EV_BREAK to session: file, range, op; deadline_ns */
	CORE_REVOKE,  /* send DLP_EV_REVOKE; it has until deadline_ns to answer. 0: a freeze
		       * (DLP_GRANT_FREEZE), gone already, nothing need be answered */
	CORE_DROP,    /* send DLP_EV_DROP; same; the mapping stays. CORE_REVOKE may follow */
	CORE_FENCE,   /* end from outside what the session was not answering for: the whole session,
		       * then core_session_gone(), or the ranges in CORE_FENCING, then
		       * core_fenced() for each and core_fence_over(). Once a session until
		       * core_session_gone() or core_fence_over(); the range is one of them */
	CORE_VERDICT, /* answer the operation `cookie`: error 0, -EBUSY, or its `deny`. With 0 it is
		       * then CORE_OP_PASSED and core_op_finished() is owed; else, or for an
		       * administrator, its record is gone */
	CORE_DISARM,  /* nothing is held, pending or waiting on the file any more: the guard can let
		       * go of it. Comes after all verdicts of the file. Only for files that had a
		       * grant begun */
	CORE_CANCELLED, /* a pending grant lost against an operation: answer it EAGAIN; grant = its
			 * ticket */
};

struct core_effect {
	enum core_effect_kind kind;
	uint32_t session;
	uint64_t dev, ino, start, end;
	uint64_t deadline_ns;
	uint64_t grant; /* CORE_CANCELLED */
	/* CORE_TELL, CORE_REVOKE, CORE_DROP: no grant with a higher one is meant. Of the last two
	 * it is the name: for core_answered(). */
	uint64_t epoch;
	uint64_t op_cookie; /* CORE_VERDICT */
	int32_t error;
	bool finished; /* CORE_VERDICT: the thread died waiting; answer to free the guard's slot, no
			* core_op_finished() is owed (it was what caused this) */
	/* who breaks: for notices and logs (CORE_TELL, CORE_REVOKE, CORE_DROP, CORE_FENCE,
	 * CORE_VERDICT) */
	uint32_t cause;
	int32_t tid, tgid;
	uint32_t uid;
	char comm[16];
};

/* NULL: no memory, or no room to save it. */
struct core *core_new(const struct core_params *params);
void core_free(struct core *core);

/* The next effect, oldest first; false: none left. Drain after every call below: a record says only
 * the latest of its effects. Adjoining notices to one session come as one. */
bool core_next_effect(struct core *core, struct core_effect *effect);

/*
 * A grant in two steps, since the block map is looked at in between. begin makes a pending lease:
 * from then on every attempt on the range is seen. 0 and *ticket (never 0), or
 *   -EAGAIN  an operation on the range waits or is unfinished, a lease of this session there is
 *            being broken, the session is being fenced, or (*two_file set) a
 *            two-file operation is in flight on the file system
 *   -ENOLCK  a table is full; -ENOMEM; -EINVAL: empty range, unknown flags
 * end: ok makes it held (only the parts the session did not hold already become new leases; the
 * parts it held get the flags too, but stay a freeze only if both are); !ok drops it: 0.
 *   0, or
 *   -EAGAIN  an attempt on the range, or a two-file one on the file system, came meanwhile (it
 *            is gone; CORE_CANCELLED was emitted at that time, and the ticket is dead: calling end
 *            with it is harmless and says -EAGAIN), or the session was fenced or is gone (no
 *            CORE_CANCELLED)
 *   -ENOMEM, -ENOLCK (it is gone)
 * tgid: the holder's process. flags: DLP_GRANT_*. *epoch (may be NULL): the place of this grant in
 * the order of all grants and revocations, from 1; 0 if there is none.
 */
int core_grant_begin(struct core *core, uint64_t now_ns, uint64_t dev, uint64_t ino, uint64_t start,
		     uint64_t end, uint32_t session, int32_t tgid, uint32_t flags, uint64_t *ticket,
		     bool *two_file);
int core_grant_end(struct core *core, uint64_t now_ns, uint64_t ticket, bool ok, uint64_t *epoch);

/*
 * release: the holder gives back (DLP_RELEASE) a range: every part of its leases in it is gone, in
 * whatever state. Pending ones are not touched. answered: the holder has taken a range away
 * (DLP_REVOKED), as the CORE_REVOKE or CORE_DROP with this epoch told it to: the parts in it end
 * whose newest one is not later, also if they are being fenced by now. What is held or only being
 * broken stays, and what was revoked anew since. A hole in the middle of a lease splits it:
 * -ENOMEM/-ENOLCK; trimming and ending cannot fail. Empty ranges and unknown files: 0.
 */
int core_release(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		 uint64_t start, uint64_t end);
int core_answered(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		  uint64_t start, uint64_t end, uint64_t epoch);

/* The holder is proven gone, its MRs with it: all its leases are, and its pending grants (no
 * CORE_CANCELLED). The number may be used again. */
void core_session_gone(struct core *core, uint64_t now_ns, uint32_t session);

/* The holder failed to answer properly (DLP_REVOKED with an error, broken protocol, does not read):
 * its leases that are being broken go to CORE_FENCING at once, and CORE_FENCE comes if there was
 * one. Freezes are left to their deadline. */
void core_session_failed(struct core *core, uint64_t now_ns, uint32_t session);

/*
 * What came of fencing a range of the session. `proven`: nothing of the session reaches it any more:
 * its leases that lie in the range and are CORE_FENCING or CORE_UNPROVEN end. Else that cannot be
 * had: those that are CORE_FENCING become CORE_UNPROVEN now, not at their deadline. Leases that
 * stick out of the range, and those in other states, are left alone.
 */
void core_fenced(struct core *core, uint64_t now_ns, uint32_t session, uint64_t dev, uint64_t ino,
		 uint64_t start, uint64_t end, bool proven);
/* Nobody fences the session at the moment: it can have leases again, and the next one to be fenced
 * has a CORE_FENCE of its own. */
void core_fence_over(struct core *core, uint32_t session);

/*
 * Somebody is about to change a block map. Emits CORE_VERDICT at once if nothing is in the way, or
 * (-EBUSY, and nobody is told) if a lease in the way is CORE_UNPROVEN. 0 and *op, or
 * -ENOMEM/-ENOLCK/-EINVAL (empty range; only_lease with a tid): the caller refuses the operation.
 * *leases: how many are in its way, those that are being broken already included; 0 if it was
 * refused with -EBUSY.
 */
int core_attempt(struct core *core, uint64_t now_ns, const struct core_op_in *in, uint32_t *op,
		 uint64_t *leases);

/* Operation `op` (a record index) that was let through has finished. Or its thread died while it
 * waited: then a CORE_VERDICT with `finished` set comes, the only one; the leases it broke go on to
 * their end (C16). */
void core_op_finished(struct core *core, uint64_t now_ns, uint32_t op);

/* The two-file operation `op`, let through, is past the time in which it could share extents of a file
 * nobody knows: from now on it stands in the way of grants on its own range only, until it has
 * finished. Others: nothing. */
void core_op_one_file(struct core *core, uint32_t op);

/* When core_tick() wants to be called: UINT64_MAX if never. tick does everything that is due by
 * now. */
uint64_t core_deadline(const struct core *core);
void core_tick(struct core *core, uint64_t now_ns);

/* --- outliving the process -------------------------------------------------------------------- */

/* A record of core/saved.h; NULL: there is none (any more) with this index. */
typedef void core_put(void *arg, unsigned kind, uint32_t index, const void *record);
/* The first record of the kind behind *index, which becomes its index; NULL: none. Aligned to 8 bytes;
 * ascending. */
typedef const void *core_next(void *arg, unsigned kind, uint32_t *index);

/*
 * Hands out what changed since the last call; `all`: everything there is (for a new journal). Cannot
 * fail, and changes nothing else.
 *
 * The rule: save and commit after an input, before its effects are carried out or its answer leaves, and
 * again before the next effect if carrying one out led to a call here. A message is taken from its
 * socket only after that. So what is restored is never newer than what anybody was told, and both
 * inputs and effects can come again. Then, of what is the same as before:
 *   core_release        nothing is left to give back. Consume it before a later message of its session is
 *                       executed, or it takes what was granted since
 *   core_answered       ends nothing that was revoked since: those epochs are higher
 *   core_grant_begin,   a grant of what is held already: no new lease, a new epoch, and flags that are
 *   core_grant_end      joined twice are the same. But it can be -EAGAIN now, where it had become held: a
 *                       lease that the holder does not know of, until it is broken or the session is
 *                       gone. Look at what the session holds there first. Tickets from before a crash
 *                       are dead (-EAGAIN), and never those of another
 *   core_attempt        would be a second operation: look for its cookie first (core_list_ops)
 *   core_op_finished,   the index may be another's by now: match the cookie. Safe with indices from
 *   core_op_one_file    core_list_ops
 *   core_session_gone   nothing is left. The number may only be given anew when no saved effect names it:
 *                       not before the effects after core_restore() are drained
 *   core_session_failed fences what was revoked since, too; of a session that is to be fenced anyway
 *   core_fenced         only of the fence that it came of: the range may be fenced anew since. After a
 *                       crash begin the fence again, and forget what the old one found
 *   core_fence_over     nothing; lost, the session stays fenced until core_list_fenced() says so
 *   core_tick           nothing that is not due
 * and of effects:
 *   CORE_TELL, CORE_REVOKE, CORE_DROP  with the epoch they had. A holder that has let go says so again
 *   CORE_FENCE          killing twice is killing once
 *   CORE_VERDICT        its event may be answered, and its number another's: answer by what names the
 *                       event for ever (the cookie), and take "no such event" for answered
 *   CORE_DISARM         nothing is there to let go of, or it is idle still
 *   CORE_CANCELLED      does not come again: its grant is gone without it
 */
void core_save(struct core *core, bool all, core_put *put, void *arg);

/*
 * A core made of what was saved, with the same indices of operations, and with the effects that were not
 * taken. 0, -ENOMEM, -EBADMSG (no core can have saved that), or what params->room says. More records
 * than the parameters allow are kept. Save it before anything else, drain it before new sessions come;
 * CORE_FENCE does not come again once it was taken: see core_list_fenced().
 *
 * Pending grants are gone. What is being revoked is asked for again (the answer may have come to
 * nobody), and has its margin again from now_ns, what is being fenced its fence time: the time in which
 * nobody listened is not the holder's. So each restart adds so much to what invariant 3 allows.
 */
int core_restore(struct core **core, const struct core_params *params, uint64_t now_ns,
		 core_next *next, void *arg);

/* Is CORE_FENCE out for the session? The first such session behind *cursor (0: from the start). */
bool core_session_fenced(const struct core *core, uint32_t session);
bool core_list_fenced(const struct core *core, uint32_t *cursor, uint32_t *session);

/* --- looking ---------------------------------------------------------------------------------- */

/* The records: what a journal would hold. */
struct core_lease_view {
	uint64_t number; /* never reused */
	uint64_t dev, ino, start, end, since_ns, deadline_ns;
	uint32_t session, flags;
	enum core_lease_state state;
};
struct core_op_view {
	uint32_t op;
	struct core_op_in in;
	enum core_op_state state;
	uint64_t since_ns; /* waiting: of the attempt; passed: of the verdict */
};

/* The first lease behind slot *cursor (0: from the start), pending ones left out; advances *cursor.
 * false: none. */
bool core_list(const struct core *core, uint32_t *cursor, struct core_lease_view *view);
/* The same for one session's leases, in no order, and looking at nobody else's: a step takes
 * constant time (but passes over its pending ones). *cursor 0: from the start; valid only while
 * nothing changes. */
bool core_list_session(const struct core *core, uint32_t session, uint32_t *cursor,
		       struct core_lease_view *view);
/* The same for one session's leases on one file, by range: the first that ends behind *offset. */
bool core_list_session_file(const struct core *core, uint32_t session, uint64_t dev, uint64_t ino,
			    uint64_t *offset, struct core_lease_view *view);
/* What is leased of a file, by anybody: the next part of it that ends behind *offset, which becomes its
 * end. Only start and end are set, and parts that overlap are cut or skipped. */
bool core_list_file(const struct core *core, uint64_t dev, uint64_t ino, uint64_t *offset,
		    struct core_lease_view *view);
/* The operations in the way of a grant of this range: overlapping passed ones, and two-file ones of
 * the file system (waiting ones too: see state); fills at most max, returns how many. */
unsigned core_ops_in_the_way(const struct core *core, uint64_t dev, uint64_t ino, uint64_t start,
			     uint64_t end, struct core_op_view *views, unsigned max);
/* All passed operations of one thread (a new event by it proves that they finished; not so for tid
 * -1), or all (tid 0). */
unsigned core_ops_passed(const struct core *core, int32_t tid, struct core_op_view *views,
			 unsigned max);
/* The first operation, waiting or passed, behind *cursor (0: from the start). */
bool core_list_ops(const struct core *core, uint32_t *cursor, struct core_op_view *view);
/* The first waiting operation behind slot *cursor (0: from the start), which it advances; *lease: the
 * number of one lease it waits for. false: none. */
bool core_list_waiting(const struct core *core, uint32_t *cursor, struct core_op_view *view,
		       uint64_t *lease);
bool core_lease_by_number(const struct core *core, uint64_t number, struct core_lease_view *view);
/* Has the file a lease, pending grant or waiting operation? Has the session a lease, or pending? */
bool core_file_busy(const struct core *core, uint64_t dev, uint64_t ino);
bool core_session_holds(const struct core *core, uint32_t session);

struct core_counts {
	uint64_t leases, waiting, passed, files;
	/* Since core_new(): attempts with a lease in their way; CORE_REVOKE of a lease, at its
	 * deadline or at once; sessions fenced; operations refused. */
	uint64_t breaks, revoked, fenced, refused;
};
void core_counts(const struct core *core, struct core_counts *counts);

/* Walks everything derived and compares it with the records; NULL, or what is wrong. For tests. */
const char *core_check(const struct core *core);

#endif
