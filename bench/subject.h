/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A subject is one thing whose time is taken: a call of ours, or the floor or peer beside it. Each is
 * a process of its own that makes its calls in blocks when it is told to, so that whoever compares
 * two can let them take turns (bench/run). May include: libc.
 *
 *   PROGRAM NAME [ARGUMENT...]   says "ready"; then for each line N on stdin it makes N calls and
 *                                prints N times, in ns, on a line; ends with its stdin
 */
#ifndef DAXLEASE_BENCH_SUBJECT_H
#define DAXLEASE_BENCH_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

struct subject {
	const char *name, *arguments, *what;
	void (*start)(char **argument); /* as many as named in `arguments` */
	void (*before)(void);		/* of one call, not timed; may be NULL, as `after` */
	void (*call)(void);
	void (*after)(void);
};

extern const struct subject subjects[]; /* of this program; ends with a nameless one */

/* What is too short for the clock is called so often for one time, which is divided by it. Set in
 * start(); 1 if not. */
extern unsigned subject_batch;

uint64_t subject_now_ns(void); /* CLOCK_MONOTONIC */
/* Says what failed, with errno, and ends with 1: a figure that could not be taken is none. */
_Noreturn void subject_fail(const char *what);
unsigned subject_number(const char *text); /* from 1 */

#endif
