// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The memory hooks, one thread, against the fake daemon. The shim is linked in: mmap here is the
 * hook (shim_names.h). Every test leaves no lease behind.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "libshim/shim_session.h"
#include "libshim/shim_table.h"
#include "tests/unit/shim_check.h"
#include "tests/unit/shim_daemon.h"

#define RW (PROT_READ | PROT_WRITE)

/* A child of fork starts a listener of its own; the sanitizer must be told that this is meant. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

static int fd;
static size_t page;

static char *map_at(void *addr, unsigned first, unsigned pages, int flags)
{
	return mmap(addr, pages * page, RW, flags, fd, (off_t)(first * page));
}

static char *map(unsigned first, unsigned pages)
{
	char *mapped = map_at(NULL, first, pages, MAP_SHARED);

	CHECK(mapped != MAP_FAILED);
	return mapped;
}

static sigjmp_buf fault_jump;
static volatile sig_atomic_t fault_signal, fault_code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fault_signal = sig;
	fault_code = info->si_code;
	siglongjmp(fault_jump, 1);
}

/* 0: it can be written; else the signal. */
static int touch(char *at)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	fault_signal = 0;
	if (sigsetjmp(fault_jump, 1) == 0)
		*(volatile char *)at = 'x';
	if (fault_signal == SIGBUS)
		CHECK(fault_code == BUS_ADRERR);
	return fault_signal;
}

static void none_left(void)
{
	CHECK(fake_wait_held(0, FAKE_PAGES, 0));
	CHECK(table_begin() == NULL && session.coverage.ranges.count == 0);
}

static void lease_lives_as_the_mapping(void)
{
	char *mapped = map(0, 8);

	CHECK(fake_held(0, 8) == 8 && touch(mapped) == 0);
	CHECK(munmap(mapped + 2 * page, 2 * page) == 0);
	CHECK(fake_wait_held(0, 8, 6) && fake_held(2, 4) == 0 && touch(mapped + 4 * page) == 0);
	CHECK(munmap(mapped, 8 * page) == 0);
	none_left();
}

static void mapped_twice(void)
{
	unsigned before = fake_grants();
	char *one = map(0, 8), *two = map(4, 8), *inside = map(5, 2);

	CHECK(fake_grants() == before + 2 && fake_held(0, 16) == 12);
	CHECK(munmap(one, 8 * page) == 0 && fake_wait_held(0, 16, 8) && fake_held(4, 12) == 8);
	CHECK(munmap(two, 8 * page) == 0 && fake_wait_held(0, 16, 2) && fake_held(5, 7) == 2);
	CHECK(munmap(inside, 2 * page) == 0);
	none_left();
}

