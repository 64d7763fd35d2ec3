// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A daemon on daemon/store.h that does little but survive: it adds up numbers for its clients, in a journal that is
 * a memfd. A request is looked at, recorded, answered, and only then taken out of the socket, so that
 * each counts exactly once wherever the child is killed.
 *
 * usage: keeper_child [--keeper] DIR [FILE-TO-GUARD|- [RDMA-DEVICE]]      environment: WATCHDOG=microseconds
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/keeper.h"
#include "daemon/log.h"
#include "daemon/store.h"
#include "tests/host/keeper_child.h"

#define CLIENTS 16384
#define EVENTS 64
#define PRE_ACCESS 0x00100000

/* ANSWERED is written behind the answer to HELLO: a client that is killed in between is hung up on, though it has its
 * answer, and connects again; it has nothing yet. */
enum { FREE, ACCEPTED, ANSWERED };

struct record {
	uint32_t state, slot, seq;
	uint64_t sum;
};

struct journal {
	struct record records[CLIENTS];
	int32_t events[EVENTS]; /* numbers of events that are not answered; 0: none */
	uint32_t device_slot;
};

struct client {
	int calls, events;
	int peer_events; /* until it is sent */
	uint32_t slot;
	struct record *record; /* NULL before HELLO */
	bool asked;
	int error; /* the keeper has no room for it, which is the answer to HELLO */
};

static struct control *control;
static struct journal *journal;
static struct store *store;
static struct client *clients[CLIENTS];
static struct pollfd polled[CLIENTS + 3];
static unsigned count;
static int listener, guard = -1;
static volatile sig_atomic_t end, replace;

/* A step: here it can be killed. */
static void step(void)
{
	unsigned left = atomic_load(&control->die_at);

	if (!left || atomic_fetch_sub(&control->die_at, 1) > 1)
		return;
	atomic_store(&control->die_at, atomic_exchange(&control->die_again, 0));
	raise(SIGKILL);
}

