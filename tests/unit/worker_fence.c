// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * WORKER_FENCE on real processes, whose threads are caught wherever a thread can be: what they map is replaced, and
 * they go on as if nothing had been; or they cannot be caught, and the worker says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/worker_jobs.h"

#define PAGE 4096
#define PAGES 64
#define MS UINT64_C(1000000)
#define LIMIT (20000 * MS)
#define ELSEWHERE 8 /* where the second mapping of the file begins, in pages */

int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns)
{
	(void)tid;
	(void)syscall_hash;
	(void)limit_ns;
	return 0;
}

static struct shared {
	_Atomic int ready, go, done, signals, errors, adrerr, other;
	_Atomic uint64_t turns;
	_Atomic uint64_t slept_ns;
} * shared;

struct victim {
	pid_t pid;
	int pidfd, socket; /* of a pair, the other end is the victim's */
	struct stat file;
};

static char *first, *second; /* two mappings of the file, in the victim */
static int file_fd, peer_fd;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		uint64_t end_ = now_ns() + LIMIT;                                                  \
		while (!(condition)) {                                                             \
			assert_true(now_ns() < end_);                                              \
			nap();                                                                     \
		}                                                                                  \
	} while (0)

/* --- in the victim ---------------------------------------------------------------------------- */

static sigjmp_buf fault;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_code == BUS_ADRERR)
		shared->adrerr++;
	else
		shared->other++;
	siglongjmp(fault, 1);
}

static void on_signal(int sig)
{
	(void)sig;
	shared->signals++;
}

/* Which pages are gone: true for the one. */
static bool is_gone(const volatile char *page)
{
	if (sigsetjmp(fault, 1))
		return true;
	if (*page != 'x')
		shared->errors++;
	return false;
}

static void map_file(void)
{
	first = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
	second = mmap(NULL, (PAGES - ELSEWHERE) * PAGE, PROT_READ, MAP_SHARED, file_fd,
		      (off_t)ELSEWHERE * PAGE);
	if (first == MAP_FAILED || second == MAP_FAILED)
		_exit(9);
}

/* Pages below `gone` are gone from both mappings, the others are there. */
static void look(int gone)
{
	for (int i = 0; i < PAGES; i++) {
		if (is_gone(first + i * PAGE) != (i < gone))
			shared->errors++;
		if (i >= ELSEWHERE && is_gone(second + (i - ELSEWHERE) * PAGE) != (i < gone))
			shared->errors++;
	}
	shared->done = 1;
}

static void in_recv(void)
{
	char c;

	prctl(PR_SET_NAME, "daxlease");
	if (recv(peer_fd, &c, 1, 0) != 1 || c != 'g')
		shared->errors++;
}

/* All the registers that a compiler can use, and what is in them stays. */
static void in_loop(void)
{
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, i = 9, j = 10;

	while (!shared->go) {
		a += b, b += c, c += d, d += e, e += f, f += g, g += h, h += i, i += j, j++;
		__asm__ volatile(""
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g),
				   "+r"(h));
		shared->turns++;
		if (j - 10 != shared->turns || i < j)
			shared->errors++;
	}
}

static void in_loop_with_signals(void)
{
	struct itimerval often = {{.tv_usec = 500}, {.tv_usec = 500}}, never = {0};

	setitimer(ITIMER_REAL, &often, NULL);
	in_loop();
	setitimer(ITIMER_REAL, &never, NULL);
	if (!shared->signals)
		shared->errors++;
}

/* Restarted with the rest of its time, through the kernel's restart_syscall(2). */
static void in_nanosleep(void)
{
	uint64_t start = now_ns();

	if (nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL) < 0)
		shared->errors++;
	shared->slept_ns = now_ns() - start;
	if (shared->slept_ns < 700 * MS)
		shared->errors++;
	while (!shared->go)
		nap();
}

static void in_poll(void)
{
	struct pollfd p = {.fd = peer_fd, .events = POLLIN};

	if (poll(&p, 1, 60000) != 1)
		shared->errors++;
}

static void in_futex(void)
{
	while (!shared->go)
		syscall(SYS_futex, &shared->go, FUTEX_WAIT, 0, NULL, NULL, 0);
}

/* SIGUSR1 is let through in there only, and is blocked again behind it. */
static void in_sigsuspend(void)
{
	sigset_t blocked, none;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	while (!shared->signals)
		sigsuspend(&none);
	sigprocmask(SIG_BLOCK, NULL, &none);
	if (!sigismember(&none, SIGUSR1))
		shared->errors++;
}

static void in_handler_loop(int sig)
{
	(void)sig;
	in_loop();
}

static void in_handler(void)
{
	static char stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = in_handler_loop, .sa_flags = SA_ONSTACK};

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR2, &action, NULL);
	raise(SIGUSR2);
}

