/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The language daxleased, its clients and its administrators speak.
 *
 * Transport: SOCK_SEQPACKET on a Unix socket, one message a packet, native byte order (both ends are on
 * one machine), fixed layouts without implicit padding. Opcode numbers are never reused.
 *
 * Each client has two channels:
 *   calls   the connection it made. A request is answered by one reply (the same opcode with
 *           DLP_REPLY set); a one-way message is never answered. The calling thread waits for its reply.
 *           A daemon that was killed and came back may send a reply again: one with an older seq than
 *           the request's is passed over.
 *   events  a socket whose end the daemon passes with the HELLO reply. Daemon to client: notices and
 *           revocations. Client to daemon: only DLP_REVOKED.
 *
 * A file is named by (dev, ino) as fstat(2) shows them: a client knows these before it asks, so that an
 * event which overtakes a reply still finds its mapping. Ranges are bytes, [start, end), end exclusive.
 * Durations are nanoseconds. Errors in replies are positive errno values.
 *
 * What is checked where: proto/validate.c checks everything that can be seen in the message alone
 * (size, descriptors, role, unknown flags, overflow); the handlers check what needs state.
 */
#ifndef DAXLEASE_PROTOCOL_H
#define DAXLEASE_PROTOCOL_H

#include <stdint.h>

#define DLP_MAGIC 0x6c786164u /* "daxl" */
#define DLP_MAJOR 1
#define DLP_MINOR 1 /* since 1: from DLP_STATS on */

#define DLP_REPLY 0x8000u     /* set in the opcode of a reply */
#define DLP_MAX_SIZE 8192u    /* no message is larger, header included */
#define DLP_MAX_FDS 1	      /* no message carries more descriptors */
#define DLP_MAX_PATH 4096u
#define DLP_NAME_SIZE 64
#define DLP_SOCKET_DEFAULT "/run/daxlease/daxleased.sock"

enum dlp_opcode {
	/* calls: client to daemon */
	DLP_HELLO = 1,	  /* request, first message of a connection          -> dlp_hello_reply + events socket */
	DLP_POOL = 2,	  /* request: one pool by index                      -> dlp_pool_reply */
	DLP_GRANT = 3,	  /* request + descriptor of the file: take a lease  -> dlp_grant_reply */
	DLP_RELEASE = 4,  /* one-way: give back a range */
	DLP_MR_ADD = 5,	  /* one-way [+ uverbs descriptor]: an MR depends on a range */
	DLP_MR_DEL = 6,	  /* one-way: that MR is gone */
	DLP_QUERY = 7,	  /* request: how one's own lease stands             -> dlp_query_reply */

	/* calls: administration */
	DLP_LIST = 16,	  /* request: one lease after a cursor               -> dlp_list_reply */
	DLP_STATUS = 17,  /* request: counters                               -> dlp_status_reply */
	DLP_BREAK = 18,	  /* request + O_PATH descriptor: break a range      -> dlp_break_reply, later DLP_EV_DONE */
	DLP_LEASE_REVOKE = 19, /* request: revoke one lease now              -> dlp_break_reply, later DLP_EV_DONE */
	DLP_STATS = 24,	     /* request: what all pools have in common       -> dlp_stats_reply */
	DLP_POOL_STATS = 25, /* request: one pool's counters                 -> dlp_pool_stats_reply */
	DLP_WAITING = 26,    /* request: one waiting breaker after a cursor  -> dlp_waiting_reply */
	DLP_WATCH = 27,	     /* request: DLP_EV_WATCH from now on            -> dlp_watch_reply */
	DLP_DRAIN = 28,	     /* request [+ O_PATH descriptor]: close, break  -> dlp_drain_reply */
	DLP_LEASE_FORGET = 29, /* request: end what a dead holder has, of which nothing proves that it is over
				* -> dlp_break_reply, id 0 */