static void others_pass(void)
{
	unsigned before = fake_grants();
	char *private = mmap(NULL, page, RW, MAP_PRIVATE, fd, 0);
	char *anonymous = mmap(NULL, page, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(private != MAP_FAILED && anonymous != MAP_FAILED && fake_grants() == before);
	CHECK(touch(private) == 0 && touch(anonymous) == 0);
	CHECK(munmap(private, page) == 0 && munmap(anonymous, page) == 0);
	CHECK(mmap(NULL, page, RW, MAP_SHARED, -1, 0) == MAP_FAILED && errno == EBADF);
	CHECK(mmap(NULL, 0, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(munmap((void *)1, page) == -1 && errno == EINVAL);
	none_left();
}

static void refused(void)
{
	char *mapped;

	fake_refuse(DLP_REASON_HOLE);
	mapped = map(0, 2);
	CHECK(touch(mapped) == 0 && munmap(mapped, 2 * page) == 0);
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, 0, 2, MAP_SHARED) == MAP_FAILED && errno == ENODATA);
	CHECK(map_at(NULL, 0, 2, MAP_SHARED_VALIDATE) == MAP_FAILED && errno == ENODATA);
	session.mode = SHIM_PREFER;
	fake_refuse(0);
	none_left();
}

static void fixed(void)
{
	char *place = mmap(NULL, 8 * page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *old;

	CHECK(place != MAP_FAILED);
	strcpy(place + page, "before");
	fake_refuse(DLP_REASON_NOT_OWNER);
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(place, 0, 4, MAP_SHARED | MAP_FIXED) == MAP_FAILED && errno == EACCES);
	CHECK(strcmp(place + page, "before") == 0);
	session.mode = SHIM_PREFER;
	fake_refuse(0);
	CHECK(map_at(place, 0, 4, MAP_SHARED | MAP_FIXED) == place && fake_held(0, 4) == 4);
	CHECK(touch(place + 3 * page) == 0 && table_begin()->node.start == (uintptr_t)place);
	/* another part of the file over the middle: what was there ends */
	CHECK(map_at(place + page, 20, 2, MAP_SHARED | MAP_FIXED) == place + page);
	CHECK(fake_wait_held(0, 32, 4) && fake_held(1, 3) == 0 && fake_held(20, 22) == 2);
	/* anonymous memory, and a private mapping of the same file, over the rest */
	CHECK(mmap(place, page, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
	CHECK(mmap(place + 3 * page, page, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == place + 3 * page);
	CHECK(fake_wait_held(0, 32, 2) && touch(place) == 0 && touch(place + 3 * page) == 0);
	CHECK(map_at(place, 0, 1, MAP_SHARED | MAP_FIXED_NOREPLACE) == MAP_FAILED &&
	      errno == EEXIST);
	CHECK(map_at(place + 1, 0, 1, MAP_SHARED | MAP_FIXED) == MAP_FAILED && errno == EINVAL);
	CHECK(munmap(place, 8 * page) == 0);
	none_left();

	/* where the kernel would put it anyway: the way round its own first mapping */
	old = map(0, 8);
	CHECK(munmap(old, 8 * page) == 0);
	CHECK(map_at(old, 0, 8, MAP_SHARED | MAP_FIXED) == old && fake_held(0, 8) == 8 &&
	      touch(old) == 0);
	CHECK(munmap(old, 8 * page) == 0);
	none_left();
}

static void remapped(void)
{
	char *mapped = map(0, 8), *place, *twice, *moved;

	CHECK(mremap(mapped, 8 * page, 6 * page, 0) == mapped && fake_wait_held(0, 8, 6));
	place = mmap(NULL, 8 * page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(mapped, 6 * page, 6 * page, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	CHECK(moved == place && fake_held(0, 8) == 6 && touch(moved) == 0);
	CHECK(table_begin()->node.start == (uintptr_t)place);

	twice = mremap(moved, 0, 4 * page, MREMAP_MAYMOVE);
	CHECK(twice != MAP_FAILED);
	CHECK(munmap(moved, 6 * page) == 0 && fake_wait_held(0, 8, 4));
	place = mremap(twice, 4 * page, 4 * page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	CHECK(place != MAP_FAILED && munmap(twice, 4 * page) == 0 && fake_held(0, 8) == 4);

	session.mode = SHIM_REQUIRE;
	CHECK(mremap(place, 4 * page, 6 * page, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
	session.mode = SHIM_PREFER;
	moved = mremap(place, 4 * page, 6 * page, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED && fake_held(0, 8) == 4 && touch(moved + 5 * page) == 0);
	CHECK(munmap(moved, 6 * page) == 0);
	none_left();
}

static void revoked(void)
{
	char *mapped = map(0, 8), *again = map(4, 2), *new;
	unsigned answers;

	fake_break(2, 4);
	CHECK(touch(mapped + 2 * page) == 0);
	CHECK(fake_revoke(2, 5, false, &answers) == 0 && answers == 1);
	CHECK(touch(mapped + page) == 0 && touch(mapped + 2 * page) == SIGBUS);
	CHECK(touch(mapped + 4 * page) == SIGBUS && touch(mapped + 5 * page) == 0);
	CHECK(touch(again) == SIGBUS && touch(again + page) == 0);
	CHECK(fake_held(0, 8) == 5);
	/* no way back until the operation has finished (C16) */
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, 2, 1, MAP_SHARED) == MAP_FAILED && errno == EAGAIN);
	session.mode = SHIM_PREFER;
	fake_finish(2, 5);
	new = map(2, 2);
	CHECK(touch(new) == 0 && fake_held(0, 8) == 7 && touch(mapped + 2 * page) == SIGBUS);
	/* the revoked parts stand on nothing: unmapping them takes nothing from the new one */
	CHECK(munmap(mapped, 8 * page) == 0 && munmap(again, 2 * page) == 0);
	CHECK(fake_wait_held(0, 8, 2) && touch(new) == 0);
	CHECK(munmap(new, 2 * page) == 0);
	none_left();
}

/* What the shim says goes to `to` while this runs; true if it comes to say `words`. */
static bool revocation_says(int to, int read_from, const char *words)
{
	char *mapped = map(0, 4), said[2048] = "";
	int before = dup(STDERR_FILENO);
	unsigned answers;
	ssize_t got = 0;

	CHECK(before >= 0 && dup2(to, STDERR_FILENO) >= 0);
	CHECK(fake_revoke(1, 2, false, &answers) == 0 && answers == 1);
	for (int tries = 0; tries < 1000 && got <= 0; tries++) {
		got = read(read_from, said, sizeof(said) - 1);
		usleep(got > 0 ? 0 : 10000);
	}
	CHECK(dup2(before, STDERR_FILENO) >= 0 && close(before) == 0);
	fake_finish(1, 2);
	CHECK(touch(mapped + page) == SIGBUS && munmap(mapped, 4 * page) == 0);
	none_left();
	return strstr(said, words) && strstr(said, "breaker") && strstr(said, "[4096,8192)");
}

/* Also to one that asked for a signal, and where stderr is a file of the pool's own file system. */
static void revocation_is_said(void)
{
	char name[] = "/tmp/shim_hooks.log.XXXXXX";
	int ends[2], log = mkstemp(name), reader = open(name, O_RDONLY | O_CLOEXEC);

	CHECK(log >= 0 && reader >= 0 && unlink(name) == 0);
	CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(revocation_says(ends[1], ends[0], "/file [4096"));
	session.signal = SIGUSR2;
	CHECK(revocation_says(ends[1], ends[0], "is revoked"));
	session.signal = 0;
	CHECK(revocation_says(log, reader, "is revoked"));
	close(log);
	close(reader);
	close(ends[0]);
	close(ends[1]);
}

static void revoke_before_reply(void)
{
	unsigned answers;

	fake_before_reply(NULL);
	CHECK(fake_revoke(0, 4, false, &answers) == 0 && answers == 1);
}

/* The revocation overtakes the reply to the grant: the program never sees that mapping. */
static void revoked_while_pending(void)
{
	char *mapped;

	fake_before_reply(revoke_before_reply);
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, 0, 4, MAP_SHARED) == MAP_FAILED && errno == EAGAIN);
	none_left();
	fake_finish(0, 4);
	session.mode = SHIM_PREFER;
	fake_before_reply(revoke_before_reply);
	mapped = map(0, 4); /* closed: goes on without a lease, on the file and not on what replaced
			       it */
	CHECK(touch(mapped) == 0 && munmap(mapped, 4 * page) == 0);
	fake_finish(0, 4);
	none_left();
}

/* A daemon that was killed does again what it does not know to have done. The second revocation comes when the range
 * is leased anew, and takes nothing away. */
static void said_again(void)
{
	char *mapped, *again;
	unsigned answers;

	fake_repeat(true);
	mapped = map(0, 4);
	again = map(4, 4);
	CHECK(touch(mapped) == 0 && touch(again) == 0 && fake_held(0, 8) == 8);
	for (int i = 0; i < 100; i++) {
		CHECK(fake_revoke(0, 4, i % 2, &answers) == 0 && answers == 1);
		fake_finish(0, 4);
		CHECK(munmap(mapped, 4 * page) == 0);
		mapped = map(0, 4);
		fake_repeat(i % 3);
		CHECK(touch(mapped) == 0);
	}
	fake_repeat(false);
	CHECK(touch(again) == 0 && fake_held(4, 8) == 4);
	CHECK(munmap(mapped, 4 * page) == 0 && munmap(again, 4 * page) == 0);
	none_left();
}

static void dropped(void)
{
	char *mapped = map(0, 8);
	unsigned answers;

	CHECK(fake_revoke(2, 4, true, &answers) == 0 && answers == 1);
	fake_finish(2, 4);
	CHECK(touch(mapped + 2 * page) == 0 && touch(mapped) == 0 && fake_held(0, 8) == 6);
	CHECK(munmap(mapped, 8 * page) == 0);
	none_left();
}

static int wait_child(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void forked(void)
{
	char *mapped = map(0, 8);
	pid_t child;

	CHECK(munmap(mapped + 2 * page, page) == 0);
	child = fork();
	if (child == 0) {
		char *own;

		CHECK(touch(mapped) == SIGBUS && touch(mapped + 2 * page) == SIGSEGV);
		CHECK(touch(mapped + 7 * page) == SIGBUS);
		own = map(8, 4);
		CHECK(touch(own) == 0 && munmap(own, 4 * page) == 0);
		_exit(0);
	}
	CHECK(wait_child(child) == 0);
	CHECK(touch(mapped) == 0 && fake_wait_held(0, FAKE_PAGES, 7));
	/* a child that the C library knows nothing of: not even that */
	child = (pid_t)syscall(SYS_fork);
	if (child == 0)
		syscall(SYS_exit, touch(mapped) == SIGSEGV ? 0 : 1);
	CHECK(wait_child(child) == 0);
	CHECK(munmap(mapped, 8 * page) == 0);
	none_left();
}

/* A child made without the C library's handlers has the tables and the sockets of its parent. What it
 * unmaps, maps over and moves is none of the parent's; what it maps is not leased yet. */
static void cloned(void)
{
	char *mapped = map(0, 8);
	unsigned grants = fake_grants();
	pid_t child;

	child = (pid_t)syscall(SYS_fork);
	if (child == 0) {
		void *at;

		if (munmap(mapped, 4 * page) != 0 || table_begin())
			syscall(SYS_exit, 1);
		at = mmap(mapped + 4 * page, 2 * page, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0);
		syscall(SYS_exit, at == mapped + 4 * page ? 0 : 2);
	}
	CHECK(wait_child(child) == 0);
	/* whatever it had said would be read before this */
	CHECK(munmap(map(20, 1), page) == 0 && fake_wait_held(0, FAKE_PAGES, 8));
	CHECK(touch(mapped) == 0 && fake_grants() == grants + 1);
#ifndef __SANITIZE_THREAD__ /* it takes the parent's threads for the child's */
	child = _Fork();
	if (child == 0) {
		char *own = map(0, 2);

		CHECK(touch(own) == 0 && table_begin() && munmap(own, 2 * page) == 0);
		_exit(0);
	}
	CHECK(wait_child(child) == 0 && fake_grants() == grants + 2);
#endif
	CHECK(fake_wait_held(0, FAKE_PAGES, 8) && munmap(mapped, 8 * page) == 0);
	none_left();
}

/* libibverbs asks for it with each deregistration under ibv_fork_init(). */
static void given_to_children(void)
{
	char *mapped = map(0, 4);
	pid_t child;

	CHECK(madvise(mapped, 4 * page, MADV_DOFORK) == 0);
	child = (pid_t)syscall(SYS_fork);
	if (child == 0)
		syscall(SYS_exit, touch(mapped) == SIGSEGV ? 0 : 1);
	CHECK(wait_child(child) == 0);
	/* by a system call of its own, past us */
	CHECK(syscall(SYS_madvise, mapped, 4 * page, MADV_DOFORK) == 0);
	child = fork();
	if (child == 0)
		_exit(touch(mapped) == SIGBUS ? 0 : 1);
	CHECK(wait_child(child) == 0);
	CHECK(munmap(mapped, 4 * page) == 0);
	CHECK(madvise(mapped, 4 * page, MADV_DOFORK) == -1 && errno == ENOMEM);
	none_left();
}

static void last_page(void)
{
	char *mapped;
	struct stat st;

	CHECK(fstat(fd, &st) == 0);
	mapped = mmap(NULL, 100, RW, MAP_SHARED, fd, (off_t)(3 * page));
	CHECK(mapped != MAP_FAILED && fake_held(0, FAKE_PAGES) == 1 && munmap(mapped, 100) == 0);
	/* the file ends in the middle of its last page; the program maps all of that page */
	CHECK(ftruncate(fd, (off_t)(FAKE_PAGES * page - 100)) == 0);
	mapped = map(FAKE_PAGES - 1, 1);
	CHECK(fake_held(0, FAKE_PAGES) == 1 && munmap(mapped, page) == 0);
	CHECK(ftruncate(fd, st.st_size) == 0);
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, FAKE_PAGES - 1, 2, MAP_SHARED) == MAP_FAILED && errno == ENODATA);
	session.mode = SHIM_PREFER;
	none_left();
}

/* The last two tests end the connection of their process, so each has one of its own. */
static void in_a_child(void (*run)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		run();
		_exit(0);
	}
	CHECK(wait_child(child) == 0);
}

static void close_all(void)
{
	char *mapped = map(0, 4), *unleased;
	struct stat st;
	int other;

	CHECK(touch(mapped) == 0);
	/* all but the test's own file and stderr; then our numbers become somebody else's */
	CHECK(syscall(SYS_close_range, fd + 1, ~0u, 0) == 0);
	other = open("/dev/null", O_RDWR);
	CHECK(other >= 0);
	for (int number = other + 1; number < 1000; number++)
		CHECK(dup2(other, number) == number);
	unleased = map(8, 2);
	CHECK(touch(unleased) == 0 && touch(mapped) == 0 && atomic_load(&session.lost));
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, 8, 2, MAP_SHARED) == MAP_FAILED && errno == ECONNREFUSED);
	CHECK(munmap(mapped, 4 * page) == 0 && munmap(unleased, 2 * page) == 0);
	for (int number = other; number < 1000; number++)
		CHECK(fstat(number, &st) == 0 && S_ISCHR(st.st_mode));
}

static void closed_descriptors(void)
{
	in_a_child(close_all);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0));
}

