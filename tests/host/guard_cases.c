/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What takes more than one breaker, or the guard's own state: silence, arming, order, limits,
 * misuse. */
#include "tests/host/guard_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Leaves the case with these words if the condition does not hold. Breakers and armed files of a
 * case that failed are left behind: the run has failed anyway. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return #condition;                                                         \
	} while (0)

static struct guard_counts counts_now(void)
{
	struct guard_counts counts;

	guard_fanotify_counts(bench.guard, &counts);
	return counts;
}

static int arm(int fd, uint64_t ino)
{
	return bench.guard->ops->arm(bench.guard, fd, bench.dev, ino);
}

static int disarm(int fd, uint64_t ino)
{
	return bench.guard->ops->disarm(bench.guard, fd, bench.dev, ino);
}

/* Its events come again: make_file()'s own have silenced it. */
static bool unsilence(int fd, uint64_t ino)
{
	return arm(fd, ino) == 0 && disarm(fd, ino) == 0;
}

static int answer(const struct guard_attempt *attempt, int error)
{
	return bench.guard->ops->answer(bench.guard, attempt->slot, error);
}

static bool nothing_next(void)
{
	struct guard_attempt attempt;
	struct pollfd readable = {.fd = bench.guard->event_fd, .events = POLLIN};

	return poll(&readable, 1, 0) == 0 && !bench.guard->ops->next(bench.guard, &attempt);
}

/* The breaker waits in the guard: its thread sleeps in the kernel and has not come back. */
static bool waits(const struct breaker *b)
{
	return !breaker_done(b) && b->state == BREAKER_RUNS;
}

static long act_pwrite_often(struct breaker *b)
{
	for (b->counter = 0; b->counter < 100; b->counter++) {
		if (pwrite(b->fd, "x", 1, 0) != 1)
			return -1;
	}
	return 0;
}

static const char *silenced_after_the_first(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("unarmed", path, &ino);
	struct guard_counts before, after;
	struct breaker *b;

	b = breaker_new(prepare_open, act_pwrite, path, NULL, 0);
	breaker_go(b);
	MUST(breaker_wait_done(b) && b->ret == 1);
	breaker_end(b);
	before = counts_now();
	b = breaker_new(prepare_open, act_pwrite_often, path, NULL, 0);
	breaker_go(b);
	MUST(breaker_wait_done(b) && b->ret == 0);
	breaker_end(b);
	after = counts_now();
	MUST(after.events == before.events && nothing_next());
	close(fd);
	return NULL;
}

/* Armed again and again; once disarmed it is silenced by its next event. */
static const char *disarmed_is_free(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("file", path, &ino);
	struct guard_attempt attempt;
	struct breaker *b;

	for (int round = 0; round < 3; round++) {
		struct guard_counts before;

		MUST(arm(fd, ino) == 0 && arm(fd, ino) == 0);
		b = breaker_new(prepare_open, act_pwrite, path, NULL, 0);
		breaker_go(b);
		MUST(wait_attempt(b, &attempt) && answer(&attempt, 0) == 0 && breaker_wait_done(b));
		breaker_end(b);
		MUST(disarm(fd, ino) == 0 && disarm(fd, ino) == -ENOENT);
		b = breaker_new(prepare_open, act_pwrite_often, path, NULL, 0);
		before = counts_now();
		breaker_go(b);
		MUST(breaker_wait_done(b) && b->ret == 0 && nothing_next());
		MUST(counts_now().events <= before.events + 1);
		breaker_end(b);
	}
	close(fd);
	return NULL;
}

static const char *reverse_order(void)
{
	char path[2][256];
	uint64_t ino[2];
	int fd[2] = {make_file("one", path[0], &ino[0]), make_file("two", path[1], &ino[1])};
	struct guard_attempt attempt[2];
	struct breaker *b[2];

	for (int i = 0; i < 2; i++) {
		MUST(arm(fd[i], ino[i]) == 0);
		b[i] = breaker_new(prepare_open, act_pwrite, path[i], NULL, 0);
		breaker_go(b[i]);
		MUST(wait_attempt(b[i], &attempt[i]) && attempt[i].ino == ino[i]);
	}
	MUST(answer(&attempt[1], -EAGAIN) == 0 && breaker_wait_done(b[1]));
	MUST(b[1]->ret == -1 && b[1]->error == EAGAIN && waits(b[0]));
	MUST(answer(&attempt[0], 0) == 0 && breaker_wait_done(b[0]) && b[0]->ret == 1);
	for (int i = 0; i < 2; i++) {
		breaker_end(b[i]);
		MUST(disarm(fd[i], ino[i]) == 0);
		close(fd[i]);
	}
	return NULL;
}

