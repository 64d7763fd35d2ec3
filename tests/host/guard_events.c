/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fanotify guard on this kernel. usage: guard_events [--allow-all] DIR
 *
 * DIR: on a scratch file system (ext4 or xfs) of which all is watched; guard_run makes one. With
 * --allow-all the guard lets everybody go on, and only the tests of protection run: each of them
 * must fail. Prints TAP; exit status 0 if nothing failed, with --allow-all if everything did.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/host/guard_calls.h"

#define XFS_MAGIC 0x58465342

static void run_cases(const struct test_case *cases)
{
	for (; cases->name; cases++) {
		const char *why;

		if (bench.allow_all && !cases->protects)
			continue;
		why = cases->run();
		report(!why, cases->name, why);
	}
}

int main(int argc, char **argv)
{
	struct guard_counts counts;
	struct statfs fs;
	struct stat st;

	bench.allow_all = argc > 1 && !strcmp(argv[1], "--allow-all");
	if (argc != 2 + bench.allow_all) {
		fprintf(stderr, "usage: %s [--allow-all] DIR\n", argv[0]);
		return 2;
	}
	bench.dir = argv[argc - 1];
	signal(SIGPIPE, SIG_IGN);
	breakers_start();
	bench.guard = guard_fanotify_new(
		&(struct guard_fanotify_params){.allow_all = bench.allow_all, .group = -1});
	bench.dir_fd = open(bench.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!bench.guard || bench.dir_fd < 0 || fstat(bench.dir_fd, &st) < 0 ||
	    fstatfs(bench.dir_fd, &fs) < 0) {
		printf("Bail out! %s: %s\n", bench.guard ? bench.dir : "guard", strerror(errno));
		return 2;
	}
	bench.dev = st.st_dev;
	bench.xfs = fs.f_type == XFS_MAGIC;
	if (bench.guard->ops->watch(bench.guard, bench.dir_fd, bench.dev) < 0) {
		printf("Bail out! %s cannot be watched\n", bench.dir);
		return 2;
	}

	if (bench.guard->ops->start(bench.guard, NULL, NULL) < 0) {
		printf("Bail out! no threads\n");
		return 2;
	}

	test_calls();
	run_cases(guard_cases);
	run_cases(settle_cases);

	guard_fanotify_counts(bench.guard, &counts);
	if (!bench.allow_all)
		report(!counts.overflows && !counts.unopened && !counts.errors,
		       "no event was lost, no answer failed", "counters");
	bench.guard->ops->free(bench.guard);
	breakers_stop();
	printf("1..%d\n", bench.tests);
	if (bench.allow_all)
		return bench.tests == bench.failures ? 0 : 1;
	return bench.failures ? 1 : 0;
}