	/* events channel */
	DLP_EV_BREAK = 32,  /* to holder: notice, time is running (C14) */
	DLP_EV_REVOKE = 33, /* to holder: take it away now; answer with DLP_REVOKED (C17) */
	DLP_EV_DROP = 34,   /* to holder: its own operation ends this part: destroy MRs, keep the mapping; answer (C12) */
	DLP_EV_DONE = 35,   /* to administrator: the break he asked for has ended */
	DLP_EV_POOLS = 36,  /* to everybody: the list of pools changed, ask again */
	DLP_EV_WATCH = 40,  /* to administrator who watches: something has happened */
	DLP_REVOKED = 37,   /* holder to daemon, one-way: nothing of ours reaches this range any more */
};

struct dlp_head {
	uint16_t opcode;
	uint16_t flags; /* none defined; must be 0 */
	uint32_t size;	/* of the whole message, this header included */
	uint32_t seq;	/* the requester's, each 1 more than the last; echoed in the reply; 0 in events and
			 * one-way messages */
	int32_t error;	/* replies: 0 or a positive errno; 0 in requests. A reply with an error has its full
			 * size; fields that make no sense then are 0 */
};

/* --- HELLO ------------------------------------------------------------------------------------------- */

enum dlp_role {
	DLP_ROLE_HOLDER = 1, /* takes leases; anybody may */
	DLP_ROLE_ADMIN = 2,  /* may list all, break, revoke; uid 0 or the administrators' group, else EACCES */
	DLP_ROLE_VIEWER = 3, /* status, pools, list of one's own leases */
};

enum dlp_features {
	DLP_FEATURE_MR_BEGIN = 1u << 0, /* the daemon knows DLP_MR_BEGIN */
};

struct dlp_hello {
	struct dlp_head head;
	uint32_t magic;
	uint16_t major;
	uint16_t minor;
	uint64_t features; /* offered by the client */
	uint32_t role;
	uint32_t pad;
};

/* A wrong major version is answered with EPROTONOSUPPORT and the daemon's own version, then the
 * connection is closed. */
struct dlp_hello_reply {
	struct dlp_head head;
	uint16_t major;
	uint16_t minor;
	uint32_t pools; /* number of pools now */
	uint64_t features; /* of the daemon: enum dlp_features */
	uint64_t session;
};

/* --- pools ------------------------------------------------------------------------------------------- */

enum dlp_pool_type { DLP_POOL_FSDAX = 1, DLP_POOL_MOUNT = 2, DLP_POOL_DIRECTORY = 3, DLP_POOL_DEVDAX = 4 };
enum dlp_pool_state { DLP_POOL_ABSENT = 1, DLP_POOL_READY = 2, DLP_POOL_REFUSED = 3 };
enum dlp_label {
	DLP_LABEL_ADVISORY = 1,
	DLP_LABEL_KERNEL_LEASE = 2,
	DLP_LABEL_ENFORCED = 3,
	/* Or'ed to one of these: a holder that does not answer is left alone (fence = report), so nothing
	 * bounds how long breakers are refused. */
	DLP_LABEL_UNBOUNDED = 0x100,
};

struct dlp_pool {
	struct dlp_head head;
	uint32_t index; /* 0 .. pools-1; past the end: ENOENT */
	uint32_t pad;
};

struct dlp_pool_reply {
	struct dlp_head head;
	uint32_t pools; /* number of pools now */
	uint32_t type;	/* enum dlp_pool_type */
	uint32_t state; /* enum dlp_pool_state */
	uint32_t label; /* enum dlp_label: how leases here are enforced */
	uint64_t dev;	/* st_dev of its files, of DLP_POOL_DEVDAX st_rdev; 0 while absent */
	uint64_t break_time_ns;
	uint64_t leases;
	char name[DLP_NAME_SIZE];
	char fstype[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH]; /* terminated */
	char reason[256];	 /* why it is absent or refused, in words; terminated */
};

