// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clients of keeper_child, who kill it and look at what is left. Who keeps for it and starts it again, systemd or the
 * keeper, is not their business.
 *
 * usage: keeper_clients DIR TEST [ARGUMENT]      prints TAP lines; the tests are in the table at the end
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/host/keeper_child.h"

#define LIMIT_MS 120000 /* for what has to come some time */
#define SOME 8

struct client {
	int calls, events;
	uint32_t seq;
	uint64_t sum;
};

static struct control *control;
static const char *dir;
static int failures;

static void check(bool good, const char *what)
{
	printf("%s - %s\n", good ? "ok" : "not ok", what);
	failures += !good;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Waits until *value is at least `wanted`. */
static bool reaches(const atomic_uint *value, unsigned wanted)
{
	for (int ms = 0; ms < LIMIT_MS; ms++) {
		if (atomic_load(value) >= wanted)
			return true;
		usleep(1000);
	}
	return false;
}

/* --- a client ----------------------------------------------------------------------------------------- */

/* Waits for the answer to seq; older ones are of requests that were answered twice. *fd: a passed descriptor. 0, -errno. */
static int receive(struct client *c, struct message *m, uint32_t seq, int *fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	struct iovec iov = {m, sizeof(*m)};

	do {
		struct msghdr header = {.msg_iov = &iov,
					.msg_iovlen = 1,
					.msg_control = &rights,
					.msg_controllen = sizeof(rights)};
		struct pollfd p = {.fd = c->calls, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, LIMIT_MS) != 1)
			return -ETIMEDOUT;
		n = recvmsg(c->calls, &header, MSG_CMSG_CLOEXEC);
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		if (fd && CMSG_FIRSTHDR(&header))
			memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(*fd));
	} while (m->seq != seq);
	return 0;
}