static void *wait_in_thread(void *arg)
{
	(void)arg;
	in_recv();
	look(PAGES);
	for (;;)
		pause();
	return NULL;
}

static void leader_gone(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, wait_in_thread, NULL);
	pthread_exit(NULL);
}

static int share_memory(void *arg)
{
	while (!is_gone(arg))
		nap();
	shared->turns++;
	_exit(0);
}

/* A process that is not part of it uses the same memory. */
static void beside_sharer(void)
{
	static char stack[65536];

	if (clone(share_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, first) < 0)
		_exit(9);
	in_recv();
	WAIT_FOR(shared->turns);
}

static void in_32_bit_call(void)
{
	long number = 29; /* pause(2) */

	shared->ready = 1;
	__asm__ volatile("int $0x80" : "+a"(number) : : "memory");
}

/* Not to be stopped: it waits for a child that was made by vfork(2). */
static void in_vfork(void)
{
	if (vfork() == 0) {
		while (!shared->go)
			syscall(SYS_futex, &shared->go, FUTEX_WAIT, 0, NULL, NULL, 0);
		_exit(0);
	}
}

/* Nor is the kernel's thread that polls its ring ever to be used, which looks like one of its own. */
static void in_vfork_with_ring(void)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 60000};

	if (syscall(SYS_io_uring_setup, 8, &params) < 0)
		shared->turns = 1;
	in_vfork();
}

static void filter(uint32_t number, uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		    action == SECCOMP_RET_USER_NOTIF ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0,
		    &program) < 0)
		_exit(9);
}

static void refuses_mmap(void)
{
	filter(SYS_mmap, SECCOMP_RET_ERRNO | EPERM);
	in_recv();
}

static void dies_of_mmap(void)
{
	filter(SYS_mmap, SECCOMP_RET_KILL_PROCESS);
	in_recv();
}

static void traps_memfd(void)
{
	filter(SYS_memfd_create, SECCOMP_RET_TRAP);
	in_recv();
}

static void hangs_in_memfd(void)
{
	filter(SYS_memfd_create, SECCOMP_RET_USER_NOTIF);
	in_recv();
}

static void no_descriptors(void)
{
	struct rlimit none = {0};

	setrlimit(RLIMIT_NOFILE, &none);
	in_recv();
}

static void victim_main(void (*where)(void), int gone)
{
	struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	struct sigaction other = {.sa_handler = on_signal};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGUSR1, &other, NULL);
	sigaction(SIGALRM, &other, NULL);
	map_file();
	shared->ready = 1;
	where();
	look(gone);
	for (;;)
		pause();
}

/* --- outside ---------------------------------------------------------------------------------- */

static char state_of(pid_t pid)
{
	char path[64], text[512], *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || !fgets(text, sizeof(text), file))
		text[0] = 0;
	if (file)
		fclose(file);
	at = strrchr(text, ')');
	return at ? at[2] : 'X';
}

static void start(struct victim *v, void (*where)(void), int gone)
{
	int pair[2];

	memset(shared, 0, sizeof(*shared));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	v->socket = pair[0];
	peer_fd = pair[1];
	v->pid = fork();
	assert_true(v->pid >= 0);
	if (v->pid == 0)
		victim_main(where, gone);
	close(pair[1]);
	v->pidfd = pidfd_open(v->pid, 0);
	assert_true(v->pidfd >= 0);
	assert_int_equal(fstat(file_fd, &v->file), 0);
	WAIT_FOR(shared->ready);
}

static void end(struct victim *v)
{
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	close(v->pidfd);
	close(v->socket);
}

static struct worker_order order_for(const struct victim *v, int from, int to, uint64_t limit_ns)
{
	struct worker_order order = {
		.job = {.kind = WORKER_FENCE, .pid = v->pid, .items = 1},
		.limit_ns = now_ns() + limit_ns,
	};

	order.job.range[0].dev = v->file.st_dev;
	order.job.range[0].ino = v->file.st_ino;
	order.job.range[0].start = (uint64_t)from * PAGE;
	order.job.range[0].end = to == PAGES ? UINT64_MAX : (uint64_t)to * PAGE;
	return order;
}