/* --- leases ------------------------------------------------------------------------------------------ */

enum dlp_grant_flags {
	DLP_GRANT_WRITE = 1u << 0,  /* the holder will write through it: needs a descriptor open for writing */
	DLP_GRANT_FREEZE = 1u << 1, /* no mapping or MR depends on it (C6): at the deadline it just ends, its
				     * holder is told but need not answer */
};
#define DLP_GRANT_FLAGS (DLP_GRANT_WRITE | DLP_GRANT_FREEZE)

/* Why a grant was refused; the words for people are in proto/reason.c, one place. */
enum dlp_reason {
	DLP_REASON_NONE = 0,
	DLP_REASON_NOT_IN_POOL,	  /* EOPNOTSUPP */
	DLP_REASON_POOL_ABSENT,	  /* EOPNOTSUPP */
	DLP_REASON_NOT_REGULAR,	  /* EOPNOTSUPP */
	DLP_REASON_NOT_OWNER,	  /* EACCES (C4) */
	DLP_REASON_READ_ONLY,	  /* EACCES: writable lease, descriptor not open for writing */
	DLP_REASON_HOLE,	  /* ENODATA (C5), offset */
	DLP_REASON_UNWRITTEN,	  /* ENODATA, offset */
	DLP_REASON_BEYOND_EOF,	  /* ENODATA, offset */
	DLP_REASON_INLINE,	  /* ENODATA: data kept in the inode, compressed or encrypted: no blocks of its own */
	DLP_REASON_SHARED,	  /* EPERM: reflinked, offset */
	DLP_REASON_NOT_DAX,	  /* EPERM */
	DLP_REASON_BREAKING,	  /* EAGAIN: an operation on the range waits or has not finished (C16) */
	DLP_REASON_TWO_FILE,	  /* EAGAIN: a clone or the like is under way on the file system */
	DLP_REASON_BARRIER,	  /* EAGAIN: the file system did not answer in time, an operation holds the file */
	DLP_REASON_LIMIT,	  /* ENOLCK: this user's or the daemon's limit */
	DLP_REASON_GUARD,	  /* EOPNOTSUPP: the kernel refused to guard the file */
	DLP_REASON_CLOSED,	  /* EBUSY: an administrator has closed the pool or file */
	DLP_REASON_OPEN_ELSEWHERE, /* EAGAIN: somebody else has the file open: no kernel lease can be had */
	DLP_REASON_ALIGNMENT,	  /* EINVAL (C7): not a multiple of the device's alignment, offset */
	DLP_REASON_BEYOND_DEVICE, /* ENODATA: offset: the device's size */
	DLP_REASON_COUNT
};

/* Descriptor: the file. The daemon rounds start down and end up to its page and says what it granted. */
struct dlp_grant {
	struct dlp_head head;
	uint64_t start;
	uint64_t end;
	uint32_t flags;
	uint32_t pad;
};

struct dlp_grant_reply {
	struct dlp_head head;
	uint64_t dev;
	uint64_t ino;
	uint64_t start;
	uint64_t end;
	uint32_t label;	    /* enum dlp_label */
	uint32_t pool_type; /* enum dlp_pool_type */
	uint32_t reason;    /* enum dlp_reason, when refused */
	uint32_t alignment; /* DLP_REASON_ALIGNMENT: bytes */
	uint64_t offset; /* first offending offset, where the reason has one */
	uint64_t epoch;	 /* grants and revocations in the order the daemon decided them */
};

/* DLP_RELEASE (calls) and DLP_REVOKED (events channel). A release may cover any union of parts of what
 * the session holds; what it does not hold is ignored. error (DLP_REVOKED only, head.error): 0, or a
 * positive errno when the holder could not take everything away; the daemon then fences it. */
struct dlp_range {
	struct dlp_head head;
	uint64_t dev;
	uint64_t ino;
	uint64_t start;
	uint64_t end;
	uint64_t epoch; /* DLP_REVOKED: of the event it answers; ends nothing that was granted later. DLP_RELEASE: 0 */
};