/* Blocked from the start of the program, in every thread: the signal has to wait for by_signal(). */
static sigset_t by_signal_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return set;
}

static void by_signal(void)
{
	char *mapped = map(0, 4);
	sigset_t wanted;
	siginfo_t info;

	wanted = by_signal_set();
	session.signal = SIGUSR2;
	fake_break(1, 2);
	CHECK(sigwaitinfo(&wanted, &info) == SIGUSR2 && info.si_value.sival_ptr == mapped + page);
	session.signal = 0;
	CHECK(munmap(mapped, 4 * page) == 0);
	none_left();
}

/* No lease yet, so no listener: the list is still kept up to date, and the connection made again. The
 * child maps when it is told to, and says whether that is leased. */
static int say_to, hear_from;

static void signals_by_name(void)
{
	const struct {
		const char *name;
		int number;
	} names[] = {
		{"SIGUSR1", SIGUSR1},
		{"USR2", SIGUSR2},
		{"10", 10},
		{"RTMIN", SIGRTMIN},
		{"SIGRTMIN+2", SIGRTMIN + 2},
		{"RTMIN+99", 0},
		{"0", 0},
		{"-1", 0},
		{"65", 0},
		{"SIGNAL", 0},
	};
	const int before = session.signal;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		session.signal = 0;
		CHECK(setenv("DAXLEASE_SIGNAL", names[i].name, 1) == 0);
		session_configure();
		CHECK(session.signal == names[i].number);
	}
	CHECK(unsetenv("DAXLEASE_SIGNAL") == 0);
	session.signal = before;
}