static bool dead(const void *argument)
{
	const struct breaker *b = argument;

	return kill(b->pid, 0) < 0;
}

/* facts.md, "Event numbers collide": an answer for a dead breaker must not reach one that came
 * after it, and each must get its own. */
static const char *killed_is_not_confused(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("file", path, &ino);
	struct guard_attempt of_dead, of_living;

	MUST(arm(fd, ino) == 0);
	for (int answer_first = 0; answer_first < 2; answer_first++) {
		struct breaker *first = breaker_new(prepare_open, act_pwrite, path, NULL, 0),
			       *second;

		breaker_go(first);
		MUST(wait_attempt(first, &of_dead));
		kill(first->pid, SIGKILL);
		MUST(wait_until(dead, first));
		if (answer_first)
			MUST(answer(&of_dead, 0) == 0);
		second = breaker_new(prepare_open, act_pwrite, path, NULL, 0);
		breaker_go(second);
		MUST(wait_attempt(second, &of_living) && of_living.tid == second->tid);
		if (!answer_first)
			MUST(answer(&of_dead, 0) == 0);
		/* whatever the first answer did has been done when a third breaker has come and
		 * gone */
		{
			struct breaker *third = breaker_new(prepare_open, act_pwrite, path, NULL,
							    0);
			struct guard_attempt of_third;

			breaker_go(third);
			MUST(wait_attempt(third, &of_third) && answer(&of_third, 0) == 0);
			MUST(breaker_wait_done(third) && third->ret == 1);
			breaker_end(third);
		}
		MUST(waits(second));
		MUST(answer(&of_living, -EBUSY) == 0 && breaker_wait_done(second) &&
		     second->error == EBUSY);
		breaker_end(first);
		breaker_end(second);
	}
	MUST(disarm(fd, ino) == 0);
	close(fd);
	return NULL;
}

static const char *clone_of_unarmed_is_told(void)
{
	char path[256], other[256];
	uint64_t ino, other_ino;
	int fd, other_fd, seen = 0;
	struct guard_attempt attempt;
	struct breaker *b;

	if (!bench.xfs)
		return NULL; /* ext4 cannot clone */
	fd = make_file("to", path, &ino);
	other_fd = make_file("from", other, &other_ino);
	MUST(unsilence(fd, ino) && unsilence(other_fd, other_ino));
	b = breaker_new(prepare_open, act_clone, path, other, 0);
	breaker_go(b);
	MUST(breaker_wait_done(b) && b->ret == 0);
	/* it went on without an answer, and both sides were told before it did */
	while (bench.guard->ops->next(bench.guard, &attempt)) {
		MUST(attempt.answered && attempt.two_file && attempt.cause == DLP_CAUSE_CLONE &&
		     attempt.tid == b->tid);
		MUST(attempt.ino == ino || attempt.ino == other_ino);
		MUST(answer(&attempt, 0) == 0 && answer(&attempt, 0) == -EINVAL);
		seen |= attempt.ino == ino ? 1 : 2;
	}
	breaker_end(b);
	close(fd);
	close(other_fd);
	return seen == 3 ? NULL : "not both sides were told";
}