static void die(const char *what)
{
	fprintf(stderr, "keeper_child: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void must(bool ok, const char *what)
{
	if (!ok)
		die(what);
}

static void close_fd(int fd, uint32_t uid)
{
	(void)uid;
	close(fd);
}

/* --- clients ------------------------------------------------------------------------------------------ */

static struct client *add_client(int calls, uint32_t slot)
{
	struct client *c = malloc(sizeof(*c));

	must(c && count < CLIENTS, "a client");
	clients[count++] = c;
	*c = (struct client){.calls = calls, .events = -1, .peer_events = -1, .slot = slot};
	return c;
}

static void end_client(struct client *c)
{
	store_confirm_cancel(store, c);
	if (c->record)
		c->record->state = FREE;
	step();
	if (c->slot != STORE_NO_SLOT) {
		store_drop(store, STORE_CALLS, c->slot, c->calls, 0);
		step();
		store_drop(store, STORE_EVENTS, c->slot, c->events, 0);
	} else {
		close(c->calls);
	}
	step();
	if (c->peer_events >= 0)
		close(c->peer_events);
	c->calls = -1; /* taken out of the list later */
}

static void refuse(struct client *c, int error)
{
	struct message reply = {.op = OP_HELLO, .value = (uint64_t)-error}, taken;

	/* A message that is left unread would make the peer's next recv(2) fail, before it sees the answer. */
	must(recv(c->calls, &taken, sizeof(taken), 0) == sizeof(taken), "HELLO");
	atomic_store(&control->reason, -error);
	atomic_fetch_add(&control->refused, 1);
	if (send(c->calls, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
		perror("keeper_child: refusal");
	end_client(c);
}

static void send_reply(int to, const struct message *m, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {(void *)(uintptr_t)m, sizeof(*m)};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&rights.head), &fd, sizeof(fd));
		header.msg_control = &rights;
		header.msg_controllen = sizeof(rights);
	}
	if (sendmsg(to, &header, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		perror("keeper_child: reply");
}

static struct record *free_record(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (journal->records[i].state == FREE)
			return &journal->records[i];
	}
	return NULL;
}

/* The keeper has both sockets: only now there is a client. */
static void confirmed(void *arg, int error)
{
	struct client *c = arg;
	struct message reply = {.op = OP_HELLO};
	struct message taken;

	step();
	if (error) {
		refuse(c, error);
		return;
	}
	c->record = free_record();
	must(c->record, "a record");
	*c->record = (struct record){.slot = c->slot};
	step();
	c->record->state = ACCEPTED;
	step();
	must(recv(c->calls, &taken, sizeof(taken), 0) == sizeof(taken), "HELLO");
	step();
	send_reply(c->calls, &reply, c->peer_events);
	step();
	c->record->state = ANSWERED;
	step();
	close(c->peer_events);
	c->peer_events = -1;
}

static void hello(struct client *c)
{
	int pair[2], rc;

	c->asked = true;
	if (c->error) {
		refuse(c, c->error);
		return;
	}
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	c->events = pair[0];
	c->peer_events = pair[1];
	step();
	rc = store_put(store, STORE_EVENTS, c->events, &c->slot);
	step();
	if (rc == 0)
		rc = store_confirm(store, confirmed, c);
	if (rc < 0)
		refuse(c, rc);
}

static void take_passed(int fd)
{
	if (write(fd, "x", 1) != 1)
		perror("keeper_child: passed descriptor");
	close(fd);
}

/* One request, which stays in the socket until it is answered. */
static void serve(struct client *c)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	struct message m;
	struct iovec iov = {&m, sizeof(m)};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(c->calls, &header, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	step();
	if (n != sizeof(m) || (m.op == OP_BYE && c->record)) {
		end_client(c);
		return;
	}
	if (m.op == OP_HELLO) {
		hello(c);
		return;
	}
	must(c->record, "a request before HELLO");
	if (m.seq != c->record->seq) {
		c->record->sum += m.value;
		c->record->seq = m.seq;
	}
	step();
	m.value = c->record->sum;
	send_reply(c->calls, &m, -1);
	step();
	header.msg_control = &rights;
	header.msg_controllen = sizeof(rights);
	must(recvmsg(c->calls, &header, MSG_CMSG_CLOEXEC) == sizeof(m), "the same request");
	if (CMSG_FIRSTHDR(&header)) {
		int fd;

		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
		take_passed(fd);
	}
	step();
}

static void accept_one(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct client *c;

	must(fd >= 0, "accept");
	step();
	c = add_client(fd, STORE_NO_SLOT);
	c->error = store_put(store, STORE_CALLS, fd, &c->slot);
	step();
}

/* --- the guard ---------------------------------------------------------------------------------------- */

static void answer_events(void)
{
	for (unsigned i = 0; i < EVENTS && !atomic_load(&control->hold_answers); i++) {
		struct fanotify_response response = {.fd = journal->events[i],
						     .response = FAN_ALLOW};

		if (!journal->events[i])
			continue;
		must(write(guard, &response, sizeof(response)) == sizeof(response), "answer");
		journal->events[i] = 0;
		atomic_fetch_add(&control->answered, 1);
	}
}

static void read_event(void)
{
	char buffer[4096] __attribute__((aligned(8)));
	ssize_t n = read(guard, buffer, sizeof(buffer));
	const struct fanotify_event_metadata *e = (const void *)buffer;

	for (; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
		unsigned i = 0;

		while (i < EVENTS && journal->events[i])
			i++;
		must(i < EVENTS, "room for an event");
		journal->events[i] = e->fd;
		atomic_fetch_add(&control->events, 1);
	}
}

static void open_guard(const char *path)
{
	guard = store_take(store, STORE_GUARD, NULL);
	if (guard >= 0)
		return;
	guard = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK,
			      O_RDONLY | O_LARGEFILE);
	must(guard >= 0, "fanotify_init");
	must(fanotify_mark(guard, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, path) == 0, "fanotify_mark");
	must(store_put(store, STORE_GUARD, guard, NULL) == 0, "put the guard");
}

/* --- start and end ------------------------------------------------------------------------------------ */

static void open_control(const char *dir)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/control", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd >= 0, path);
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(control != MAP_FAILED, "mmap");
	close(fd);
}