/* A worker, as the daemon has it: a process that ends after the job. */
static pid_t start_fence(const struct worker_order *order, int pidfd, int *answer)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct worker_result result = {0};

		worker_fence(order, pidfd, &result);
		_exit(write(fds[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
	}
	close(fds[1]);
	*answer = fds[0];
	return pid;
}

static struct worker_result fence(const struct victim *v, int from, int to, uint64_t limit_ns)
{
	struct worker_order order = order_for(v, from, to, limit_ns);
	struct worker_result result;
	int answer;
	pid_t pid = start_fence(&order, v->pidfd, &answer);

	assert_int_equal(read(answer, &result, sizeof(result)), sizeof(result));
	close(answer);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return result;
}

static void expect(const struct worker_result *result, enum worker_fence_step step, int error)
{
	assert_int_equal(result->error, error);
	assert_int_equal(result->fence.step, step);
	assert_int_equal(result->mapped, error != 0);
}

/* Each page by itself, so that a thread is caught many times. */
static void fence_page_by_page(const struct victim *v, bool stopped)
{
	for (int i = 0; i < PAGES; i++) {
		struct worker_result result = fence(v, i, i + 1, LIMIT);

		expect(&result, WORKER_FENCE_PROVEN, 0);
		assert_true(result.fence.tid != 0);
		assert_int_equal(result.fence.replaced, i < ELSEWHERE ? 1 : 2);
		if (stopped)
			WAIT_FOR(state_of(v->pid) == 'T');
	}
}

static void let_go_on(const struct victim *v)
{
	shared->go = 1;
	syscall(SYS_futex, &shared->go, FUTEX_WAKE, 64, NULL, NULL, 0);
	assert_int_equal(send(v->socket, "g", 1, 0), 1);
}

static const struct {
	const char *name;
	void (*where)(void);
} places[] = {
	{"recv", in_recv},
	{"a loop", in_loop},
	{"a loop with signals", in_loop_with_signals},
	{"nanosleep", in_nanosleep},
	{"poll", in_poll},
	{"futex", in_futex},
	{"sigsuspend", in_sigsuspend},
	{"a handler on a stack of its own", in_handler},
};

static void everywhere(bool stopped)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct victim v;

		start(&v, places[i].where, PAGES);
		if (stopped) {
			kill(v.pid, SIGSTOP);
			WAIT_FOR(state_of(v.pid) == 'T');
		}
		fence_page_by_page(&v, stopped);
		if (stopped)
			kill(v.pid, SIGCONT);
		let_go_on(&v);
		if (places[i].where == in_sigsuspend)
			kill(v.pid, SIGUSR1);
		WAIT_FOR(shared->done);
		if (shared->errors || shared->other || shared->adrerr != PAGES + PAGES - ELSEWHERE)
			fail_msg("in %s%s: %d errors, %d pages gone", places[i].name,
				 stopped ? ", stopped" : "", shared->errors, shared->adrerr);
		end(&v);
	}
}

static void running(void **state)
{
	(void)state;
	everywhere(false);
}

static void stopped(void **state)
{
	(void)state;
	everywhere(true);
}

/* What is not in the range stays, what is not mapped needs no thread. */
static void parts(void **state)
{
	struct worker_result result;
	struct victim v;

	(void)state;
	start(&v, in_recv, 10);
	result = fence(&v, 2, 10, LIMIT);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	assert_int_equal(result.fence.replaced, 2);
	result = fence(&v, 0, 10, LIMIT);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	assert_int_equal(result.fence.replaced, 1);
	result = fence(&v, 0, 10, LIMIT);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	assert_int_equal(result.fence.tid, 0);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
}

static void without_leader(void **state)
{
	struct worker_result result;
	struct victim v;

	(void)state;
	start(&v, leader_gone, PAGES);
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
}

static void shared_memory(void **state)
{
	struct worker_result result;
	struct victim v;

	(void)state;
	start(&v, beside_sharer, PAGES);
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
}

/* --- what defeats it -------------------------------------------------------------------------- */

static int status_of(struct victim *v)
{
	int status = 0;

	assert_int_equal(waitpid(v->pid, &status, 0), v->pid);
	return status;
}

/* The call fails: the process is as it was. */
static void call_refused(void **state)
{
	static void (*const refusing[])(void) = {refuses_mmap, no_descriptors};
	static const int error[] = {-EPERM, -EMFILE};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct worker_result result;
		struct victim v;

		start(&v, refusing[i], 0);
		WAIT_FOR(state_of(v.pid) == 'S');
		result = fence(&v, 0, PAGES, LIMIT);
		expect(&result, WORKER_FENCE_CALL, error[i]);
		let_go_on(&v);
		WAIT_FOR(shared->done);
		assert_int_equal(shared->errors, 0);
		end(&v);
	}
}

static void call_kills(void **state)
{
	struct worker_result result;
	struct victim v;
	int status;

	(void)state;
	start(&v, dies_of_mmap, 0);
	WAIT_FOR(state_of(v.pid) == 'S');
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_CALL, -ESRCH);
	status = status_of(&v);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	start(&v, traps_memfd, 0);
	WAIT_FOR(state_of(v.pid) == 'S');
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_CALL, -EACCES);
	status = status_of(&v);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The worker is killed while a thread does what it does not know of: the process must not go on with that. */
