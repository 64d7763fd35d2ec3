/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The second guard: the kernel's own leases (fcntl(2), F_SETLEASE), on the descriptions that the holders pass. It stops who
 * opens a file, and truncate(2); not who has it open already (design.md, "Guard by kernel leases").
 * May include: guard.h, thread.h, decode.h, uthash.
 *
 * It is a struct guard, whose arm(), disarm(), rearm() and watch() say -EOPNOTSUPP: what it arms are descriptions, not inodes,
 * and file systems need not be watched. Slots have GUARD_LEASE_SLOT set, so that they are told from another guard's. An
 * answer other than 0 cannot be given to a kernel lease: the breaker goes on waiting, until guard_lease_disarm() or until the
 * kernel's time is over.
 */
#ifndef DAXLEASE_GUARD_KERNEL_LEASE_H
#define DAXLEASE_GUARD_KERNEL_LEASE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "daemon/guard/guard.h"

#define GUARD_LEASE_SLOT 0x80000000u

/*
 * Takes the lease that fits the description: a write lease if it is open for writing, else a read lease. In a process that may be
 * killed, which leads no process group: whoever shares the description chooses the signal of a break, SIGKILL
 * too, and can bring it about that the caller is its owner for an instant. 0, -EAGAIN (somebody else has the file open), -EACCES
 * (neither owner nor CAP_LEASE), -errno.
 */
static inline int guard_lease_take(int fd)
{
	const struct f_owner_ex nobody = {F_OWNER_PGRP, getpid()};
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETOWN_EX, &nobody) < 0)
		return -errno;
	if (fcntl(fd, F_SETLEASE, (flags & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK) < 0)
		return -errno;
	return fcntl(fd, F_SETOWN_EX, &nobody) < 0 ? -errno : 0;
}

enum guard_lease_state {
	GUARD_LEASE_NONE, /* not armed */
	GUARD_LEASE_HELD,
	GUARD_LEASE_BROKEN,  /* an attempt has come, or will with next() */
	GUARD_LEASE_READ,    /* given up for a reader */
	GUARD_LEASE_DROPPED, /* somebody who shares the description has dropped it */
	GUARD_LEASE_GIVEN,   /* given up with an answer */
	GUARD_LEASE_EXPIRED, /* the kernel has taken it, and let the breaker go on */
};

/* Who opened it, of GUARD_LEASE_READ. */
struct guard_lease_reader {
	int32_t tgid; /* 0: not known */
	char comm[16];
};

/* allow_all: gives each lease up at once and reports no attempt: for tests of the tests. NULL and errno: ENOMEM, EMFILE. */
struct guard *guard_leases_new(bool allow_all);

/*
 * From now on the lease on `fd`'s description, which is there already, is looked at. fd stays the caller's, and open until
 * guard_lease_disarm(). id: below GUARD_LEASE_SLOT, its name in the slots of attempts, the same in a successor. Again with the same inode: in the place of the one before. 0, -EAGAIN: there is no lease on
 * it, -ENOMEM.
 */
int guard_lease_arm(struct guard *guard, uint32_t id, int fd, uint64_t dev, uint64_t ino);
/* Gives it up: whoever waits goes on. Of one that is not armed nothing. */
void guard_lease_disarm(struct guard *guard, uint64_t dev, uint64_t ino);
/* As of now. reader may be NULL. */
enum guard_lease_state guard_lease_look(struct guard *guard, uint64_t dev, uint64_t ino,
					struct guard_lease_reader *reader);
/* Another number whenever any of them has changed its state. */
uint64_t guard_lease_changes(const struct guard *guard);

/* --- lease_waiters.c ------------------------------------------------------------------------- */

enum guard_lease_on_it {
	GUARD_LEASE_ON_NONE,
	GUARD_LEASE_ON_READ,
	GUARD_LEASE_ON_WRITE,
	GUARD_LEASE_BREAKING
};
/* What lease is on the description, from fdinfo. F_GETLEASE does not tell none from one that a writer breaks. */
enum guard_lease_on_it guard_lease_on(int fd);

/* Who waits for the leases of an inode, and what for. */
struct guard_lease_waiters {
	unsigned count; /* processes; 0: nobody, or it cannot be known */
	bool reads;	/* all of them are proven to open it for reading and not to truncate */
	struct guard_attempt
		first; /* who, cause, maps, opaque; the last also if there are several */
};
void guard_lease_waiters(uint64_t dev, uint64_t ino, struct guard_lease_waiters *waiters);

#endif