static void open_journal(void)
{
	int fd = store_take(store, STORE_JOURNAL, NULL);
	const bool fresh = fd < 0;

	if (fresh) {
		fd = memfd_create("daxlease-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		must(fd >= 0 && ftruncate(fd, sizeof(*journal)) == 0, "memfd");
		must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "seals");
		must(store_put(store, STORE_JOURNAL, fd, NULL) == 0, "put the journal");
	}
	journal = mmap(NULL, sizeof(*journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(journal != MAP_FAILED, "mmap of the journal");
	if (fresh)
		journal->device_slot = STORE_NO_SLOT;
}

static void open_listener(const char *dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	listener = store_take(store, STORE_LISTEN, NULL);
	if (listener >= 0)
		return;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	unlink(address.sun_path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	must(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		     listen(listener, 64) == 0,
	     address.sun_path);
	must(store_put(store, STORE_LISTEN, listener, NULL) == 0, "put the listener");
}

static void open_device(const char *path)
{
	uint32_t slot;
	int fd = store_take(store, STORE_UVERBS, &slot);

	if (fd < 0) {
		slot = STORE_NO_SLOT;
		fd = open(path, O_RDWR | O_CLOEXEC);
		must(fd >= 0, path);
		must(store_put(store, STORE_UVERBS, fd, &slot) == 0, "put the device");
		journal->device_slot = slot;
	} else if (slot == journal->device_slot) {
		atomic_fetch_add(&control->devices, 1);
	}
}

static void take_clients(void)
{
	static struct record *records[STORE_SLOTS];
	static struct client *by_slot[STORE_SLOTS];
	uint32_t slot;
	int fd;

	for (unsigned i = 0; i < CLIENTS; i++) {
		if (journal->records[i].state == ANSWERED)
			records[journal->records[i].slot] = &journal->records[i];
		else
			journal->records[i].state = FREE;
	}
	while ((fd = store_take(store, STORE_CALLS, &slot)) >= 0) {
		if (records[slot]) {
			by_slot[slot] = add_client(fd, slot);
			by_slot[slot]->record = records[slot];
		} else {
			store_drop(store, STORE_CALLS, slot, fd, 0);
		}
	}
	while ((fd = store_take(store, STORE_EVENTS, &slot)) >= 0) {
		if (by_slot[slot])
			by_slot[slot]->events = fd;
		else
			store_drop(store, STORE_EVENTS, slot, fd, 0);
	}
	for (slot = 0; slot < STORE_SLOTS; slot++) {
		if (!records[slot] || (by_slot[slot] && by_slot[slot]->events >= 0))
			continue;
		fprintf(stderr, "keeper_child: slot %u is lost\n", slot);
		atomic_fetch_add(&control->lost, 1);
		records[slot]->state = FREE;
	}
}

static void on_signal(int number)
{
	if (number == SIGHUP)
		replace = 1;
	else
		end = 1;
}

static void turn(void)
{
	const unsigned before = count;

	polled[0] = (struct pollfd){.fd = store_poll_fd(store), .events = POLLIN};
	polled[1] = (struct pollfd){.fd = listener, .events = POLLIN};
	polled[2] = (struct pollfd){.fd = guard, .events = POLLIN};
	for (unsigned i = 0; i < count; i++) {
		/* One that waits for the keeper's word is not read further. */
		const bool waits = clients[i]->asked && !clients[i]->record;

		polled[3 + i] = (struct pollfd){.fd = clients[i]->calls,
						.events = waits ? 0 : POLLIN};
	}
	if (poll(polled, 3 + count, 100) < 0)
		return;
	for (unsigned i = 0; i < before; i++) {
		if (polled[3 + i].revents & POLLIN)
			serve(clients[i]);
		else if (polled[3 + i].revents)
			end_client(clients[i]);
	}
	if (polled[0].revents)
		store_dispatch(store);
	if (polled[2].revents & POLLIN)
		read_event();
	if (polled[1].revents)
		accept_one();
	for (unsigned i = 0; i < count; i++) {
		if (clients[i]->calls >= 0)
			continue;
		free(clients[i]);
		clients[i--] = clients[--count];
	}
}

static void tell(void)
{
	unsigned stored, capacity;

	store_counts(store, &stored, &capacity);
	atomic_store(&control->clients, count);
	atomic_store(&control->state, store_state(store));
	atomic_store(&control->stored, stored);
	atomic_store(&control->capacity, capacity);
}

static void run(char **argv, int argc)
{
	const char *watchdog = getenv("WATCHDOG");

	open_control(argv[0]);
	atomic_store(&control->waiting, (unsigned)getpid());
	while (atomic_load(&control->hold))
		usleep(1000);
	if (watchdog) /* and the keeper is told below */
		setenv("WATCHDOG_USEC", watchdog, 1);
	errno = -store_open(&store, close_fd);
	must(errno == 0, "store_open");
	fprintf(stderr, "keeper_child: %s\n", store_reason(store));
	step();
	open_journal();
	step();
	open_listener(argv[0]);
	step();
	if (argc > 1 && strcmp(argv[1], "-") != 0)
		open_guard(argv[1]);
	if (argc > 2)
		open_device(argv[2]);
	step();
	take_clients();
	step();
	store_discard_rest(store);
	if (watchdog)
		store_notify(store, "WATCHDOG_USEC=%s", watchdog);
	store_notify(store, "READY=1");
	tell();
	atomic_store(&control->pid, (unsigned)getpid());
	atomic_fetch_add(&control->starts, 1);
	while (!end && !replace) {
		while (atomic_load(&control->stuck))
			usleep(1000);
		turn();
		answer_events();
		tell();
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct sigaction action = {.sa_handler = on_signal};

	if (argc > 1 && strcmp(argv[1], "--keeper") == 0) {
		argv[1] = argv[0];
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		return keeper_run("/proc/self/exe", argv + 1);
	}
	if (argc < 2)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	run(argv + 1, argc - 1);
	return replace ? STORE_EXIT_RESTART : 0;
}
