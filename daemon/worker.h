/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers: small processes that do what can block (FIEMAP, readlink, waiting for a thread,
 * destroying MRs), so that the loop never waits. Each has one job at a time and a deadline; one
 * that is late is killed and replaced, and its job fails with -ETIMEDOUT (one stuck in the kernel
 * stays until the kernel lets it go, and counts against the limit). They hold no descriptor of the
 * daemon but their socket and standard error.
 *
 * A hostile file can hold a worker for ever (facts.md, "FIEMAP is a barrier"), so what only looks
 * at files (WORKER_CHECK) never gets all of them: a quarter, at least one, is kept for the jobs a
 * verdict depends on. And one user's files (worker_job.user) never get more than half of the rest.
 */
#ifndef DAXLEASE_WORKER_H
#define DAXLEASE_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/pool/pool.h"

struct event_base;
struct workers;

enum worker_job_kind {
	WORKER_CHECK,	/* settle the given operations, then pool_check_range() of the descriptor */
	WORKER_SETTLE,	/* guard_op_settle() of the given operations */
	WORKER_DESTROY, /* destroy the given MRs on the uverbs descriptor (uverbs.h) */
	WORKER_MAPS,	/* does process `pid` still map any of the given files, shared? */
	WORKER_MEMORY,	/* has the memory behind the descriptor, of /proc/PID/mem, still a user? */
	WORKER_FENCE,	/* replace what process `pid` maps of the given ranges, shared, from outside */
};

/* How far WORKER_FENCE came. */
enum worker_fence_step {
	WORKER_FENCE_NONE,   /* the worker said nothing: it was late, or there was none */
	WORKER_FENCE_LOOK,   /* reading what it maps */
	WORKER_FENCE_SEIZE,  /* tracing any of its threads */
	WORKER_FENCE_STOP,   /* stopping one that can make system calls */
	WORKER_FENCE_CALL,   /* a system call in it */
	WORKER_FENCE_LET_GO, /* giving the thread back as it was */
	WORKER_FENCE_PROVEN, /* nothing of the ranges is mapped */
};

#define WORKER_MAX_ITEMS 64
#define WORKER_MAX_QUEUE 1024 /* jobs waiting or running */
#define WORKER_MAX_USER 256   /* of these, of one user other than 0 */
#define WORKER_MAX_KEY 64     /* of these, of one key */

struct worker_job {
	enum worker_job_kind kind;
	/* WORKER_CHECK */
	uint64_t start, end;
	bool require_dax, reopen_ok;
	bool take_lease; /* a kernel lease first, on the descriptor's description */
	bool path_only; /* the descriptor is O_PATH: it is opened for reading first */
	bool is_device; /* device-dax: it has no blocks to look at */
	uint32_t user; /* who asked for the check; 0 (root, or the daemon itself) is not limited */
	/*
	 * WORKER_CHECK: 0, or a process whose /proc/PID/mem is to be opened and handed back: the
	 * descriptor stands for its memory, whoever else uses that, and whatever becomes of the
	 * process. Opening it can wait for an exec(2).
	 */
	int32_t memory_of;
	/*
	 * WORKER_MAPS, WORKER_FENCE: of the thread group. For MAPS the caller holds its pidfd and
	 * asks that afterwards: the number may belong to another process by now. For FENCE the
	 * job's descriptor is the pidfd.
	 */
	int32_t pid;
	bool pretend; /* WORKER_FENCE, for tests of it: says PROVEN and does nothing */
	/* WORKER_DESTROY: uverbs_destroy_length(); the process is dead, so memory windows may be
	 * destroyed too where one is in the way; the highest handle that is known */
	bool by_length, dead;
	uint32_t highest;
	unsigned items;
	union {
		struct {
			int32_t tid;
			uint64_t syscall_hash;
		} op[WORKER_MAX_ITEMS]; /* WORKER_CHECK (may be 0), WORKER_SETTLE */
		struct {
			uint32_t handle, lkey, rkey;
			uint64_t length;
		} mr[WORKER_MAX_ITEMS]; /* WORKER_DESTROY; by_length: only the length is known */
		struct {
			uint64_t dev, ino;
		} file[WORKER_MAX_ITEMS]; /* WORKER_MAPS */
		struct {
			uint64_t dev, ino, start, end; /* bytes of the file, whole pages */
		} range[WORKER_MAX_ITEMS]; /* WORKER_FENCE */
	};
};

