/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of the daemon outlives it (C24): the journal's tables, and when they are committed.
 *
 * The rule: what was changed is committed before any of it can be seen from outside. So a message is only looked at
 * (MSG_PEEK), handled, its changes committed, then answered, and consumed last: after a crash it is there once more.
 * There is a commit before each effect of the core is taken, so that after a crash the one under way is carried out
 * again, which none of them minds (core.h). What a crash finds done but not committed is so always repeated, never
 * forgotten. (Nothing commits while an effect is carried out that could not be taken again: only a fence, which the
 * core remembers, and the end of a pending grant, which is never saved, lead to a message that is consumed.)
 *
 * What must not be carried out twice, though somebody else did something in between (a grant: what it gave may have been
 * broken since), is not: its answer is committed with it, and given again (session_reply()).
 *
 * Each part of the daemon saves its own records where they change, and takes them back in its restore function.
 */
#ifndef DAXLEASE_SAVED_H
#define DAXLEASE_SAVED_H

#include <stdint.h>

#include "daemon/core/saved.h"
#include "daemon/test_build.h"
#include "proto/protocol.h"

struct daemon;

enum saved_kind {
	/* first those of the core, by their own numbers */
	SAVED_META = CORE_SAVED_KINDS, /* one, index 1 */
	SAVED_SESSION,		       /* index: its slot in the store + 1 */
	SAVED_FILE,
	SAVED_NOTE,    /* an operation of the core */
	SAVED_CONTEXT, /* index: the slot of its descriptor in the store + 1 */
	SAVED_MR,      /* what one MR covers of one file */
	SAVED_UNLOOKED, /* a file with a lease that had no second look yet; index: of its SAVED_FILE */
	SAVED_KINDS,
};

struct saved_meta {
	uint64_t next_cookie;
	uint32_t next_session;
	uint32_t restarts;
	uint32_t newcomer_crashes; /* on the first message of a connection that had no record yet */
	uint32_t reserved;
	SAVED_LATER
};

#define SAVED_ANSWER_BYTES 96

/* Sizes are multiples of 8; later versions add at the end. */
struct saved_session {
	uint64_t start_ticks; /* field 22 of /proc/PID/stat: that PID is still the same process */
	int32_t pid;
	uint32_t id, role, uid;
	uint32_t mrs_unknown;
	uint32_t slot; /* of its channels in the store */
	char comm[16];
	uint32_t memory; /* 1 + the slot of its memory's descriptor in the store; 0: none */
	/* How often a daemon has died on the message that comes first, after a restart. */
	uint16_t calls_crashes, events_crashes;
	/* The last answer to a call that must not be carried out twice: it is given again. Its size, 0: none. */
	uint32_t answer_size, reserved;
	unsigned char answer[SAVED_ANSWER_BYTES];
	SAVED_LATER
};

#define SAVED_HANDLE_BYTES 128 /* MAX_HANDLE_SZ */

struct saved_file {
	uint64_t dev, ino;
	uint32_t uid; /* on whose account it is */
	uint32_t armed;
	uint32_t handle_bytes; /* 0: the file system has none */
	int32_t handle_type;
	unsigned char handle[SAVED_HANDLE_BYTES];
	char pool[DLP_NAME_SIZE]; /* empty: not known yet */
	uint32_t lease; /* 1 + the slot of the description with the kernel lease in the store; 0: none */
	uint32_t reserved;
	SAVED_LATER
};

struct saved_unlooked {
	uint64_t dev, ino;
	SAVED_LATER
};

struct saved_note {
	uint64_t cookie, serial, syscall_hash, since_ns, dev, ino;
	uint32_t kind, op, slot, session;
	int32_t tid;
	uint8_t open, passed, unleased, reserved;
	SAVED_LATER
};

struct saved_context {
	uint32_t session, number;
	SAVED_LATER
};

struct saved_mr {
	uint64_t id, length, dev, ino, start, end;
	uint32_t session, context;
	uint32_t handle, lkey, rkey;
	uint32_t flags; /* enum dlp_mr_flags */
	SAVED_LATER
};

_Static_assert(sizeof(struct saved_meta) == 24 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_session) == 64 + SAVED_ANSWER_BYTES + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_file) == 40 + SAVED_HANDLE_BYTES + DLP_NAME_SIZE + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_unlooked) == 16 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_note) == 72 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_context) == 8 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct saved_mr) == 72 + SAVED_LATER_BYTES, "no padding");

#define SAVED_LEASES_MAX (1u << 22)
#define SAVED_OPS_MAX (1u << 17)
#define SAVED_FILES_MAX (1u << 18)

/* First of all, before other descriptors are opened: takes over what a predecessor left in the store, or makes
 * an empty journal. 0 or -errno; what went wrong is logged. */
int saved_open(struct daemon *d);
/* For guard_fanotify_new(): where the guard keeps its events; and, right before it, the numbers that it will occupy
 * are made free. */
void *saved_guard_region(const struct daemon *d);
void saved_free_numbers(struct daemon *d);
/* The core as it was, or an empty one. 0 or -errno. */
int saved_core(struct daemon *d);
void saved_close(struct daemon *d);

/* A record of its own for kinds that have no index from elsewhere: all but SAVED_CONTEXT and SAVED_UNLOOKED. 0: no room (a
 * limit, or memory). */
uint32_t saved_take(struct daemon *d, enum saved_kind kind);
void saved_give(struct daemon *d, enum saved_kind kind,
		uint32_t index); /* and drops the record; 0 is fine */
/* Room for an index from elsewhere. 0 or -errno. */
int saved_reserve(struct daemon *d, enum saved_kind kind, uint32_t index);
void saved_put(struct daemon *d, enum saved_kind kind, uint32_t index, const void *record);
void saved_drop(struct daemon *d, enum saved_kind kind, uint32_t index);
void saved_meta(struct daemon *d); /* the daemon's counters have changed */

/* Everything that has changed is true from now on, also for a successor. */
void saved_commit(struct daemon *d);

/* At the start, for the parts' restore functions: the next record of the kind behind *cursor. */
const void *saved_next(struct daemon *d, enum saved_kind kind, uint32_t *cursor);

#endif