enum dlp_mr_flags {
	DLP_MR_PINNED = 1u << 0,    /* registered with pages pinned, not on demand */
	DLP_MR_BEGIN = 1u << 1,	    /* it is about to be registered: handle and keys are 0. DLP_MR_ADD without this
				     * says what it became, DLP_MR_DEL that it did not. Between the two it may
				     * exist: a holder that dies then leaves an MR that only its length tells */
};
#define DLP_MR_FLAGS (DLP_MR_PINNED | DLP_MR_BEGIN)

/* An MR that depends on [start, end) of the file. One that covers several ranges or files is reported once
 * for each, with the same id. Descriptor: the uverbs descriptor, with the first MR of a
 * context and again when the number of reported MRs of that context had fallen to 0 (the daemon keeps its copy
 * only in between). */
struct dlp_mr {
	struct dlp_head head;
	uint64_t id;	  /* chosen by the client, never used again: names the MR. A handle can be used again by
			   * the kernel before the report of its first MR's end has left */
	uint32_t context; /* chosen by the client, names the uverbs descriptor */
	uint32_t handle;  /* ibv_mr.handle */
	uint32_t lkey;	  /* lkey, rkey, length: to make sure that the handle is still that MR */
	uint32_t rkey;
	uint64_t length;
	uint64_t dev;	  /* from here on 0 in DLP_MR_DEL, which names context and id */
	uint64_t ino;
	uint64_t start;
	uint64_t end;
	uint32_t flags;
	uint32_t pad;
};

enum dlp_lease_state {
	DLP_LEASE_HELD = 1,
	DLP_LEASE_BREAKING = 2, /* told, time is running */
	DLP_LEASE_REVOKING = 3, /* being taken away; margin is running */
	DLP_LEASE_FENCING = 4,	/* the holder did not answer: being ended from outside */
	DLP_LEASE_NONE = 5,	/* query: nothing (more) is held there */
};

struct dlp_query_reply {
	struct dlp_head head;
	uint32_t state;	  /* the worst in the range: enum dlp_lease_state */
	uint32_t pad;
	uint64_t left_ns; /* until the deadline; UINT64_MAX if held and not breaking */
};

/* --- administration ---------------------------------------------------------------------------------- */

/* In a listed lease's flags, beside enum dlp_grant_flags: its holder is dead, but something of it may still reach the file;
 * it stands until that can be told, or DLP_LEASE_FORGET. */
#define DLP_LIST_UNPROVEN (1u << 16)

struct dlp_list {
	struct dlp_head head;
	uint64_t cursor; /* 0: the first; else as the last reply gave it */
};

/* ENOENT in head.error: no more. A lease that comes or goes meanwhile may be missed or seen, none twice. */
struct dlp_list_reply {
	struct dlp_head head;
	uint64_t cursor; /* for the next request */
	uint64_t lease;	 /* number, for DLP_LEASE_REVOKE */
	uint64_t dev;
	uint64_t ino;
	uint64_t start;
	uint64_t end;
	uint64_t since_ns; /* CLOCK_REALTIME */
	uint64_t left_ns;  /* UINT64_MAX: not breaking */
	uint32_t state;
	uint32_t label;
	uint32_t flags; /* enum dlp_grant_flags */
	int32_t pid;
	uint32_t uid;
	uint32_t mrs; /* MRs that depend on it */
	char comm[16];
	char pool[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH]; /* as it is now; " (deleted)" at the end when unlinked */
};

/* What a crash of the daemon would lose (C24). */
enum dlp_kept {
	DLP_KEPT_NOTHING = 1, /* nobody keeps its descriptors: all leases */
	DLP_KEPT_ALL,
	DLP_KEPT_LOST, /* who kept them has died: all leases */
};

