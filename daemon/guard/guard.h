/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stopping breakers. One interface, one file per mechanism (fanotify.c, kernel_lease.c). A guard knows nothing
 * of leases: it watches file systems, is told which inodes are leased (armed), stops whoever is
 * about to change one of them, says who and what, and lets go on command. May include: libc,
 * proto/protocol.h.
 */
#ifndef DAXLEASE_GUARD_H
#define DAXLEASE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/protocol.h"

struct guard;
struct guard_counts;

/* What a stopped (or, `answered`, already let through) thread is about to do. */
struct guard_attempt {
	uint64_t dev, ino;
	uint64_t start, end; /* may change, widened; end UINT64_MAX: everything behind start */
	uint32_t slot;	     /* for answer() */
	uint32_t pad;
	uint64_t serial;   /* of the slot's use: see start() */
	int32_t tid, tgid; /* 0: not to be known from here (another pid namespace's child seen from
			      * below; tgid also when the thread was killed meanwhile) */
	uint32_t uid;	   /* effective; UINT32_MAX: not known */
	uint32_t cause;	   /* enum dlp_cause */
	char comm[16];
	long syscall; /* number as /proc/TID/syscall showed it, for people; -1: none was shown. With
		       * `opaque` it need not be what the thread is doing (io_uring's delayed
		       * requests run under any number) */
	uint64_t syscall_hash; /* of the whole line: the same call still shown means it may not have
				* finished. 0: no line could be read */
	bool opaque; /* not decoded: whose operation it is and what it changes is not proven */
	bool maps; /* changes the block map even inside allocated blocks (C12); write(2) does not */
	bool two_file; /* clone, dedupe, copy, exchange, or not known */
	bool answered; /* on an unarmed inode, let through; told because of two_file */
	bool late; /* it may have waited long already: its guard was not looked after */
	bool spare[3];
};

/* Owner: the caller of the constructor; not thread safe: one thread calls everything below (the
 * guard's own reader thread is its own business). */
struct guard {
	const struct guard_ops *ops;
	enum dlp_label label;
	int event_fd; /* readable when next() has something */
};

/* A thread and the call it was in: guard_op_finished() says whether it still is. */
struct guard_passed {
	int32_t tid;
	uint64_t syscall_hash;
};

struct guard_ops {
	void (*free)(struct guard *guard);

	/*
	 * Begins to read. Before it: watch() and arm() what was before; then nothing that a
	 * predecessor stopped goes on by mistake. Attempts that a predecessor gave out come through
	 * next() once more, unless owed() says that the caller has them still: the same slot and
	 * serial (a slot's number comes again, its serial never). Some of these were answered
	 * already. 0 or -errno.
	 */
	int (*start)(struct guard *guard, bool (*owed)(void *arg, uint32_t slot, uint64_t serial),
		     void *arg);

	/* Watch the file system mounted at `path_fd` (O_PATH descriptor of its mount point), whose
	 * files have st_dev == dev. Ordinary descriptors opened before this are seen only in part
	 * (C13). -EOPNOTSUPP: the kernel or file system cannot be guarded; -errno. */
	int (*watch)(struct guard *guard, int path_fd, uint64_t dev);
	/* Stop watching; `path_fd` as for watch, or -1 when it is unmounted already. */
	int (*unwatch)(struct guard *guard, int path_fd, uint64_t dev);

	/* From the return on, every attempt on the inode of `fd` (any descriptor, O_PATH too) is
	 * stopped and comes through next(). Arming twice is harmless. disarm: no more; -ENOENT if
	 * it was not armed. Attempts that were stopped before it can still come through next(), and
	 * are owed their answer. Both: -ESTALE if `fd` is not (dev, ino); -errno of
	 * fanotify_mark(2). disarm with fd -1, for one that cannot be had any more: what comes is
	 * let go on, but it still comes. Not proven by arm: threads already past the hook, let go on before or
	 * never stopped on a silenced inode (barrier, second look). */
	int (*arm)(struct guard *guard, int fd, uint64_t dev, uint64_t ino);
	int (*disarm)(struct guard *guard, int fd, uint64_t dev, uint64_t ino);
	/* It was armed by a predecessor and still is: nothing is asked of the file. 0, -ENOMEM. */
	int (*rearm)(struct guard *guard, uint64_t dev, uint64_t ino);
	/* Is the slot, in this use of it, owed an answer? */
	bool (*owes)(struct guard *guard, uint32_t slot, uint64_t serial);

