/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Included before everything (-include) in the tree that tests/coverage builds: who leaves by _exit(2), as workers do, counts
 * what it has run. */
#ifndef DAXLEASE_TESTS_COVERAGE_H
#define DAXLEASE_TESTS_COVERAGE_H

#include <unistd.h>

void __gcov_dump(void);

__attribute__((noreturn)) static inline void coverage_exit(int status)
{
	__gcov_dump();
	_exit(status);
}
#define _exit coverage_exit

#endif
