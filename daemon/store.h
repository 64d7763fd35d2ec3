/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors that survive the daemon (C24). Somebody who does not crash keeps a copy of each: systemd's
 * descriptor store, or `daxleased --keeper`, which speaks the same protocol (sd_notify(3)). To the daemon
 * both are the same, and so is nobody: everything here can be called without a keeper, and then does nothing.
 *
 * The life of a descriptor:
 *
 *   start   store_open() takes over what was handed back and checks the type of each; store_take() hands it
 *           out, kind by kind; store_discard_rest() closes and removes what nobody took.
 *   put     store_put() gives the keeper a copy. On return that survives our death; that the keeper had room for it
 *           is known with store_confirm() only, and before that no client is told that it has been accepted.
 *   remove  store_remove() takes it from the keeper, who may then be the last to close it: where that can take
 *           long (a uverbs device, a client's unread messages), store_drop() makes sure that it is us.
 *
 * Messages arrive in the order of the calls, also those of a process that is dead by then. So with the journal:
 *   put the descriptor, then record its slot;   after a crash between the two: handed back, nobody's, discarded.
 *   forget the slot, then remove it;            likewise.
 * A slot that is recorded and does not come back was never confirmed, or is a bug: its client counts as hung up.
 *
 * Nothing here waits, except store_open(). One thread. Logs what goes wrong. May include: closer, log, notify, uverbs.
 */
#ifndef DAXLEASE_STORE_H
#define DAXLEASE_STORE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Exit status of a daemon that wants to be started again, with all that is stored: after SIGHUP, for a new
 * binary or configuration. EX_TEMPFAIL of sysexits.h. In the unit: RestartForceExitStatus=75.
 */
#define STORE_EXIT_RESTART 75

/*
 * Exit status of a daemon whose configuration is wrong and that succeeds nobody: to start it again does not help, and
 * nobody waits. EX_CONFIG of sysexits.h. In the unit: RestartPreventExitStatus=78.
 */
#define STORE_EXIT_CONFIG 78

/* Each with what is checked of it, by put and at the return. */
enum store_kind {
	STORE_LISTEN, /* Unix SEQPACKET socket that listens. A unit daxleased.socket hands it over by the same name,
			  "listen" (FileDescriptorName=): one that was handed over need not be put */
	STORE_JOURNAL, /* memfd whose name begins with "daxlease" and that cannot shrink (F_SEAL_SHRINK) */
	STORE_JOURNAL_NEXT, /* the same: a newer daemon's, for an instant while it takes the place of the other */
	STORE_GUARD,  /* fanotify group */
	STORE_CALLS,  /* Unix SEQPACKET socket: a client's first channel */
	STORE_EVENTS, /* the same: its second channel */
	STORE_UVERBS, /* open RDMA device */
	STORE_MEMORY, /* /proc/PID/mem of a holder, which tells whether its memory has a user */
	STORE_LEASED, /* regular file: the description that has a kernel lease */
	STORE_KINDS
};

/*
 * Of the first four kinds there is one at most, in slot 0. Of the others there are many; the slot, which is below
 * STORE_SLOTS, tells them apart after a restart.
 */
#define STORE_SLOTS 32768u
#define STORE_NO_SLOT UINT32_MAX

enum store_state {
	STORE_NONE, /* nobody keeps anything: a crash loses all leases */
	STORE_KEPT,
	STORE_LOST, /* the keeper died; the same from then on */
};

/* Whether a predecessor's journal was handed to this process, as far as names tell. Before store_open(). */
bool store_succeeds(void);

struct store;

/*
 * Takes over what was handed back (LISTEN_FDS) and finds out whether there is a keeper that has room, for which it
 * waits for an answer: microseconds usually, ten seconds at most. `closing` closes a descriptor that may
 * hold a client's unread messages (closer_close(), or close(2) for tests).
 * 0, or with nothing to free: -ENOMEM, -EMFILE, ...; -EINVAL: what was handed back makes no sense.
 */
typedef void (*store_close_fn)(int fd, uint32_t uid);
int store_open(struct store **store, store_close_fn closing);
/* Our end only: what is stored stays there. Handed-back descriptors that nobody took are closed, and stay, too. */
void store_free(struct store *store);

enum store_state store_state(const struct store *store);
/* For people: who keeps it, or why nobody does. Valid until the next call into the store. */
const char *store_reason(const struct store *store);
/* Descriptors stored now, and how many it can be; for daxleasectl status. */
void store_counts(const struct store *store, unsigned *stored, unsigned *capacity);

/* To be watched for reading; then store_dispatch(). That also tells the keeper that the loop still turns
 * (WATCHDOG=1). -1 never. */
int store_poll_fd(const struct store *store);
void store_dispatch(struct store *store);

/* --- at start ----------------------------------------------------------------------------------------- */

/* The next one of this kind that was handed back, which is the caller's from now on (close-on-exec), and still stored;
 * -1: no more. slot may be NULL. */
int store_take(struct store *store, enum store_kind kind, uint32_t *slot);
/* Moves what was handed back and lies at `number` or below to above it. 0, -EMFILE. */
int store_move_above(struct store *store, int number);
/* What nobody took is closed, removed and logged: no lease hangs on it. */
void store_discard_rest(struct store *store);

/* --- while running ------------------------------------------------------------------------------------ */

/*
 * Stores a copy of fd, which stays the caller's. *slot: STORE_NO_SLOT gets a free one (always 0 of the first four
 * kinds); another is used as it is, and must be free in that kind: a client's STORE_EVENTS takes the slot of
 * its STORE_CALLS. slot may be NULL for the first four kinds. Without a keeper slots are given all the same.
 * 0, or nothing was stored:
 *   -EUSERS   as many as the keeper can hold (a fifth is for what is no client's connection)
 *   -EEXIST   that slot is taken
 *   -ENOTTY   fd is not of this kind
 *   -ENOMEM, -EMFILE  the keeper is behind, and we cannot queue
 */
int store_put(struct store *store, enum store_kind kind, int fd, uint32_t *slot);
/* Harmless for a slot that is not taken. */
void store_remove(struct store *store, enum store_kind kind, uint32_t slot);
/* Removes it, and closes fd (which it takes over) once the keeper has closed its copy, by `closing`. */
void store_drop(struct store *store, enum store_kind kind, uint32_t slot, int fd, uint32_t uid);

/*
 * Calls done(arg, error) when the keeper has handled all of the calls before it. error 0: all that was put before is
 * stored. -ENOSPC: the keeper has not taken all of it (FileDescriptorStoreMax, its own limits); -ETIMEDOUT: no answer
 * in ten seconds; -EIO: we could not send it. Then the caller removes what it put. Without a keeper, and when it dies, error
 * is 0: there is nothing to be lost by going on. From store_dispatch(), or, without a keeper, at once.
 * Questions that are asked while another is on its way are answered together.
 * 0, or -ENOMEM, -EMFILE: done will not be called.
 */
int store_confirm(struct store *store, void (*done)(void *arg, int error), void *arg);
/* At start, before there is a loop: waits for that answer, ten seconds at most. 0 or -errno, as done gets it. */
int store_settle(struct store *store);
/* arg is going: its done is not called any more. */
void store_confirm_cancel(struct store *store, const void *arg);

/* A message of sd_notify(3), like "READY=1\nSTATUS=...", in order with all others. */
void store_notify(struct store *store, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