static const char *one_side_armed(void)
{
	char path[256], other[256];
	uint64_t ino, other_ino;
	int fd, other_fd, stops = 0, notices = 0;
	struct guard_attempt attempt;
	struct breaker *b;

	if (!bench.xfs)
		return NULL;
	fd = make_file("to", path, &ino);
	other_fd = make_file("from", other, &other_ino);
	MUST(arm(fd, ino) == 0 && unsilence(other_fd, other_ino));
	b = breaker_new(prepare_open, act_clone, path, other, 0);
	breaker_go(b);
	while (wait_attempt(b, &attempt)) {
		MUST(attempt.two_file && attempt.answered == (attempt.ino == other_ino));
		if (attempt.answered) {
			notices++;
			continue;
		}
		MUST(waits(b) && answer(&attempt, 0) == 0);
		stops++;
	}
	MUST(stops >= 1 && notices >= 1 && breaker_wait_done(b) && b->ret == 0);
	breaker_end(b);
	MUST(disarm(fd, ino) == 0);
	close(fd);
	close(other_fd);
	return NULL;
}

/* --- arming against writers
 * -------------------------------------------------------------------------- */

/* argument: the epoch's owner is the first breaker's record. A write that began and ended in one
 * armed epoch must have been reported while it was waiting: the test notes in `seen` which write it
 * was. */
static long act_hammer(struct breaker *b)
{
	for (uint64_t n = 1; !b->counter; n++) {
		const uint64_t began = b->epoch;
		long ret;

		b->doing = n;
		ret = n % 3 ? pwrite(b->fd, "x", 1, 0) : ftruncate(b->fd, FILE_BYTES);
		if (ret < 0)
			return -1;
		if (began % 2 && began == b->epoch && b->seen != n)
			b->lost++;
	}
	return 0;
}

#define HAMMERS 3
#define ROUNDS 400