struct dlp_status_reply {
	struct dlp_head head;
	int32_t pid;
	uint32_t sessions;
	uint64_t leases;
	uint64_t breaks;     /* since start, all of them */
	uint64_t waiting;    /* breakers waiting now */
	uint64_t revoked;    /* leases ended at their deadline, since start */
	uint64_t fenced;     /* sessions fenced, since start */
	uint64_t refused;    /* breakers refused because the end of a lease could not be proven */
	uint64_t uptime_ns;
	uint64_t break_time_ns; /* defaults */
	uint64_t margin_ns;
	uint64_t fence_ns;
	uint32_t pools;
	uint32_t kept; /* enum dlp_kept; 0: a daemon that does not say */
	char version[DLP_NAME_SIZE];
	char kernel[DLP_NAME_SIZE];
};

struct dlp_break {
	struct dlp_head head;
	uint64_t start;
	uint64_t end; /* UINT64_MAX: to the end of the file and beyond */
};

/* Also DLP_LEASE_FORGET: all leases of that one's holder; EBUSY: it is not one of those. */
struct dlp_lease_revoke {
	struct dlp_head head;
	uint64_t lease;
};

struct dlp_break_reply {
	struct dlp_head head;
	uint64_t id;	/* appears in DLP_EV_DONE; 0 when nothing was leased there: it is done already */
	uint64_t leases; /* that it breaks */
};

/* --- events ------------------------------------------------------------------------------------------ */

/* What broke a lease, for people and logs; the words are in proto/reason.c. */
enum dlp_cause {
	DLP_CAUSE_UNKNOWN = 0, /* could not be decoded: treated as if it changed anything */
	DLP_CAUSE_WRITE,
	DLP_CAUSE_TRUNCATE,
	DLP_CAUSE_OPEN_TRUNC,
	DLP_CAUSE_PUNCH,
	DLP_CAUSE_COLLAPSE,
	DLP_CAUSE_INSERT,
	DLP_CAUSE_ZERO,
	DLP_CAUSE_ALLOCATE,
	DLP_CAUSE_UNSHARE,
	DLP_CAUSE_MADVISE,
	DLP_CAUSE_COPY,	   /* copy_file_range, sendfile, splice: either side */
	DLP_CAUSE_CLONE,   /* ioctl: clone, dedupe, exchange, or one we do not know */
	DLP_CAUSE_IO_URING,
	DLP_CAUSE_AIO,
	DLP_CAUSE_ADMIN_BREAK,
	DLP_CAUSE_ADMIN_REVOKE,
	DLP_CAUSE_RECHECK, /* the second look found the block map not as it must be */
	DLP_CAUSE_OPEN_WRITE, /* of a file that a kernel lease guards: what it then writes is not seen */
	DLP_CAUSE_COUNT
};

struct dlp_ev_break { /* DLP_EV_BREAK, DLP_EV_REVOKE, DLP_EV_DROP */
	struct dlp_head head;
	uint64_t dev;
	uint64_t ino;
	uint64_t start; /* the part of the holder's lease that is broken */
	uint64_t end;
	uint64_t left_ns; /* EV_BREAK: until the deadline; EV_REVOKE, EV_DROP: until it is fenced */
	uint64_t epoch;	  /* a mapping whose grant has a higher one is not meant: it was granted after this */
	uint32_t cause;
	int32_t pid; /* of the breaker; 0 if not known */
	int32_t tid;
	uint32_t uid;
	char comm[16];
};

struct dlp_ev_done {
	struct dlp_head head; /* head.error: 0, or EBUSY when an end could not be proven */
	uint64_t id;
};

struct dlp_ev_pools {
	struct dlp_head head;
	uint32_t pools;
	uint32_t pad;
};

/* --- who waits, what happens ------------------------------------------------------------------------- */