static int ask(struct client *c, uint64_t value)
{
	struct message m = {.op = OP_ADD, .seq = ++c->seq, .value = value};
	int rc;

	if (send(c->calls, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		return -errno;
	rc = receive(c, &m, c->seq, NULL);
	if (rc < 0)
		return rc;
	c->sum += value;
	return m.value == c->sum ? 0 : -EILSEQ;
}

static void hang_up(struct client *c)
{
	close(c->calls);
	if (c->events >= 0)
		close(c->events);
	c->calls = c->events = -1;
}

/* One try. 0: it has its answer; -EPIPE and the like: hung up on before; other: refused with that. */
static int try_connect(struct client *c)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct message m = {.op = OP_HELLO};
	int rc;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	*c = (struct client){.calls = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
			     .events = -1};
	must(c->calls >= 0, "socket");
	must(connect(c->calls, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
	rc = send(c->calls, &m, sizeof(m), MSG_NOSIGNAL) < 0 ? -errno
							     : receive(c, &m, 0, &c->events);
	if (rc == 0 && m.value)
		rc = -(int)m.value;
	if (rc == 0 && c->events < 0)
		rc = -EPROTO;
	if (rc == 0)
		rc = ask(c, 0); /* from here on it has something to lose */
	if (rc < 0)
		hang_up(c);
	return rc;
}

static bool is_hang_up(int rc)
{
	return rc == -EPIPE || rc == -ECONNRESET;
}

static void connect_client(struct client *c)
{
	int rc;

	do
		rc = try_connect(c);
	while (is_hang_up(rc));
	errno = -rc;
	must(rc == 0, "a client is accepted");
}

static bool all_answer(struct client *clients, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int rc = ask(&clients[i], i + 1);
		struct pollfd p = {.fd = clients[i].events, .events = POLLIN};

		if (rc < 0)
			printf("# client %u: %s\n", i, strerror(-rc));
		if (rc == 0 && poll(&p, 1, 0) == 1) {
			printf("# client %u: its channel for events has ended\n", i);
			rc = -EPIPE;
		}
		if (rc < 0)
			return false;
	}
	return true;
}

/* --- tests -------------------------------------------------------------------------------------------- */

static void kill_child(void)
{
	pid_t pid = (pid_t)atomic_load(&control->pid);

	must(kill(pid, SIGKILL) == 0, "kill");
}

/* One round of all that clients do, during which the child dies once, at its n-th step. */
static bool one_round(struct client *clients)
{
	struct client passing;

	connect_client(&passing);
	if (!all_answer(clients, SOME) || ask(&passing, 7) < 0)
		return false;
	hang_up(&passing);
	hang_up(&clients[0]);
	connect_client(&clients[0]);
	return all_answer(clients, SOME);
}

static void points(const char *argument)
{
	struct client clients[SOME];
	const unsigned stride = (unsigned)atoi(argument); /* 1: each step */
	unsigned n = 0;
	bool died = true, good = true;

	for (unsigned i = 0; i < SOME; i++)
		connect_client(&clients[i]);
	while (died && good) {
		unsigned starts = atomic_load(&control->starts);

		atomic_store(&control->die_again,
			     n % 3 ? 0 : 1 + n / 3 % 12); /* and so does the next one */
		atomic_store(&control->die_at, n += stride);
		good = one_round(clients);
		died = atomic_load(&control->die_at) == 0;
		atomic_store(&control->die_at, 0);
		if (died)
			good = good && reaches(&control->starts, starts + 1) &&
			       all_answer(clients, SOME);
	}
	printf("# %u points\n", n / stride - 1);
	check(good, "killed at its steps, it comes back with every client and every number");
	check(n > 50, "there were many steps");
	for (unsigned i = 0; i < SOME; i++)
		hang_up(&clients[i]);
	check(atomic_load(&control->lost) == 0, "nothing recorded was lost");
}

static void kills(const char *argument)
{
	struct client clients[SOME];
	unsigned rounds = (unsigned)atoi(argument);
	bool good = true;

	srandom((unsigned)now_us());
	for (unsigned i = 0; i < SOME; i++)
		connect_client(&clients[i]);
	for (unsigned i = 0; i < rounds && good; i++) {
		unsigned starts = atomic_load(&control->starts);
		pid_t killer = fork();

		if (killer == 0) {
			usleep((useconds_t)random() % 3000);
			kill((pid_t)atomic_load(&control->pid), SIGKILL);
			_exit(0);
		}
		good = one_round(clients);
		waitpid(killer, NULL, 0);
		good = good && reaches(&control->starts, starts + 1);
	}
	good = good && all_answer(clients, SOME);
	check(good, "killed at any time, it comes back with every client and every number");
	check(atomic_load(&control->lost) == 0, "nothing recorded was lost");
}

/* Kills it and keeps the next one from looking at anything. */
static void kill_and_hold(void)
{
	unsigned old = atomic_load(&control->pid);

	atomic_store(&control->hold, 1);
	kill_child();
	for (int ms = 0; ms < LIMIT_MS && atomic_load(&control->waiting) == old; ms++)
		usleep(1000);
}

static void let_go(void)
{
	unsigned starts = atomic_load(&control->starts);

	atomic_store(&control->hold, 0);
	must(reaches(&control->starts, starts + 1), "the next one starts");
}

static void send_with(struct client *c, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct message m = {.op = OP_ADD, .seq = ++c->seq, .value = 1};
	struct iovec iov = {&m, sizeof(m)};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &rights,
				.msg_controllen = sizeof(rights)};

	memcpy(CMSG_DATA(&rights.head), &fd, sizeof(fd));
	must(sendmsg(c->calls, &header, MSG_NOSIGNAL) == sizeof(m), "send");
}

static void away(const char *argument)
{
	struct client waiting, dying;
	unsigned before;
	int pipe_fds[2];
	char byte;

	(void)argument;
	connect_client(&waiting);
	connect_client(&dying);
	before = atomic_load(&control->stored);
	must(pipe(pipe_fds) == 0, "pipe");
	kill_and_hold();
	send_with(&dying, pipe_fds[1]);
	close(pipe_fds[1]);
	hang_up(&dying);
	check(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) == 0 && read(pipe_fds[0], &byte, 1) < 0 &&
		      errno == EAGAIN,
	      "while nobody is there, a dead client's last message waits, with its descriptor");
	let_go();
	fcntl(pipe_fds[0], F_SETFL, 0);
	check(read(pipe_fds[0], &byte, 1) == 1, "and is read by the next daemon");
	check(ask(&waiting, 3) == 0, "a client that waited has its answer");
	hang_up(&waiting);
	for (int ms = 0; ms < LIMIT_MS && atomic_load(&control->stored) > before - 4; ms++)
		usleep(1000);
	check(atomic_load(&control->stored) == before - 4, "both are removed");
}

static bool is_waiting(pid_t pid)
{
	int status;

	return waitpid(pid, &status, WNOHANG) == 0;
}

static void breaker(const char *file)
{
	unsigned events = atomic_load(&control->events);
	int status = -1;
	pid_t pid;

	atomic_store(&control->hold_answers, 1);
	pid = fork();
	if (pid == 0)
		_exit(truncate(file, 4096) < 0);
	check(reaches(&control->events, events + 1), "the guard reports who changes the file");
	kill_and_hold();
	check(is_waiting(pid), "who waits when the daemon dies, goes on waiting");
	pid_t late = fork();
	if (late == 0)
		_exit(truncate(file, 8192) < 0);
	usleep(200000); /* cannot make a good one fail: it waits for as long as it is held */
	check(is_waiting(late), "who comes while it is away, waits, too");
	let_go();
	check(is_waiting(pid), "and until the next one has decided");
	atomic_store(&control->hold_answers, 0);
	check(waitpid(pid, &status, 0) == pid && status == 0,
	      "the next daemon lets the first go, by the old number");
	check(waitpid(late, &status, 0) == late && status == 0, "and the second");
}