static void map_when_told(void)
{
	char told;

	while (read(say_to, &told, 1) == 1) {
		char *mapped = map(0, 2);

		told = table_begin() != NULL;
		CHECK(munmap(mapped, 2 * page) == 0 && write(hear_from, &told, 1) == 1);
	}
}

static int is_leased(int to, int from)
{
	char answer = 0;

	CHECK(write(to, &answer, 1) == 1 && read(from, &answer, 1) == 1);
	return answer;
}

static void pools_without_lease(void)
{
	int to[2], from[2];
	pid_t child;

	CHECK(pipe(to) == 0 && pipe(from) == 0);
	fake_pool(false);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		close(to[1]);
		say_to = to[0];
		hear_from = from[1];
		map_when_told();
		_exit(0);
	}
	CHECK(!is_leased(to[1], from[0]));
	fake_hang_up();
	CHECK(!is_leased(to[1], from[0]));
	usleep(1100000); /* it is tried once a second */
	CHECK(!is_leased(to[1], from[0]));
	fake_pool(true);
	CHECK(is_leased(to[1], from[0]) && fake_wait_held(0, FAKE_PAGES, 0));
	CHECK(close(to[1]) == 0 && wait_child(child) == 0);
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

/* --- the end of a program whose main thread leaves ---------------------------------------------- */

