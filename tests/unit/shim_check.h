/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the shim's tests: each names itself when it fails, and the process ends. Usable from
 * every thread and from a child. */
#ifndef DAXLEASE_TESTS_SHIM_CHECK_H
#define DAXLEASE_TESTS_SHIM_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: not so: %s (errno %d)\n", __FILE__, __LINE__,  \
				__func__, #condition, errno);                                      \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Runs each test of a NULL-terminated table, and counts. */
struct check_test {
	const char *name;
	void (*run)(void);
};

/* Why the test that runs cannot show what it is for. */
static const char *check_skip __attribute__((unused));

static inline int check_all(const struct check_test *tests)
{
	unsigned count = 0;

	for (; tests->name; tests++, count++) {
		check_skip = NULL;
		tests->run();
		printf("ok - %s%s%s\n", tests->name, check_skip ? " # SKIP " : "",
		       check_skip ? check_skip : "");
		fflush(stdout);
	}
	printf("%u tests\n", count);
	return 0;
}

#endif