static void stuck(const char *argument)
{
	struct client c;
	unsigned starts = atomic_load(&control->starts);

	(void)argument;
	connect_client(&c);
	atomic_store(&control->stuck, 1);
	for (int ms = 0; ms < LIMIT_MS && kill((pid_t)atomic_load(&control->pid), 0) == 0; ms++)
		usleep(1000);
	atomic_store(&control->stuck, 0);
	check(reaches(&control->starts, starts + 1), "one whose loop stands still is replaced");
	check(ask(&c, 1) == 0, "and its client goes on");
	hang_up(&c);
}

static void replaced(const char *pid)
{
	struct client c;
	unsigned starts = atomic_load(&control->starts), old = atomic_load(&control->pid);

	connect_client(&c);
	must(kill(atoi(pid), SIGHUP) == 0, "SIGHUP");
	check(reaches(&control->starts, starts + 1) && atomic_load(&control->pid) != old,
	      "after SIGHUP there is another one");
	check(ask(&c, 1) == 0, "and its client goes on");
	hang_up(&c);
}

/* As many clients as it takes, at most `argument`; then a restart with all of them. */
static void many(const char *argument)
{
	unsigned wanted = (unsigned)atoi(argument), n = 0, starts;
	struct client *clients = calloc(wanted, sizeof(*clients));
	struct rlimit limit = {2 * wanted + 64, 2 * wanted + 64};
	uint64_t begin = now_us(), last = begin;
	int rc = 0;

	must(clients && setrlimit(RLIMIT_NOFILE, &limit) == 0, "room for many clients");
	while (n < wanted && (rc = try_connect(&clients[n])) == 0) {
		if (++n % (wanted / 4) == 0 || n == 100) {
			printf("# %u clients: %llu us each for the last\n", n,
			       (unsigned long long)(now_us() - last) /
				       (n == 100 ? 100 : wanted / 4));
			last = now_us();
		}
	}
	printf("# %u clients, %u of %u descriptors stored, then: %s\n", n,
	       atomic_load(&control->stored), atomic_load(&control->capacity),
	       n < wanted ? strerror(-rc) : "no more wanted");
	check(n == wanted || rc == -EUSERS || rc == -ENOSPC,
	      "each client is accepted or refused with a reason");
	starts = atomic_load(&control->starts);
	begin = now_us();
	kill_child();
	check(reaches(&control->starts, starts + 1), "it comes back");
	printf("# back after %llu ms\n", (unsigned long long)(now_us() - begin) / 1000);
	check(all_answer(clients, n) && atomic_load(&control->lost) == 0,
	      "with all that it had accepted");
	begin = now_us();
	for (unsigned i = 0; i < n; i++)
		hang_up(&clients[i]);
	for (int ms = 0; ms < LIMIT_MS && atomic_load(&control->clients); ms++)
		usleep(1000);
	check(atomic_load(&control->clients) == 0, "all can leave");
	printf("# all gone after %llu ms\n", (unsigned long long)(now_us() - begin) / 1000);
	free(clients);
}

static void device(const char *argument)
{
	unsigned starts = atomic_load(&control->starts);

	(void)argument;
	kill_child();
	check(reaches(&control->starts, starts + 1) && atomic_load(&control->devices) >= 1,
	      "an RDMA device comes back");
}

static void state(const char *argument)
{
	struct client c;

	connect_client(&c);
	check(reaches(&control->state, (unsigned)atoi(argument)) &&
		      atomic_load(&control->state) == (unsigned)atoi(argument),
	      "the daemon knows whether it is kept");
	check(ask(&c, 1) == 0, "and works");
	hang_up(&c);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *argument);
	} tests[] = {
		{"points", points},   {"kills", kills},	  {"away", away},
		{"breaker", breaker}, {"stuck", stuck},	  {"replaced", replaced},
		{"many", many},	      {"device", device}, {"state", state},
	};
	char path[256];
	int fd;

	if (argc < 3)
		return 2;
	setbuf(stdout, NULL);
	dir = argv[1];
	snprintf(path, sizeof(path), "%s/control", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT, 0600);
	must(fd >= 0 && ftruncate(fd, sizeof(*control)) == 0, path);
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(control != MAP_FAILED, "mmap");
	must(strcmp(argv[2], "prepare") == 0 || reaches(&control->starts, 1), "a daemon is there");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (strcmp(argv[2], tests[i].name) == 0)
			tests[i].run(argc > 3 ? argv[3] : "");
	}
	return failures > 0;
}
