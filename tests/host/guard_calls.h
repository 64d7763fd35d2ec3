/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests of the guard: every call of facts.md's list (guard_calls.c), and what takes more than one
 * call (guard_cases.c, guard_settling.c). */
#ifndef DAXLEASE_TESTS_GUARD_CALLS_H
#define DAXLEASE_TESTS_GUARD_CALLS_H

#include "tests/host/guard_harness.h"

/* Each returns NULL or what was wrong. `protects`: shows that somebody is stopped, so it must fail
 * with a guard that lets everybody go on. */
struct test_case {
	const char *name;
	const char *(*run)(void);
	bool protects;
};

void test_calls(void);
extern const struct test_case guard_cases[], settle_cases[]; /* end with a NULL name */

/* Operations that more than one test uses. */
long act_pwrite(struct breaker *breaker);    /* one byte at 0 */
long act_ftruncate(struct breaker *breaker); /* to argument */
long act_open_read(struct breaker *breaker);
long act_clone(struct breaker *breaker); /* other is cloned into path */

/* io_uring (guard_uring_calls.c): a write of one page at page 2, inline or by an io-wq worker; a
 * punch, which only workers do; a write linked behind a poll, which task work does in a thread that
 * shows read(2) of a pipe. */
long prepare_uring(struct breaker *breaker);
long prepare_uring_sqpoll(struct breaker *breaker);
long act_uring_write(struct breaker *breaker);
long act_uring_worker_write(struct breaker *breaker);
long act_uring_punch(struct breaker *breaker);
long act_uring_disguised(struct breaker *breaker);

#endif
