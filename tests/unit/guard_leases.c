// SPDX-License-Identifier: LGPL-2.1-or-later
/* The guard by kernel leases, against this kernel: a child opens, the guard tells, the child goes on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/guard/kernel_lease.h"

#define ID 7
#define TRIES 3000 /* of 10 ms: a limit for the broken case only */

struct fixture {
	char path[32];
	int fd;
	struct stat st;
	struct guard *guard;
};

static void set_up(struct fixture *f, int mode, bool allow_all)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "guard_leases.XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	f->fd = open(f->path, mode | O_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(fstat(f->fd, &f->st), 0);
	f->guard = guard_leases_new(allow_all);
	assert_non_null(f->guard);
	assert_int_equal(f->guard->ops->start(f->guard, NULL, NULL), 0);
}

static void tear_down(struct fixture *f)
{
	f->guard->ops->free(f->guard);
	close(f->fd);
	assert_int_equal(unlink(f->path), 0);
}

/* By a process that leads no group, as workers are. */
static void take(const struct fixture *f)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(-guard_lease_take(f->fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int arm(const struct fixture *f)
{
	return guard_lease_arm(f->guard, ID, f->fd, f->st.st_dev, f->st.st_ino);
}

static enum guard_lease_state state(const struct fixture *f)
{
	return guard_lease_look(f->guard, f->st.st_dev, f->st.st_ino, NULL);
}

static pid_t opens(const struct fixture *f, int flags)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(open(f->path, flags) < 0 ? errno : 0);
	assert_true(pid > 0);
	return pid;
}

static int result(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_while(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static bool comes(const struct fixture *f, struct guard_attempt *a)
{
	for (int i = 0; i < TRIES; i++) {
		if (f->guard->ops->next(f->guard, a))
			return true;
		a_while();
	}
	return false;
}

static bool becomes(const struct fixture *f, enum guard_lease_state wanted)
{
	struct guard_attempt a;

	for (int i = 0; i < TRIES; i++) {
		assert_false(f->guard->ops->next(f->guard, &a));
		if (state(f) == wanted)
			return true;
		a_while();
	}
	return false;
}

static void set_up_armed(struct fixture *f, int mode, bool allow_all)
{
	set_up(f, mode, allow_all);
	take(f);
	assert_int_equal(arm(f), 0);
}

static void without_a_lease_nothing_is_armed(void **unused)
{
	struct fixture f;

	(void)unused;
	set_up(&f, O_RDWR, false);
	assert_int_equal(arm(&f), -EAGAIN);
	assert_int_equal(state(&f), GUARD_LEASE_NONE);
	tear_down(&f);
}

static void only_the_only_description_gets_one(void **unused)
{
	struct fixture f;
	int second;

	(void)unused;
	set_up(&f, O_RDWR, false);
	second = open(f.path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(guard_lease_take(f.fd), -EAGAIN);
	close(second);
	take(&f);
	assert_int_equal(arm(&f), 0);
	assert_int_equal(state(&f), GUARD_LEASE_HELD);
	tear_down(&f);
}

static void a_writer_waits_for_the_answer(void **unused)
{
	struct guard_attempt a;
	struct fixture f;
	pid_t pid;

	(void)unused;
	set_up_armed(&f, O_RDWR, false);
	assert_int_equal(f.guard->ops->answer(f.guard, GUARD_LEASE_SLOT | ID, 0), -ENOENT);
	pid = opens(&f, O_WRONLY);
	assert_true(comes(&f, &a));
	assert_int_equal(a.slot, GUARD_LEASE_SLOT | ID);
	assert_int_equal(a.ino, f.st.st_ino);
	assert_int_equal(a.start, 0);
	assert_true(a.end == UINT64_MAX);
	assert_true(a.tgid == pid ||
		    a.tgid == 0); /* on file systems whose devices stat(2) calls otherwise */
	assert_false(a.late);
	assert_false(f.guard->ops->next(f.guard, &a)); /* once */
	assert_true(f.guard->ops->owes(f.guard, a.slot, 0));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	/* It cannot be refused: it waits on. */
	assert_int_equal(f.guard->ops->answer(f.guard, a.slot, -EBUSY), 0);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(state(&f), GUARD_LEASE_BROKEN);
	assert_int_equal(f.guard->ops->answer(f.guard, a.slot, 0), 0);
	assert_int_equal(result(pid), 0);
	assert_int_equal(state(&f), GUARD_LEASE_GIVEN);
	tear_down(&f);
}

static void who_goes_lets_all_go_on(void **unused)
{
	struct guard_attempt a;
	struct fixture f;
	pid_t pid;

	(void)unused;
	set_up_armed(&f, O_RDWR, false);
	pid = opens(&f, O_RDWR | O_TRUNC);
	assert_true(comes(&f, &a));
	guard_lease_disarm(f.guard, f.st.st_dev, f.st.st_ino);
	assert_int_equal(result(pid), 0);
	assert_int_equal(state(&f), GUARD_LEASE_NONE);
	tear_down(&f);
}

static void what_is_dropped_is_noticed(void **unused)
{
	struct fixture f;
	uint64_t changes;

	(void)unused;
	set_up_armed(&f, O_RDWR, false);
	changes = guard_lease_changes(f.guard);
	assert_int_equal(fcntl(f.fd, F_SETLEASE, F_UNLCK), 0);
	assert_true(becomes(&f, GUARD_LEASE_DROPPED));
	assert_true(guard_lease_changes(f.guard) != changes);
	take(&f);
	assert_int_equal(arm(&f), 0);
	assert_int_equal(state(&f), GUARD_LEASE_HELD);
	tear_down(&f);
}

static void readers_share_a_read_lease(void **unused)
{
	struct guard_attempt a;
	struct fixture f;
	pid_t pid;

	(void)unused;
	set_up_armed(&f, O_RDONLY, false);
	assert_int_equal(result(opens(&f, O_RDONLY)), 0);
	assert_int_equal(state(&f), GUARD_LEASE_HELD);
	pid = opens(&f, O_WRONLY | O_NONBLOCK);
	assert_int_equal(result(pid), EAGAIN);
	assert_true(comes(&f, &a)); /* nobody waits, and the break has begun */
	assert_int_equal(f.guard->ops->answer(f.guard, a.slot, 0), 0);
	assert_int_equal(result(opens(&f, O_WRONLY | O_NONBLOCK)), 0);
	tear_down(&f);
}

/* A successor: the same lease, another guard. */
static void a_break_that_was_missed_is_late(void **unused)
{
	struct guard_attempt a;
	struct fixture f;
	pid_t pid;

	(void)unused;
	set_up(&f, O_RDWR, false);
	take(&f);
	pid = opens(&f, O_WRONLY);
	for (int i = 0; i < TRIES && guard_lease_on(f.fd) != GUARD_LEASE_BREAKING; i++)
		a_while();
	assert_int_equal(arm(&f), 0);
	assert_int_equal(f.guard->ops->start(f.guard, NULL, NULL), 0);
	assert_true(comes(&f, &a));
	assert_true(a.late);
	assert_int_equal(f.guard->ops->answer(f.guard, a.slot, 0), 0);
	assert_int_equal(result(pid), 0);
	tear_down(&f);
}

static void switched_off_it_lets_everybody_go_on(void **unused)
{
	struct fixture f;
	pid_t pid;

	(void)unused;
	set_up_armed(&f, O_RDWR, true);
	pid = opens(&f, O_WRONLY);
	assert_true(becomes(&f, GUARD_LEASE_GIVEN));
	assert_int_equal(result(pid), 0);
	tear_down(&f);
}

/* The kernel makes a read lease of it at the end of its time, which lets a reader truncate. That time is waited for. */
static void a_write_lease_that_fell_holds_no_more(void **unused)
{
	FILE *file = fopen("/proc/sys/fs/lease-break-time", "re");
	struct guard_attempt a;
	unsigned seconds = 0;
	struct fixture f;

	(void)unused;
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u", &seconds), 1);
	assert_int_equal(fclose(file), 0);
	if (seconds == 0) /* it never falls */
		skip();
	set_up_armed(&f, O_RDWR, false);
	assert_int_equal(result(opens(&f, O_RDONLY | O_NONBLOCK)), EAGAIN);
	for (unsigned i = 0;
	     i < (seconds + 60) * 100 && guard_lease_on(f.fd) == GUARD_LEASE_BREAKING; i++) {
		assert_false(f.guard->ops->next(f.guard, &a));
		a_while();
	}
	assert_int_not_equal(guard_lease_on(f.fd), GUARD_LEASE_BREAKING);
	assert_int_equal(state(&f), GUARD_LEASE_READ);
	assert_int_equal(guard_lease_on(f.fd), GUARD_LEASE_ON_NONE);
	take(&f);
	assert_int_equal(arm(&f), 0);
	assert_int_equal(guard_lease_on(f.fd), GUARD_LEASE_ON_WRITE);
	assert_int_equal(state(&f), GUARD_LEASE_HELD);
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_lease_nothing_is_armed),
		cmocka_unit_test(only_the_only_description_gets_one),
		cmocka_unit_test(a_writer_waits_for_the_answer),
		cmocka_unit_test(who_goes_lets_all_go_on),
		cmocka_unit_test(what_is_dropped_is_noticed),
		cmocka_unit_test(readers_share_a_read_lease),
		cmocka_unit_test(a_break_that_was_missed_is_late),
		cmocka_unit_test(switched_off_it_lets_everybody_go_on),
		cmocka_unit_test(a_write_lease_that_fell_holds_no_more),
	};

	return cmocka_run_group_tests_name("guard by kernel leases", tests, NULL, NULL);
}