	/* Threads that were let go on with this inode while it was not armed, of the latest so many:
	 * they may not have come as far as its lock yet, and a look at the file would not wait for
	 * them. Fills at most `max`, returns how many there are. */
	unsigned (*passed)(struct guard *guard, uint64_t dev, uint64_t ino,
			   struct guard_passed *list, unsigned max);

	/* The next attempt; false: none now. Never blocks. */
	bool (*next)(struct guard *guard, struct guard_attempt *attempt);

	/* Lets a stopped thread go on (error 0) or fail with -EBUSY, -EAGAIN, -ETXTBSY. Exactly
	 * once a slot, also for one that was `answered`: then it says only that the attempt will
	 * not be forgotten. After it the slot's number may come again. A thread killed meanwhile is
	 * answered like any other: 0. -EINVAL: another errno, or a slot that is not owed an answer;
	 * nothing happened. -ENOENT: the kernel does not know the event (it was answered by a
	 * predecessor that died); the slot is done with. Other -errno: not answered, the slot is
	 * still owed one. */
	int (*answer)(struct guard *guard, uint32_t slot, int error);

	/* Threads of process `pid` are let through everything: the workers that look at files. The
	 * process that made the guard is exempt from the start: it would wait for itself. Take it
	 * back when the process is reaped, not later: the number will be somebody else's. */
	void (*exempt)(struct guard *guard, int32_t pid, bool on);

	void (*counts)(struct guard *guard, struct guard_counts *counts);
};

/*
 * fanotify pre-content events, Linux 6.14 and later. allow_all: answers everything "go on" and
 * reports no attempt: the protection switched off, for tests of the tests. NULL and errno: EPERM
 * (needs CAP_SYS_ADMIN in the initial namespace), EOPNOTSUPP (kernel stacks cannot be read, see
 * guard/thread.c), EINVAL, EMFILE, ENOMEM. A kernel before 6.14 is found out by watch().
 *
 * region: guard_fanotify_bytes() of zeroed shared memory, the caller's, where events are kept, so that a
 * successor can answer them; NULL: none. group: -1, or the group's descriptor that was kept when the
 * process died that had made it, with its region; it is taken over. Then each event still unanswered
 * is known to the kernel by a number of that process, which must not be given to any other
 * descriptor: all of them (guard_fanotify_highest() is the highest) must be free in this process
 * (EBUSY); they are occupied from the return on. EBADMSG: the region makes no sense.
 *
 * start() starts two threads with all signals blocked: not to be used across fork.
 */
struct guard_fanotify_params {
	bool allow_all;
	int group;
	void *region;
};
struct guard *guard_fanotify_new(const struct guard_fanotify_params *params);
size_t guard_fanotify_bytes(void);
int guard_fanotify_highest(const void *region, size_t bytes); /* -1: no number. Also of an older version's */
/* What an older version's region says, into ours. 0, -EBADMSG, or -ENOTSUP: it is a newer version's. */
int guard_fanotify_copy(void *region, const void *from, size_t bytes);
int guard_fanotify_group(const struct guard *guard); /* stays the guard's */

struct guard_counts {
	uint64_t events;    /* read, all */
	uint64_t attempts;  /* queued for next(), stopped */
	uint64_t notices;   /* queued for next(), answered already */
	uint64_t harmless;  /* on armed inodes, let through where they were read */
	uint64_t dead;	    /* threads that were killed before they could be looked at: refused */
	uint64_t silenced;  /* inodes */
	uint64_t overflows; /* events the kernel lost: it let threads through. Never expected */
	uint64_t unopened;  /* files the kernel could not open for us: the thread got EPERM */
	uint64_t errors;    /* internal: an answer or a mark failed, a read made no sense */
	uint32_t held;	    /* descriptors of events now open */
	bool paused; /* not reading, for want of descriptors or slots: breakers wait unread */
};
void guard_fanotify_counts(struct guard *guard, struct guard_counts *counts);

/*
 * Has an operation that was let through finished? guard_op_finished: by /proc alone, at once:
 *   1        yes: the thread is gone, or shows another call; one of io_uring shows none: it is idle
 *   0        not proven: it shows the same call, or tid or hash are 0 and say nothing
 *   -EAGAIN  cannot be told now (running)
 * guard_op_settle: 1 or 0. May wait up to `limit_ns` (for workers, not the loop) and, as a last
 * resort, proves by ptrace that the thread has left the kernel. Forks a helper for that, and reaps
 * it. Some calls of the thread may fail with EINTR by it. It never leaves the thread stopped, also
 * if killed itself.
 */
int guard_op_finished(int32_t tid, uint64_t syscall_hash);
int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns);

#endif