struct worker_result {
	/*
	 * 0 or -errno. -ETIMEDOUT: the deadline, waiting for a worker included; -EIO: the worker
	 * died. Then the rest says: nothing settled, all MRs may live, mapped.
	 *   CHECK	as pool_check_range(); -EAGAIN with DLP_REASON_BREAKING: an operation has
	 *		not finished, and the file was not looked at
	 *   SETTLE	0, and the bits tell
	 *   DESTROY	0, and the bits tell; -ENOTTY, -EOPNOTSUPP (uverbs.h): the descriptor is of
	 *		no use, all failed
	 *   MAPS	-EACCES, ...: cannot be told, so mapped is true
	 *   MEMORY	the same
	 *   FENCE	0: nothing of the ranges is mapped any more, as /proc/PID/maps says. Else why
	 *		not, and fence.step says what failed; the process may have been killed. Also
	 *		-ESRCH: it is gone; -EOPNOTSUPP: not on this kind of machine
	 */
	int error;
	struct pool_refusal refusal; /* WORKER_CHECK */
	bool leased; /* CHECK: the kernel lease is there now, whatever the rest says */
	uint64_t settled;	     /* CHECK, SETTLE: bit i: operation i has finished */
	uint64_t failed; /* DESTROY: bit i: MR i may live; also if what has its handle differs */
	bool mapped;	 /* MAPS, FENCE: false once the process is gone; MEMORY: it has a user */
	/* CHECK with memory_of: done()'s to close, or -1 and memory_error (-errno) */
	int memory_fd, memory_error;
	struct {
		enum worker_fence_step step;
		int32_t tid;	   /* of the thread that made the calls; 0: none did */
		uint32_t replaced; /* mappings, or parts of them */
	} fence;		   /* FENCE */
	char path[DLP_MAX_PATH]; /* CHECK: of the descriptor, by readlink; empty if that failed */
};

typedef void worker_done(void *arg, const struct worker_result *result);

/*
 * `started(arg, pid, true/false)` tells of each worker process that comes and goes (the guard
 * exempts them): from the loop, before its first job and after its death while the number is not
 * free yet. May be NULL. At most `max` (>= 1; 2 and more for the reserve above to exist) processes
 * at a time. NULL and errno: ENOMEM, EINVAL.
 */
struct workers *workers_new(struct event_base *base, unsigned max,
			    void (*started)(void *arg, int32_t pid, bool on), void *started_arg);
/*
 * Kills all; no done() is called. Waits for dead ones a tenth of a second at most. Not from within
 * done(). NULL is fine.
 */
void workers_free(struct workers *workers);

/*
 * Queues a job; `fd` (or -1) is duplicated, the caller keeps its own. done() is called from the
 * loop exactly once, `limit_ns` after this call at the latest, never from within this call; it may
 * submit and cancel. Jobs of one `key` (an inode) are done one after another, so that a hostile
 * file occupies one worker: the next one starts when the worker of the last one is known to be free
 * or dead. The keys of WORKER_CHECK and those of the other kinds are apart: no file can stand in
 * the way of what a verdict waits for. Different keys go in any order. 0 and *id (never 0), or
 *   -EAGAIN	too many queued for this key, this user or at all
 *   -EINVAL	more than WORKER_MAX_ITEMS
 *   -ENOMEM, -EMFILE, -EBADF
 */
int workers_submit(struct workers *workers, const struct worker_job *job, int fd, uint64_t key,
		   uint64_t limit_ns, worker_done *done, void *arg, uint64_t *id);
/*
 * done() will not be called for it. One that runs already is carried through all the same. Unknown
 * ids (done, never given) are ignored.
 */
void workers_cancel(struct workers *workers, uint64_t id);

#endif