/* ENOENT in head.error: no more. Whoever is not an administrator sees his own processes only. */
struct dlp_waiting_reply {
	struct dlp_head head;
	uint64_t cursor; /* for the next request (struct dlp_list) */
	uint64_t lease;	 /* one that it waits for; when that is gone, the next */
	uint64_t dev;
	uint64_t ino;
	uint64_t start; /* what it may change; end UINT64_MAX: everything behind start */
	uint64_t end;
	uint64_t waited_ns;
	uint32_t cause; /* enum dlp_cause */
	int32_t pid;	/* 0: not known from here; of an administrator's break: of his tool */
	int32_t tid;	/* 0: an administrator's break, no thread waits in the kernel; -1: not known */
	uint32_t uid;
	char comm[16];
	char pool[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH];
};

enum dlp_happening {
	DLP_HAPPENED_GRANTED = 1,
	DLP_HAPPENED_REFUSED,	      /* a lease: reason, offset */
	DLP_HAPPENED_RELEASED,	      /* the holder gave it back */
	DLP_HAPPENED_BREAKING,	      /* the holder was told: cause, breaker, left_ns */
	DLP_HAPPENED_REVOKING,	      /* the holder was told to take it away now */
	DLP_HAPPENED_DROPPING,	      /* the holder was told that an operation of its own ends the range */
	DLP_HAPPENED_REVOKED,	      /* the holder has answered: it is taken away */
	DLP_HAPPENED_FENCING,	      /* a step of the fence: step */
	DLP_HAPPENED_ENDED,	      /* nothing is left of the holder: all its leases have ended */
	DLP_HAPPENED_WAITING,	      /* a breaker has to wait */
	DLP_HAPPENED_WENT_ON,	      /* a breaker that waited left_ns */
	DLP_HAPPENED_BREAKER_REFUSED, /* the end of a lease in its way cannot be proven */
	DLP_HAPPENED_BREAKER_GONE,    /* killed while it waited */
	DLP_HAPPENED_POOL,	      /* came, went, was refused: state */
	DLP_HAPPENINGS
};

struct dlp_watch_reply {
	struct dlp_head head;
};

/* Fields that a happening does not have are 0. */
struct dlp_ev_watch {
	struct dlp_head head;
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint64_t lost;	  /* that many before this one found no room: the watcher did not read */
	uint64_t dev;
	uint64_t ino;
	uint64_t start;
	uint64_t end;
	uint64_t offset;      /* REFUSED: the first offending one, where the reason has one */
	uint64_t duration_ns; /* GRANTED, REFUSED: it took; WENT_ON and the like: waited; BREAKING, REVOKING: left */
	uint32_t kind;	      /* enum dlp_happening */
	uint32_t detail;      /* REFUSED: enum dlp_reason; FENCING: enum dlp_fence_step; POOL: enum dlp_pool_state */
	uint32_t cause;	      /* enum dlp_cause */
	int32_t pid;	      /* holder */
	uint32_t uid;
	int32_t breaker_pid;
	int32_t breaker_tid;
	uint32_t breaker_uid;
	char comm[16];
	char breaker_comm[16];
	char pool[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH];
};

/* --- closing ----------------------------------------------------------------------------------------- */

enum dlp_drain_flags {
	DLP_DRAIN_KEEP = 1u << 0,   /* closed until it is opened again; else until this connection ends */
	DLP_DRAIN_REOPEN = 1u << 1, /* open it, whoever closed it; nothing is broken */
};
#define DLP_DRAIN_FLAGS (DLP_DRAIN_KEEP | DLP_DRAIN_REOPEN)
#define DLP_DRAIN_FILE UINT32_MAX

/* Grants no lease any more on a pool, or on the file of the descriptor, and breaks those that are there. Asked again it
 * breaks what is left. ENOENT: no such pool; REOPEN: it was not closed. EINVAL: no regular file. ENOSPC: too many are
 * closed. */
struct dlp_drain {
	struct dlp_head head;
	uint32_t pool; /* index; or DLP_DRAIN_FILE, and then a descriptor comes with it */
	uint32_t flags;
};

