/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guard's tests on a real kernel share: breakers in processes of their own, and waiting
 * for conditions.
 *
 * Breakers are forked by a process that was forked before the guard existed: they hold neither its
 * group (which would keep it alive) nor its threads. Each prepares (opens its descriptors), waits
 * for the word, does its operation, and leaves the result in shared memory.
 */
#ifndef DAXLEASE_TESTS_GUARD_HARNESS_H
#define DAXLEASE_TESTS_GUARD_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/guard/guard.h"

#define PAGE 4096u
#define FILE_PAGES 64u
#define FILE_BYTES (FILE_PAGES * PAGE)
#define MAX_BREAKERS 128

enum breaker_state { BREAKER_NONE, BREAKER_READY, BREAKER_GO, BREAKER_RUNS, BREAKER_DONE };

struct breaker {
	_Atomic int state;
	pid_t pid;
	_Atomic long tid; /* of the thread that does it */
	long ret;	  /* of the operation, */
	int error;	  /* and its errno */
	int flags;	  /* enum breaker_flags */
	long (*prepare)(struct breaker *breaker);
	long (*act)(struct breaker *breaker);
	char path[256], other[256];
	int fd, other_fd;
	void *map;
	_Atomic uint64_t counter;		   /* the operation's own: a sign of life */
	_Atomic uint64_t doing, seen, epoch, lost; /* of the race test */
	uint64_t argument;
};

enum breaker_flags {
	BREAKER_APPEND = 1, /* opens with O_APPEND */
	BREAKER_THREAD = 2, /* acts in a second thread */
	BREAKER_NOBODY = 4, /* acts with an effective uid of 65534 */
	BREAKER_READ = 8,   /* opens for reading only */
};

/* Of the whole test program. */
struct bench {
	struct guard *guard;
	const char *dir; /* on the scratch file system */
	int dir_fd;	 /* O_PATH */
	const char *nfs; /* where dir is mounted by NFS; NULL: nowhere */
	int old_fd;	 /* of a file there, older than the guard; -1: none */
	uint64_t dev;
	bool xfs;
	bool allow_all;
	int tests, failures;
};
extern struct bench bench;

void breakers_start(void); /* before the guard */
void breakers_stop(void);  /* after it: those it stopped can die then */
/* A breaker that has prepared; owner: the harness, until breaker_end(). act must be a function of
 * this program. */
struct breaker *breaker_new(long (*prepare)(struct breaker *), long (*act)(struct breaker *),
			    const char *path, const char *other, int flags);
void breaker_go(struct breaker *breaker);
bool breaker_done(const struct breaker *breaker);
bool breaker_wait_done(const struct breaker *breaker);
void breaker_end(
	struct breaker *breaker); /* kills it if it still runs, and waits until it is gone */

/* Opens path (read-write) into fd, and other, if there is one, into other_fd. */
long prepare_open(struct breaker *breaker);

/* Looks at the condition until it holds; false after ten seconds, which none here needs. */
bool wait_until(bool (*condition)(const void *), const void *argument);

/* A file of FILE_BYTES written bytes, synced; returns an O_PATH descriptor and its numbers. */
int make_file(const char *name, char path[256], uint64_t *ino);

/* The next attempt, as soon as there is one; false: the breaker (may be NULL) was done without. */
bool wait_attempt(const struct breaker *breaker, struct guard_attempt *attempt);

/* Something passed or failed; the first failure of a test is told. */
void report(bool ok, const char *name, const char *why);

#endif