static int end_pipe[2];
static atomic_bool workers_done;

static void *lease_late(void *how)
{
	const char *late = how;

	if (late) {
		usleep(50000); /* the main thread is gone by now, or is about to be: both are to work */
		map(0, 4);
	}
	usleep(200000);
	atomic_store(&workers_done, true);
	return NULL;
}

static void say_end(void)
{
	char word = atomic_load(&workers_done) ? 'd' : 'e';

	CHECK(write(end_pipe[1], &word, 1) == 1);
}

/* A child that leases (`late`: from another thread, later), starts a thread and leaves its main one. */
static int leave_main(const char *late)
{
	pthread_t worker;
	pid_t child;
	char word = 0;
	int status;

	CHECK(pipe(end_pipe) == 0);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		signal(SIGALRM, SIG_DFL);
		atexit(say_end);
		if (!late)
			map(0, 4);
		CHECK(pthread_create(&worker, NULL, lease_late, (void *)(uintptr_t)late) == 0);
		pthread_exit(NULL);
	}
	CHECK(close(end_pipe[1]) == 0);
	/* it ends by itself, after its last thread, with exit handlers; the limit is for the broken case */
	for (int tries = 0; tries < 1500; tries++) {
		if (waitpid(child, &status, WNOHANG) == child) {
			CHECK(read(end_pipe[0], &word, 1) == 1 && word == 'd');
			close(end_pipe[0]);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		usleep(10000);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(end_pipe[0]);
	return -1;
}

static void main_thread_leaves(void)
{
	CHECK(leave_main(NULL) == 0);
	CHECK(leave_main("late") == 0);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0));
}