static const char *no_event_is_lost(void)
{
	char path[256];
	uint64_t ino, attempts = 0;
	int fd = make_file("hammered", path, &ino);
	struct breaker *b[HAMMERS];
	struct guard_attempt attempt;

	for (int i = 0; i < HAMMERS; i++) {
		b[i] = breaker_new(prepare_open, act_hammer, path, NULL,
				   i == 1 ? BREAKER_THREAD : 0);
		breaker_go(b[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t in_round = 0;

		MUST(arm(fd, ino) == 0);
		for (int i = 0; i < HAMMERS; i++)
			b[i]->epoch++;
		while (in_round < 4) {
			if (!wait_attempt(b[0], &attempt))
				return b[0]->lost ? "a write passed while armed" : "no attempt";
			for (int i = 0; i < HAMMERS; i++) {
				if (b[i]->tid == attempt.tid)
					b[i]->seen = b[i]->doing;
			}
			if (attempt.answered) /* stopped before it was armed, and not to be decoded
					       */
				continue;
			MUST(answer(&attempt, 0) == 0);
			in_round++;
		}
		attempts += in_round;
		for (int i = 0; i < HAMMERS; i++)
			b[i]->epoch++;
		MUST(disarm(fd, ino) == 0);
		while (bench.guard->ops->next(bench.guard, &attempt))
			MUST(attempt.answered || answer(&attempt, 0) == 0);
	}
	for (int i = 0; i < HAMMERS; i++) {
		b[i]->counter = 1;
		while (!breaker_done(
			b[i])) { /* attempts stopped before the last disarm can still be coming */
			if (bench.guard->ops->next(bench.guard, &attempt))
				MUST(attempt.answered || answer(&attempt, 0) == 0);
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		}
		MUST(b[i]->ret == 0 && b[i]->lost == 0);
		breaker_end(b[i]);
	}
	MUST(attempts == ROUNDS * 4);
	close(fd);
	return NULL;
}

static long act_on_word(struct breaker *b)
{
	for (uint64_t done = 0;;) {
		const uint64_t word = b->epoch;

		if (word == done)
			continue;
		if (pwrite(b->fd, "x", 1, 0) != 1)
			return -1;
		b->counter = done = word;
	}
}

/* A thread that was woken shows none; so who shows this one has not been answered. */
static bool waits_in_kernel(const struct breaker *b)
{
	char path[64], text[64] = "";
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/wchan", (long)b->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	return length > 0 && !strcmp(text, "fanotify_handle_event");
}

/* Who waits when arm() returns, on an event raised before, is not let go on as if the inode were
 * not armed. */
static const char *none_is_let_go_after_arm(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("raced", path, &ino), waited = 0;
	struct breaker *b = breaker_new(prepare_open, act_on_word, path, NULL, 0);
	struct guard_attempt attempt;

	MUST(unsilence(fd, ino));
	breaker_go(b);
	for (uint64_t round = 1; round <= 3000; round++) {
		bool waiting, stopped = false;

		b->epoch = round;
		for (uint64_t n = 0; n < round % 300 * 40; n++)
			b->seen = n; /* a different time each round */
		MUST(arm(fd, ino) == 0);
		waiting = waits_in_kernel(b);
		waited += waiting;
		while (b->counter != round) {
			if (bench.guard->ops->next(bench.guard, &attempt) && !attempt.answered) {
				stopped = true;
				MUST(answer(&attempt, 0) == 0);
			}
		}
		if (waiting && !stopped)
			return "it was";
		MUST(disarm(fd, ino) == 0);
	}
	breaker_end(b);
	close(fd);
	return waited ? NULL : "the race never happened";
}

/* --- limits
 * ------------------------------------------------------------------------------------------ */

static bool is_paused(const void *argument)
{
	(void)argument;
	return counts_now().paused && counts_now().held >= 30;
}

/* 60 breakers, and descriptors for half as many: the rest waits in the kernel, and none is refused.
 */
enum { CROWD = 60, LIMIT = 64 };

static const char *crowd(const struct rlimit *before, long (*act)(struct breaker *))
{
	char path[256];
	uint64_t ino;
	int fd = make_file("crowd", path, &ino), answered = 0;
	struct breaker *b[CROWD];
	struct guard_attempt attempt;
	const struct rlimit small = {.rlim_cur = LIMIT, .rlim_max = before->rlim_max};

	MUST(arm(fd, ino) == 0);
	for (int i = 0; i < CROWD; i++)
		b[i] = breaker_new(prepare_open, act, path, NULL, 0);
	MUST(setrlimit(RLIMIT_NOFILE, &small) == 0);
	for (int i = 0; i < CROWD; i++)
		breaker_go(b[i]);
	MUST(wait_until(is_paused, NULL));
	MUST(counts_now().held <= LIMIT / 2);
	while (answered < CROWD && wait_attempt(NULL, &attempt)) {
		MUST(answer(&attempt, 0) == 0);
		answered++;
	}
	MUST(answered == CROWD);
	for (int i = 0; i < CROWD; i++) {
		MUST(breaker_wait_done(b[i]) && b[i]->ret >= 0);
		breaker_end(b[i]);
	}
	MUST(disarm(fd, ino) == 0);
	close(fd);
	return NULL;
}

static const char *descriptors_run_out(void)
{
	struct rlimit before;
	const char *why;

	MUST(getrlimit(RLIMIT_NOFILE, &before) == 0);
	why = crowd(&before, act_pwrite);
	MUST(setrlimit(RLIMIT_NOFILE, &before) == 0);
	if (!why) /* of these two come in one read */
		why = crowd(&before, act_open_trunc);
	MUST(setrlimit(RLIMIT_NOFILE, &before) == 0);
	return why;
}

/* --- misuse and the rest
 * ----------------------------------------------------------------------------- */

static const char *answers_are_checked(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("file", path, &ino);
	struct guard_attempt attempt;
	struct breaker *b = breaker_new(prepare_open, act_pwrite, path, NULL, 0);
	struct pollfd readable = {.fd = bench.guard->event_fd, .events = POLLIN};

	MUST(arm(fd, ino + 1) == -ESTALE && disarm(fd, ino) == -ENOENT);
	MUST(arm(fd, ino) == 0);
	breaker_go(b);
	MUST(poll(&readable, 1, bench.allow_all ? 500 : 10000) == 1);
	MUST(bench.guard->ops->next(bench.guard, &attempt) && poll(&readable, 1, 0) == 0);
	MUST(answer(&attempt, -EACCES) == -EINVAL && answer(&attempt, EBUSY) == -EINVAL);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot + 1000, 0) == -EINVAL);
	MUST(bench.guard->ops->answer(bench.guard, UINT32_MAX, 0) == -EINVAL);
	MUST(waits(b));
	MUST(answer(&attempt, -ETXTBSY) == 0 && answer(&attempt, 0) == -EINVAL);
	MUST(breaker_wait_done(b) && b->error == ETXTBSY);
	breaker_end(b);
	MUST(disarm(fd, ino) == 0);
	close(fd);
	return NULL;
}