static void killed_in_a_call(void **state)
{
	struct worker_order order;
	char path[64], line[256];
	struct victim v;
	int answer, status;
	bool inside = false;
	pid_t worker;

	(void)state;
	start(&v, hangs_in_memfd, 0);
	WAIT_FOR(state_of(v.pid) == 'S');
	order = order_for(&v, 0, PAGES, LIMIT);
	worker = start_fence(&order, v.pidfd, &answer);
	snprintf(path, sizeof(path), "/proc/%d/syscall", v.pid);
	while (!inside) {
		FILE *file = fopen(path, "re");

		inside = file && fgets(line, sizeof(line), file) && atoi(line) == SYS_memfd_create;
		if (file)
			fclose(file);
	}
	kill(worker, SIGKILL);
	waitpid(worker, NULL, 0);
	close(answer);
	status = status_of(&v);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* And late without being killed: the same. */
	start(&v, hangs_in_memfd, 0);
	WAIT_FOR(state_of(v.pid) == 'S');
	{
		struct worker_result result = fence(&v, 0, PAGES, 400 * MS);

		expect(&result, WORKER_FENCE_CALL, -ETIMEDOUT);
	}
	status = status_of(&v);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* No thread stops: the process is not disturbed, whether the worker gives up or is killed. */
static void nothing_stops(void (*where)(void))
{
	struct worker_result result;
	struct worker_order order;
	struct victim v;
	int answer;
	pid_t worker;

	start(&v, where, 0);
	WAIT_FOR(state_of(v.pid) == 'D');
	if (shared->turns)
		print_message("no io_uring here\n");
	result = fence(&v, 0, PAGES, 200 * MS);
	expect(&result, WORKER_FENCE_STOP, -ETIMEDOUT);
	order = order_for(&v, 0, PAGES, LIMIT);
	worker = start_fence(&order, v.pidfd, &answer);
	nap();
	kill(worker, SIGKILL);
	waitpid(worker, NULL, 0);
	close(answer);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
}

static void not_to_be_stopped(void **state)
{
	(void)state;
	nothing_stops(in_vfork);
	nothing_stops(in_vfork_with_ring);
}

static void traced_already(void **state)
{
	struct worker_result result;
	struct victim v;

	(void)state;
	start(&v, in_recv, 0);
	assert_int_equal(ptrace(PTRACE_SEIZE, v.pid, NULL, NULL), 0);
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_SEIZE, -EPERM);
	end(&v);
}

static void in_32_bits(void **state)
{
	struct worker_result result;
	struct victim v;

	(void)state;
	start(&v, in_32_bit_call, 0);
	WAIT_FOR(state_of(v.pid) == 'S');
	result = fence(&v, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_STOP, -ENOEXEC);
	kill(v.pid, SIGUSR1);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
}

/* The number belongs to another process by now: that is left alone. */
static void another_process(void **state)
{
	struct worker_result result;
	struct victim dead, v;

	(void)state;
	start(&dead, in_recv, 0);
	kill(dead.pid, SIGKILL);
	waitpid(dead.pid, NULL, 0);
	start(&v, in_recv, 0);
	dead.pid = v.pid;
	dead.file = v.file;
	result = fence(&dead, 0, PAGES, LIMIT);
	expect(&result, WORKER_FENCE_LOOK, -ESRCH);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, 0);
	end(&v);
	close(dead.pidfd);
	close(dead.socket);
}

/* With the replacement left out these tests fail: what the victim sees is what they are about. */
static void pretended(void **state)
{
	struct worker_result result = {0};
	struct worker_order order;
	struct victim v;

	(void)state;
	start(&v, in_recv, PAGES);
	order = order_for(&v, 0, PAGES, LIMIT);
	order.job.pretend = true;
	worker_fence(&order, v.pidfd, &result);
	expect(&result, WORKER_FENCE_PROVEN, 0);
	let_go_on(&v);
	WAIT_FOR(shared->done);
	assert_int_equal(shared->errors, PAGES + PAGES - ELSEWHERE);
	end(&v);
}

static int set_up(void **state)
{
	char page[PAGE];

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	file_fd = memfd_create("leased", MFD_CLOEXEC);
	memset(page, 'x', sizeof(page));
	for (int i = 0; i < PAGES; i++) {
		if (write(file_fd, page, sizeof(page)) != PAGE)
			return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	return shared == MAP_FAILED || file_fd < 0 ? -1 : 0;
}

int main(void)
{
#ifndef __x86_64__
	return 77;
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running),
		cmocka_unit_test(stopped),
		cmocka_unit_test(parts),
		cmocka_unit_test(without_leader),
		cmocka_unit_test(shared_memory),
		cmocka_unit_test(call_refused),
		cmocka_unit_test(call_kills),
		cmocka_unit_test(killed_in_a_call),
		cmocka_unit_test(not_to_be_stopped),
		cmocka_unit_test(traced_already),
		cmocka_unit_test(in_32_bits),
		cmocka_unit_test(another_process),
		cmocka_unit_test(pretended),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