struct dlp_drain_reply {
	struct dlp_head head;
	uint64_t leases;  /* that are left there now */
	uint64_t left_ns; /* until the last of their present deadlines */
	uint64_t busy;	  /* descriptors that the daemon still has to close, which may be of files there */
};

/* --- statistics -------------------------------------------------------------------------------------- */

/* Fixed room for enums that grow. Counters only grow, and are plain numbers, so that they can be kept as they are. */
#define DLP_STATS_CAUSES 32u  /* by enum dlp_cause */
#define DLP_STATS_REASONS 32u /* by enum dlp_reason */
#define DLP_STATS_STEPS 8u    /* by enum dlp_fence_step */
#define DLP_STATS_BUCKETS 20u /* of dlp_bucket_ns(); the last: all that took longer */

enum dlp_outcome {
	DLP_OUTCOME_WENT_ON, /* every lease in its way has ended */
	DLP_OUTCOME_REFUSED, /* the end of one could not be proven */
	DLP_OUTCOME_GONE,    /* killed while it waited */
	DLP_OUTCOMES
};

enum dlp_fence_step {
	DLP_FENCE_BEGUN = 1, /* a holder did not answer in time */
	DLP_FENCE_LET_GO,    /* it had let go of everything after all: nothing was done to it */
	DLP_FENCE_MRS,	     /* its MRs were destroyed from outside */
	DLP_FENCE_UNMAPPED,  /* its mappings were replaced from outside: it lives */
	DLP_FENCE_KILLED,    /* SIGKILL was sent */
	DLP_FENCE_REPORTED,  /* it is left alone (fence = report), and breakers are refused */
	DLP_FENCE_STEPS
};

struct dlp_histogram {
	uint64_t buckets[DLP_STATS_BUCKETS]; /* each without those below it */
	uint64_t sum_ns;
};

struct dlp_pool_counters {
	uint64_t granted;
	uint64_t refused[DLP_STATS_REASONS];
	uint64_t breaks[DLP_STATS_CAUSES][DLP_OUTCOMES]; /* with a lease in the way, when they ended */
	uint64_t told;	  /* notices to holders */
	uint64_t revoked; /* holders told to take a range away */
	uint64_t dropped; /* holders told that their own operation ends a range */
	struct dlp_histogram grant_time; /* of those granted */
	struct dlp_histogram wait_time;	 /* of those breaks */
};

struct dlp_daemon_counters {
	uint64_t fences[DLP_STATS_STEPS];
	uint64_t mrs_destroyed; /* by the daemon */
};

enum dlp_guard_state {
	DLP_GUARD_NONE = 1, /* this kernel has none, or the daemon may not use it: only advisory leases */
	DLP_GUARD_ON,
	DLP_GUARD_PAUSED, /* descriptors are short: breakers wait in the kernel, unseen, but they wait */
};

struct dlp_stats_reply {
	struct dlp_head head;
	uint64_t uptime_ns;
	uint64_t restarts; /* daemons that took over from the one before, with all leases */
	uint32_t pools;
	uint32_t sessions;
	uint32_t guard;		    /* enum dlp_guard_state */
	uint32_t guard_descriptors; /* events held open */
	/* of the guard, since the daemon's start */
	uint64_t events, stopped, harmless, killed, lost, errors;
	struct dlp_daemon_counters counters;
};

struct dlp_pool_stats_reply {
	struct dlp_head head;
	uint32_t pools;
	uint32_t state; /* enum dlp_pool_state */
	uint64_t leases, waiting; /* now */
	uint64_t longest_wait_ns; /* of those waiting now */
	uint64_t ready_ns; /* CLOCK_REALTIME: since when it is ready, and so guarded; 0: it is not */
	struct dlp_pool_counters counters;
	char name[DLP_NAME_SIZE]; /* "": what belongs to no pool, index = pools */
};

#endif