static const char *workers_are_exempt(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("file", path, &ino);
	struct guard_attempt attempt;

	MUST(arm(fd, ino) == 0);
	for (int exempt = 1; exempt >= 0; exempt--) {
		struct breaker *b = breaker_new(prepare_open, act_pwrite, path, NULL,
						BREAKER_THREAD);

		bench.guard->ops->exempt(bench.guard, b->pid, exempt);
		breaker_go(b);
		if (exempt) {
			MUST(breaker_wait_done(b) && b->ret == 1 && nothing_next());
		} else {
			MUST(wait_attempt(b, &attempt) && answer(&attempt, 0) == 0);
			MUST(breaker_wait_done(b));
		}
		bench.guard->ops->exempt(bench.guard, b->pid, false);
		breaker_end(b);
	}
	/* and so are we: nobody would answer */
	{
		int own = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);

		MUST(own >= 0 && pwrite(own, "x", 1, 0) == 1 && close(own) == 0 && nothing_next());
	}
	MUST(disarm(fd, ino) == 0);
	close(fd);
	return NULL;
}

/* An inode still armed when its file system is given up lets everybody go on, now and when it is
 * watched again. */
static const char *unwatch_forgets(void)
{
	char path[256];
	uint64_t ino;
	int fd = make_file("file", path, &ino);
	struct guard_attempt attempt;
	struct breaker *b;

	MUST(arm(fd, ino) == 0);
	MUST(bench.guard->ops->unwatch(bench.guard, bench.dir_fd, bench.dev) == 0);
	MUST(bench.guard->ops->unwatch(bench.guard, -1, bench.dev) == 0);
	for (int again = 0; again < 2; again++) {
		b = breaker_new(prepare_open, act_pwrite_often, path, NULL, 0);
		breaker_go(b);
		MUST(breaker_wait_done(b) && b->ret == 0 && nothing_next());
		breaker_end(b);
		MUST(bench.guard->ops->watch(bench.guard, bench.dir_fd, bench.dev) == 0);
	}
	MUST(disarm(fd, ino) == -ENOENT && arm(fd, ino) == 0);
	b = breaker_new(prepare_open, act_pwrite, path, NULL, 0);
	breaker_go(b);
	MUST(wait_attempt(b, &attempt) && answer(&attempt, 0) == 0 && breaker_wait_done(b));
	breaker_end(b);
	MUST(disarm(fd, ino) == 0);
	close(fd);
	return NULL;
}

static const char *others_cannot_be_watched(void)
{
	int fd = open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return NULL;
	MUST(fstat(fd, &st) == 0);
	MUST(bench.guard->ops->watch(bench.guard, fd, st.st_dev + 1) == -ESTALE);
	MUST(bench.guard->ops->watch(bench.guard, fd, st.st_dev) == -EOPNOTSUPP);
	close(fd);
	return NULL;
}

const struct test_case guard_cases[] = {
	{"an inode that is not armed is silenced by its first event", silenced_after_the_first,
	 false},
	{"a disarmed inode is free, and can be armed again", disarmed_is_free, true},
	{"two breakers are answered in reverse order", reverse_order, true},
	{"a killed breaker is not confused with a new one", killed_is_not_confused, true},
	{"a clone between files that are not armed is told before it goes on",
	 clone_of_unarmed_is_told, false},
	{"a clone from a file that is not armed into an armed one", one_side_armed, false},
	{"C10 arming and disarming against writers loses no event", no_event_is_lost, true},
	{"nobody who waits is let go on after arm", none_is_let_go_after_arm, true},
	{"C25 a crowd of breakers: reading stops before descriptors run out", descriptors_run_out,
	 true},
	{"wrong answers are refused, and the breaker waits on", answers_are_checked, true},
	{"workers and the guard's own process are exempt", workers_are_exempt, true},
	{"unwatch forgets what was armed", unwatch_forgets, true},
	{"a file system that takes no part cannot be watched", others_cannot_be_watched, false},
	{NULL, NULL, false},
};
