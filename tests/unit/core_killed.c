/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core with a real journal, in a process that is killed between two stores of a commit, again and again:
 * each time what is there is a core, as it was after one of the commits, and the next process goes on with it.
 * Commits that are not atomic must be found.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/core/core.h"
#include "daemon/core/saved.h"
static unsigned long steps; /* to live */
static int sabotage;

static void step(void)
{
	if (steps && --steps == 0)
		kill(getpid(), SIGKILL);
}

#define JOURNAL_STEP() step()
#define JOURNAL_SABOTAGE(n) (sabotage == (n))
#include "daemon/journal.c"

#define ROUNDS 100
#define SESSIONS 6
#define FILES 3

/* Behind the core's own: one record, the sum of all others as they were saved with it. */
#define SUM CORE_SAVED_KINDS
#define KINDS (SUM + 1)

static const struct journal_kind kinds[KINDS] = {
	[CORE_SAVED_HEAD] = {"head", sizeof(struct core_saved_head), 1},
	[CORE_SAVED_FILE] = {"files", sizeof(struct core_saved_file), 100},
	[CORE_SAVED_FENCED] = {"fenced", sizeof(struct core_saved_fenced), 100},
	[CORE_SAVED_LEASE] = {"leases", sizeof(struct core_saved_lease), 2000},
	[CORE_SAVED_OP] = {"ops", sizeof(struct core_saved_op), 50},
	[SUM] = {"sum", 8, 1},
};

/* Outlives the process beside the tables. */
struct outside {
	uint64_t now_ns;
};

static int room(void *arg, unsigned kind, uint32_t index)
{
	return journal_reserve(arg, kind, index);
}

static void put(void *arg, unsigned kind, uint32_t index, const void *record)
{
	if (record)
		journal_put(arg, kind, index, record);
	else
		journal_drop(arg, kind, index);
}

static const void *next(void *arg, unsigned kind, uint32_t *index)
{
	return journal_next(arg, kind, index);
}

