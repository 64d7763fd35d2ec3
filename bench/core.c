// SPDX-License-Identifier: LGPL-2.1-or-later
/* The core alone, with many leases in it: no journal, no client. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/subject.h"
#include "daemon/core/core.h"

#define PAGE 4096u
#define DEV 1u
#define SECOND UINT64_C(1000000000)

static struct core *core;
static unsigned leases, files, sessions;
static uint32_t random_state = 1;
static uint64_t cookie;

static uint32_t any(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)random_state * below >> 32);
}

static void check(int error, const char *what)
{
	if (error == 0)
		return;
	errno = -error;
	subject_fail(what);
}

static void drain(void)
{
	struct core_effect effect;

	while (core_next_effect(core, &effect))
		continue;
}

/* The lease `number` has a page of its own in one of the files. */
static uint64_t file_of(unsigned number)
{
	return number % files + 1;
}

static uint64_t start_of(unsigned number)
{
	return (uint64_t)(number / files) * PAGE;
}

static void grant_page(uint64_t ino, uint64_t start, uint32_t session)
{
	uint64_t ticket, epoch;
	bool two_file;

	check(core_grant_begin(core, SECOND, DEV, ino, start, start + PAGE, session,
			       (int32_t)session, 0, &ticket, &two_file),
	      "core_grant_begin");
	check(core_grant_end(core, SECOND, ticket, true, &epoch), "core_grant_end");
	drain();
}

static void fill(char **argument)
{
	const struct core_params params = {
		.margin_ns = SECOND,
		.fence_ns = SECOND,
		.max_leases = 1u << 22,
		.max_ops = 1u << 16,
		.max_files = 1u << 20,
	};

	leases = subject_number(argument[0]);
	files = subject_number(argument[1]);
	sessions = subject_number(argument[2]);
	core = core_new(&params);
	if (!core)
		subject_fail("core_new");
	for (unsigned i = 0; i < leases; i++)
		grant_page(file_of(i), start_of(i), i / files % sessions + 1);
}

/* One more lease, behind the others of its file, and gone again. */
static void grant_one(void)
{
	uint64_t ino = any(files) + 1, start = start_of(leases + files);
	uint32_t session = any(sessions) + 1;

	grant_page(ino, start, session);
	check(core_release(core, SECOND, session, DEV, ino, start, start + PAGE), "core_release");
	drain();
}

static unsigned broken;

static void choose(void)
{
	broken = any(leases);
}

/* Somebody writes to a leased page; its holder lets go. */
static void break_one(void)
{
	const struct core_op_in in = {
		.dev = DEV,
		.ino = file_of(broken),
		.start = start_of(broken),
		.end = start_of(broken) + PAGE,
		.cookie = ++cookie,
		.break_time_ns = SECOND,
		.tid = 1,
		.tgid = 1 << 30,
		.cause = DLP_CAUSE_WRITE,
	};
	uint64_t found;
	uint32_t op;

	check(core_attempt(core, SECOND, &in, &op, &found), "core_attempt");
	drain();
	check(found == 1 ? 0 : -ENOENT, "a lease is not there");
	check(core_release(core, SECOND, broken / files % sessions + 1, DEV, in.ino, in.start,
			   in.end),
	      "core_release");
	drain();
	core_op_finished(core, SECOND, op);
	drain();
}

static void grant_again(void)
{
	grant_page(file_of(broken), start_of(broken), broken / files % sessions + 1);
}

/* Says, instead of a time, how many bytes a lease takes, tables' spare room included. */
static void start_bytes(char **argument)
{
	struct mallinfo2 empty = mallinfo2(), full;

	fill(argument);
	full = mallinfo2();
	printf("%.1f\n",
	       (double)(full.uordblks + full.hblkhd - empty.uordblks - empty.hblkhd) / leases);
	exit(fflush(stdout) == 0 ? 0 : 1);
}

const struct subject subjects[] = {
	{"grant", "LEASES FILES SESSIONS", "a lease more and its release", fill, NULL, grant_one,
	 NULL},
	{"break", "LEASES FILES SESSIONS", "a break of one, and its release", fill, choose,
	 break_one, grant_again},
	{"bytes", "LEASES FILES SESSIONS", "memory for each", start_bytes, NULL, NULL, NULL},
	{0},
};