static void daemon_dies(void)
{
	char *mapped = map(0, 4);

	fake_hang_up();
	CHECK(touch(mapped) == 0);
	session.mode = SHIM_REQUIRE;
	CHECK(map_at(NULL, 4, 4, MAP_SHARED) == MAP_FAILED && errno == ECONNREFUSED);
	session.mode = SHIM_PREFER;
	CHECK(munmap(mapped, 4 * page) == 0 && table_begin() == NULL);
}

int main(void)
{
	static const struct check_test tests[] = {
		{"a lease lives as long as its mapping (C1)", lease_lives_as_the_mapping},
		{"one range mapped several times", mapped_twice},
		{"other mappings and errors pass", others_pass},
		{"a refusal under prefer and require (C8)", refused},
		{"MAP_FIXED", fixed},
		{"mremap", remapped},
		{"a revocation: SIGBUS, and no way back (C16, C17)", revoked},
		{"a revocation says so, whatever was asked for (C14)", revocation_is_said},
		{"a revocation before the mapping is there", revoked_while_pending},
		{"replies and revocations that come twice", said_again},
		{"one's own operation (C12)", dropped},
		{"fork: SIGBUS in the child", forked},
		{"a child the C library knows nothing of says nothing of its parent's", cloned},
		{"MADV_DOFORK gives a child nothing that is leased", given_to_children},
		{"the last page of a file", last_page},
		{"told by a signal (C14)", by_signal},
		{"signals by name and number", signals_by_name},
		{"all descriptors closed", closed_descriptors},
		{"a program whose main thread leaves ends by itself", main_thread_leaves},
		{"the daemon dies", daemon_dies},
		{"before the first lease: pools come, the daemon goes", pools_without_lease},
		{0},
	};
	char dir[] = "/tmp/shim_hooks.XXXXXX", path[64], socket_path[64];
	sigset_t blocked = by_signal_set();
	struct stat st;
	int result;

	CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
	page = (size_t)sysconf(_SC_PAGESIZE);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, (off_t)(FAKE_PAGES * page)) == 0 && fstat(fd, &st) == 0);
	CHECK(setenv("DAXLEASE_SOCKET", socket_path, 1) == 0);
	shim_start();
	session_configure(); /* the constructor may have run before the environment was set */
	fake_start(socket_path, st.st_dev, st.st_ino, DLP_POOL_MOUNT);
	result = check_all(tests);
	unlink(path);
	unlink(socket_path);
	rmdir(dir);
	return result;
}