/* In any order. */
static void add(void *sum, unsigned kind, uint32_t index, const void *record)
{
	const unsigned char *bytes = record;
	uint64_t hash = (uint64_t)index << 8 | kind;

	for (unsigned i = 0; record && i < kinds[kind].size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	if (record)
		*(uint64_t *)sum += hash ^ hash >> 29;
}

/* Are the records those of one commit? */
static bool is_whole(struct journal *journal)
{
	uint32_t cursor = 0;
	const uint64_t *saved = journal_next(journal, SUM, &cursor);
	uint64_t want = saved ? *saved : 0, sum = 0;
	const void *record;

	for (unsigned kind = 0; kind < CORE_SAVED_KINDS; kind++) {
		cursor = 0;
		while ((record = journal_next(journal, kind, &cursor)))
			add(&sum, kind, cursor, record);
	}
	return sum == want;
}

static void commit(struct core *core, struct journal *journal)
{
	uint64_t sum = 0;

	core_save(core, false, put, journal);
	core_save(core, true, add, &sum);
	journal_put(journal, SUM, 1, &sum);
	journal_commit(journal);
}

static struct journal *reopen(int fd)
{
	struct journal *journal;

	assert_int_equal(journal_open(&journal, dup(fd), kinds, KINDS, sizeof(struct outside)), 0);
	assert_true(journal_writable(journal));
	return journal;
}

static struct core *restored(struct journal *journal)
{
	const struct outside *outside = journal_extra(journal);
	const struct core_params params = {
		.margin_ns = 30,
		.fence_ns = 20,
		.max_leases = 2000,
		.max_ops = 50,
		.max_files = 100,
		.room = room,
		.room_arg = journal,
	};
	struct core *core;

	assert_int_equal(core_restore(&core, &params, outside->now_ns, next, journal), 0);
	assert_null(core_check(core));
	return core;
}

static uint64_t below(unsigned long limit)
{
	return (unsigned long)random() % limit;
}

static void input_attempt(struct core *core, uint64_t now_ns, uint64_t ino, uint64_t start,
			  uint64_t end)
{
	const struct core_op_in in = {
		.dev = 1,
		.ino = ino,
		.start = start,
		.end = below(4) ? end : UINT64_MAX,
		.tid = 1 + (int32_t)below(1000),
		.tgid = 10 + (int32_t)below(SESSIONS),
		.break_time_ns = below(2) * 50,
		.own = (enum core_own)below(3),
		.two_file = below(10) == 0,
	};
	uint64_t leases;
	uint32_t op;

	core_attempt(core, now_ns, &in, &op, &leases);
}

static void finish_one(struct core *core, uint64_t now_ns)
{
	struct core_op_view view;
	uint32_t cursor = (uint32_t)below(20);

	if (core_list_ops(core, &cursor, &view))
		core_op_finished(core, now_ns, view.op);
}

static void one_input(struct core *core, struct outside *outside, uint64_t *ticket, uint64_t *epoch)
{
	uint32_t session = 1 + (uint32_t)below(SESSIONS);
	uint64_t ino = 1 + below(FILES), start = below(300), end = start + 1 + below(40), now_ns;
	bool two_file;

	now_ns = outside->now_ns += below(5);
	switch (below(10)) {
	case 0:
	case 1:
	case 2:
		core_grant_begin(core, now_ns, 1, ino, start, end, session, 9 + (int32_t)session,
				 (uint32_t)below(4), ticket, &two_file);
		break;
	case 3:
	case 4:
		core_grant_end(core, now_ns, *ticket, true, NULL);
		break;
	case 5:
		core_release(core, now_ns, session, 1, ino, start, end);
		break;
	case 6:
		core_answered(core, now_ns, session, 1, ino, start, end + 100, *epoch);
		break;
	case 7:
		input_attempt(core, now_ns, ino, start, end);
		break;
	case 8:
		finish_one(core, now_ns);
		break;
	case 9:
		if (below(10) == 0)
			core_session_gone(core, now_ns, session);
		core_tick(core, now_ns);
		break;
	}
}

/* The daemon's rule: save, commit, then the effects. It lives `lifetime` steps from its first commit on. */
static void work_for_ever(int fd, unsigned long lifetime)
{
	struct journal *journal = reopen(fd);
	struct outside *outside = journal_extra(journal);
	struct core *core = restored(journal);
	uint64_t ticket = 0, epoch = 0;
	struct core_effect effect;

	for (;;) {
		commit(core, journal);
		if (!steps)
			steps = lifetime;
		while (core_next_effect(core, &effect))
			epoch = effect.epoch > epoch ? effect.epoch : epoch;
		one_input(core, outside, &ticket, &epoch);
	}
}

/* Lets a worker work until it is killed. */
static void work(int fd, unsigned seed)
{
	unsigned long lifetime = 1 + below(5000);
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		srandom(seed);
		work_for_ever(fd, lifetime);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* False: what was left is of no commit. */
static bool kill_again_and_again(struct core_counts *most)
{
	struct journal *journal;
	bool whole = true;
	int fd;

	assert_int_equal(journal_new(&journal, kinds, KINDS, sizeof(struct outside)), 0);
	for (unsigned kind = 0; kind < KINDS; kind++)
		assert_int_equal(journal_reserve(journal, kind, 1), 0);
	fd = dup(journal_fd(journal));
	for (unsigned round = 0; whole && round < ROUNDS; round++) {
		struct core_counts counts;
		struct core *core;

		journal_close(journal);
		work(fd, round);
		journal = reopen(fd);
		whole = is_whole(journal);
		if (!whole)
			break;
		core = restored(journal);
		core_counts(core, &counts);
		if (counts.leases > most->leases)
			most->leases = counts.leases;
		if (counts.waiting > most->waiting)
			most->waiting = counts.waiting;
		core_free(core);
	}
	journal_close(journal);
	close(fd);
	return whole;
}

static void killed_again_and_again(void **state)
{
	struct core_counts most = {0};

	(void)state;
	srandom(1);
	assert_true(kill_again_and_again(&most));
	assert_true(most.leases > 5 && most.waiting > 0); /* else nothing was tried */
}

static void torn_commits_are_found(void **state)
{
	struct core_counts most = {0};

	(void)state;
	for (sabotage = 1; sabotage <= 2; sabotage++)
		assert_false(kill_again_and_again(&most));
	sabotage = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_again_and_again),
		cmocka_unit_test(torn_commits_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
