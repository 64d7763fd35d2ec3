/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of the core outlives the process: its records, without anything derived, as they stand in the
 * journal. Each keeps its index in the core's table. A record may grow at its end in a later version
 * (an older one then reads as filled up with zeros) and is not changed otherwise; sizes are multiples
 * of 8 and there is no padding. May include: libc.
 *
 * Not saved: pending leases, with their CORE_CANCELLED. Who asked for one is not answered yet, and
 * asks again.
 *
 * Times are CLOCK_MONOTONIC, which goes on while the daemon is away.
 */
#ifndef DAXLEASE_CORE_SAVED_H
#define DAXLEASE_CORE_SAVED_H

#include <stdint.h>

#include "daemon/test_build.h"

enum core_saved_kind {
	CORE_SAVED_HEAD,   /* one, index 1 */
	CORE_SAVED_FILE,   /* files whose guard is armed, or about to be disarmed */
	CORE_SAVED_FENCED, /* sessions that CORE_FENCE is out for */
	CORE_SAVED_LEASE,
	CORE_SAVED_OP,
	CORE_SAVED_KINDS,
};

struct core_saved_head {
	uint64_t last_number;			   /* of a lease or ticket */
	uint64_t epoch;				   /* of the last grant or revocation */
	uint64_t breaks, revoked, fenced, refused; /* struct core_counts */
	SAVED_LATER
};

struct core_saved_file {
	uint64_t dev, ino;
	SAVED_LATER
};

struct core_saved_fenced {
	uint64_t session;
	SAVED_LATER
};

struct core_saved_who {
	uint32_t cause;
	int32_t tid, tgid;
	uint32_t uid;
	char comm[16];
};

struct core_saved_lease {
	uint64_t dev, ino, start, end;
	uint64_t number, since_ns, deadline_ns, revoked_epoch;
	struct core_saved_who who;
	uint32_t session;
	int32_t tgid;
	uint8_t state; /* enum core_lease_state, not CORE_PENDING; or 7: gone, and the effect is not taken */
	uint8_t flags;	/* DLP_GRANT_* */
	uint8_t effect; /* 0: none to be taken; else 1 + enum core_effect_kind */
	uint8_t dropped;
	uint8_t reserved[4];
	SAVED_LATER
};

struct core_saved_op {
	uint64_t dev, ino, start, end;
	uint64_t cookie, since_ns, break_time_ns, only_lease;
	struct core_saved_who who;
	uint32_t only_session;
	int32_t error; /* of the verdict that is not taken yet */
	uint8_t state; /* enum core_op_state, or 7 as above */
	uint8_t own;   /* enum core_own */
	uint8_t effect;
	uint8_t two_file, answered, finished;
	uint8_t reserved[2];
	SAVED_LATER
};

_Static_assert(sizeof(struct core_saved_head) == 48 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct core_saved_file) == 16 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct core_saved_fenced) == 8 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct core_saved_lease) == 112 + SAVED_LATER_BYTES, "no padding");
_Static_assert(sizeof(struct core_saved_op) == 112 + SAVED_LATER_BYTES, "no padding");

#endif
