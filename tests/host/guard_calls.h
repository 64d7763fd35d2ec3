/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests of the guard: every call of facts.md's list (guard_calls.c), and what takes more than one
 * call (guard_cases.c, guard_settling.c). */
#ifndef DAXLEASE_TESTS_GUARD_CALLS_H
#define DAXLEASE_TESTS_GUARD_CALLS_H

#include "tests/host/breaker_calls.h"

/* Each returns NULL or what was wrong. `protects`: shows that somebody is stopped, so it must fail
 * with a guard that lets everybody go on. */
struct test_case {
	const char *name;
	const char *(*run)(void);
	bool protects;
};

void test_calls(void);
extern const struct test_case guard_cases[], settle_cases[]; /* end with a NULL name */

#endif
