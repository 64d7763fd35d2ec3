// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * In daxleased_test only: kills the daemon at a named step. The environment's DAXLEASE_KILL_AT is a path. While a file
 * is there, whose content is "STEP COUNT\n", the daemon kills itself the COUNTth time it comes to STEP after the file
 * was put there; the file is renamed to PATH.hit right before. With "STEP COUNT keep\n" it stays, for each successor.
 * While there is a file PATH.WHAT, the daemon is wrong in that way (sabotaged()).
 */
#include "daemon/test_build.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What was asked for last, and how often it came since: another file starts again. */
static struct {
	ino_t ino;
	struct timespec time;
	unsigned count;
} asked;

static bool is_another(const struct stat *st)
{
	bool another = st->st_ino != asked.ino || st->st_mtim.tv_sec != asked.time.tv_sec ||
		       st->st_mtim.tv_nsec != asked.time.tv_nsec;

	asked.ino = st->st_ino;
	asked.time = st->st_mtim;
	return another;
}

void kill_at(const char *step)
{
	const char *path = getenv("DAXLEASE_KILL_AT");
	char wanted[64] = "", keep[8] = "", hit[4096];
	unsigned count = 0;
	struct stat st;
	FILE *file = path ? fopen(path, "re") : NULL;

	if (!file)
		return;
	if (fstat(fileno(file), &st) < 0 || fscanf(file, "%63s %u %7s", wanted, &count, keep) < 2)
		wanted[0] = 0;
	fclose(file);
	if (wanted[0] && is_another(&st))
		asked.count = 0;
	if (strcmp(wanted, step) != 0 || ++asked.count < count)
		return;
	snprintf(hit, sizeof(hit), "%s.hit", path);
	if (strcmp(keep, "keep") != 0)
		rename(path, hit);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

bool sabotaged(const char *what)
{
	const char *path = getenv("DAXLEASE_KILL_AT");
	char name[4096];

	if (!path)
		return false;
	snprintf(name, sizeof(name), "%s.%s", path, what);
	return access(name, F_OK) == 0;
}
