/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What only the tests' own daemon has (daxleased_test, which is never installed): named steps at which it can be
 * killed, and records that are longer, as a later version's are. Everywhere else this is nothing. May include:
 * libc.
 */
#ifndef DAXLEASE_TEST_BUILD_H
#define DAXLEASE_TEST_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#ifdef DAXLEASE_TEST_BUILD

/* The daemon kills itself here if the tests have asked for it by this name (tests/host/test_build.c says how). */
void kill_at(const char *step);
/* Deliberately wrong, for tests of the tests: is there a file of this name beside the one for kill_at()? */
bool sabotaged(const char *what);

/* At the end of each record. */
#define SAVED_LATER uint64_t later[2];
#define SAVED_LATER_BYTES 16

#else

#define kill_at(step) ((void)0)
#define sabotaged(what) false

#define SAVED_LATER
#define SAVED_LATER_BYTES 0

#endif

#endif
