// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/shim_daemon.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "proto/proto.h"
#include "tests/unit/shim_check.h"

#define SESSIONS 128
#define SECONDS 10

enum page_state { PAGE_FREE, PAGE_HELD, PAGE_LOSING };

struct fake_session {
	int calls, events; /* -1: not connected */
	uint32_t role;
	unsigned char page[FAKE_PAGES];
	uint64_t revoked[FAKE_PAGES]; /* epoch of the last one */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fake_session sessions[SESSIONS];
static bool closed[FAKE_PAGES]; /* an operation has not finished there */
static unsigned grants, mrs;
static uint64_t epoch; /* of grants and revocations */
static int first_error;
static uint32_t refusal;
static unsigned pool_delay_ns; /* set before the first session */
static atomic_bool pool_hidden, repeating;
static void (*before_reply)(void);
static uint64_t pool_dev, file_ino, page_size;
static uint32_t pool_type;
static int listener;
/* One thread reads the listener and the calls, one the events. Neither allocates memory: a test forks
 * at any moment, and the address sanitizer's allocator would stay locked in the child. */
static int all_calls, all_events;

static void answer(struct fake_session *s, const struct dlp_head *to, struct dlp_head *reply,
		   size_t size, int fd, int error)
{
	reply->opcode = to->opcode | DLP_REPLY;
	reply->seq = to->seq;
	reply->error = error;
	for (int times = 1 + atomic_load(&repeating); times > 0; times--)
		(void)dlp_send(s->calls, reply, size, fd, 0);
}

static void watch(int set, int fd, void *whose)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = whose};

	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void on_hello(struct fake_session *s, const struct dlp_head *head)
{
	struct dlp_hello_reply reply = {.major = DLP_MAJOR,
					.minor = DLP_MINOR,
					.pools = 1,
					.session = 1};
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	pthread_mutex_lock(&lock);
	s->events = pair[0];
	pthread_mutex_unlock(&lock);
	watch(all_events, pair[0], s);
	answer(s, head, &reply.head, sizeof(reply), pair[1], 0);
	close(pair[1]);
}

static void on_pool(struct fake_session *s, const struct dlp_pool *ask)
{
	struct dlp_pool_reply reply = {.pools = 1};

	if (pool_delay_ns)
		nanosleep(&(struct timespec){.tv_nsec = pool_delay_ns}, NULL);
	if (ask->index == 0 && !atomic_load(&pool_hidden)) {
		reply.type = pool_type;
		reply.state = DLP_POOL_READY;
		reply.label = DLP_LABEL_ADVISORY;
		reply.dev = pool_dev;
	}
	answer(s, &ask->head, &reply.head, sizeof(reply), -1, ask->index ? ENOENT : 0);
}

static void on_grant(struct fake_session *s, const struct dlp_grant *ask, int fd)
{
	uint64_t first = ask->start / page_size, end = (ask->end + page_size - 1) / page_size;
	struct dlp_grant_reply reply = {.dev = pool_dev, .ino = file_ino, .pool_type = pool_type};
	void (*hook)(void) = NULL;

	CHECK(fd >= 0);
	close(fd);
	pthread_mutex_lock(&lock);
	grants++;
	reply.reason = refusal;
	if (!refusal && end > FAKE_PAGES)
		reply.reason = DLP_REASON_BEYOND_EOF;
	for (uint64_t i = first; i < end && !reply.reason; i++) {
		if (closed[i] || s->page[i] == PAGE_LOSING)
			reply.reason = DLP_REASON_BREAKING;
	}
	if (!reply.reason) {
		memset(s->page + first, PAGE_HELD, end - first);
		hook = before_reply;
		reply.epoch = ++epoch;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (hook)
		hook();
	reply.start = first * page_size;
	reply.end = end * page_size;
	answer(s, &ask->head, &reply.head, sizeof(reply), -1, dlp_reason_errno(reply.reason));
}

static void set_free(struct fake_session *s, const struct dlp_range *range)
{
	uint64_t first = range->start / page_size, end = (range->end + page_size - 1) / page_size;

	pthread_mutex_lock(&lock);
	CHECK(end <= FAKE_PAGES && range->dev == pool_dev && range->ino == file_ino);
	for (uint64_t i = first; i < end; i++) {
		/* an answer ends nothing newer than what it answers */
		if (range->head.opcode == DLP_RELEASE ||
		    (s->page[i] == PAGE_LOSING && s->revoked[i] <= range->epoch))
			s->page[i] = PAGE_FREE;
	}
	if (range->head.opcode == DLP_REVOKED && range->head.error && !first_error)
		first_error = range->head.error;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void *listen_events(void *unused)
{
	static union dlp_buffer m;
	struct epoll_event event;
	unsigned fds;
	int fd;

	(void)unused;
	for (;;) {
		struct fake_session *s;
		ptrdiff_t n;

		if (epoll_wait(all_events, &event, 1, -1) != 1)
			continue;
		s = event.data.ptr;
		pthread_mutex_lock(&lock);
		n = s->events < 0 ? 0 : dlp_recv(s->events, &m, &fd, &fds, MSG_DONTWAIT);
		if (n == 0 && s->events >= 0)
			CHECK(epoll_ctl(all_events, EPOLL_CTL_DEL, s->events, NULL) == 0);
		pthread_mutex_unlock(&lock);
		if (n <= 0)
			continue;
		CHECK(dlp_validate(DLP_TO_DAEMON_EVENTS, DLP_ROLE_HOLDER, &m, (size_t)n, fds) == 0);
		set_free(s, (const struct dlp_range *)&m);
	}
	return NULL;
}

static void on_mr(int delta, int fd)
{
	if (fd >= 0)
		close(fd);
	pthread_mutex_lock(&lock);
	mrs += (unsigned)delta;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void serve(struct fake_session *s, const union dlp_buffer *m, int fd)
{
	switch (m->head.opcode) {
	case DLP_HELLO:
		s->role = DLP_ROLE_HOLDER;
		on_hello(s, &m->head);
		break;
	case DLP_POOL:
		on_pool(s, (const struct dlp_pool *)m);
		break;
	case DLP_GRANT:
		on_grant(s, (const struct dlp_grant *)m, fd);
		break;
	case DLP_RELEASE:
		set_free(s, (const struct dlp_range *)m);
		break;
	case DLP_MR_ADD:
		on_mr(1, fd);
		break;
	case DLP_MR_DEL:
		on_mr(-1, fd);
		break;
	default:
		CHECK(!"an opcode the daemon knows");
	}
}

/* A slot is not used again. */
static void end_session(struct fake_session *s)
{
	pthread_mutex_lock(&lock);
	memset(s->page, PAGE_FREE, sizeof(s->page));
	if (s->events >= 0) {
		(void)epoll_ctl(all_events, EPOLL_CTL_DEL, s->events, NULL);
		close(s->events);
		s->events = -1;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	/* not by close() alone: a child of fork may still have it open */
	CHECK(epoll_ctl(all_calls, EPOLL_CTL_DEL, s->calls, NULL) == 0);
	close(s->calls);
}

static void accept_one(void)
{
	static unsigned used;
	struct fake_session *s = &sessions[used++];

	CHECK(used <= SESSIONS);
	s->calls = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(s->calls >= 0);
	watch(all_calls, s->calls, s);
}

static void *listen_calls(void *unused)
{
	static union dlp_buffer m;
	struct epoll_event event;
	unsigned fds;
	int fd;

	(void)unused;
	for (;;) {
		struct fake_session *s;
		ptrdiff_t n;

		if (epoll_wait(all_calls, &event, 1, -1) != 1)
			continue;
		s = event.data.ptr;
		if (!s) {
			accept_one();
			continue;
		}
		n = dlp_recv(s->calls, &m, &fd, &fds, 0);
		if (n <= 0) {
			end_session(s);
			continue;
		}
		CHECK(dlp_validate(DLP_TO_DAEMON_CALLS, s->role, &m, (size_t)n, fds) == 0);
		serve(s, &m, fd);
	}
	return NULL;
}

void fake_start(const char *socket_path, uint64_t dev, uint64_t ino, uint32_t type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pthread_t thread;

	pool_dev = dev;
	file_ino = ino;
	pool_type = type;
	page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	for (unsigned i = 0; i < SESSIONS; i++)
		sessions[i].events = -1;
	CHECK(strlen(socket_path) < sizeof(address.sun_path));
	strcpy(address.sun_path, socket_path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(listener, 64) == 0);
	all_calls = epoll_create1(EPOLL_CLOEXEC);
	all_events = epoll_create1(EPOLL_CLOEXEC);
	CHECK(all_calls >= 0 && all_events >= 0);
	watch(all_calls, listener, NULL);
	CHECK(pthread_create(&thread, NULL, listen_calls, NULL) == 0);
	pthread_detach(thread);
	CHECK(pthread_create(&thread, NULL, listen_events, NULL) == 0);
	pthread_detach(thread);
}

void fake_refuse(uint32_t reason)
{
	pthread_mutex_lock(&lock);
	refusal = reason;
	pthread_mutex_unlock(&lock);
}

void fake_slow_pools(unsigned delay_ns)
{
	pool_delay_ns = delay_ns;
}

void fake_repeat(bool on)
{
	atomic_store(&repeating, on);
}

void fake_before_reply(void (*hook)(void))
{
	pthread_mutex_lock(&lock);
	before_reply = hook;
	pthread_mutex_unlock(&lock);
}

static unsigned count(unsigned first, unsigned end, enum page_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SESSIONS; i++) {
		for (unsigned p = first; p < end; p++)
			n += sessions[i].page[p] == state;
	}
	return n;
}

unsigned fake_held(unsigned first, unsigned end)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = count(first, end, PAGE_HELD);
	pthread_mutex_unlock(&lock);
	return n;
}

static bool wait_changed(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SECONDS;
	return pthread_cond_timedwait(&changed, &lock, &until) == 0;
}

bool fake_wait_held(unsigned first, unsigned end, unsigned wanted)
{
	bool reached;

	pthread_mutex_lock(&lock);
	while (!(reached = count(first, end, PAGE_HELD) == wanted) && wait_changed())
		;
	pthread_mutex_unlock(&lock);
	return reached;
}

unsigned fake_grants(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = grants;
	pthread_mutex_unlock(&lock);
	return n;
}

unsigned fake_mrs(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = mrs;
	pthread_mutex_unlock(&lock);
	return n;
}

/* Each run of held pages in [first, end) is told of; `lose`: they are being lost from now on. */
static unsigned tell(uint16_t opcode, unsigned first, unsigned end, bool lose)
{
	unsigned told = 0;

	for (unsigned i = 0; i < SESSIONS; i++) {
		struct fake_session *s = &sessions[i];

		for (unsigned p = first; p < end && s->events >= 0; p++) {
			unsigned run = p;
			struct dlp_ev_break event = {
				.head.opcode = opcode,
				.dev = pool_dev,
				.ino = file_ino,
				.left_ns = SECONDS * UINT64_C(1000000000),
				.epoch = ++epoch,
				.cause = DLP_CAUSE_PUNCH,
				.pid = 1,
				.comm = "breaker",
			};

			while (run < end && s->page[run] == PAGE_HELD)
				run++;
			if (run == p)
				continue;
			event.start = p * page_size;
			event.end = run * page_size;
			for (unsigned at = p; lose && at < run; at++) {
				s->page[at] = PAGE_LOSING;
				s->revoked[at] = event.epoch;
			}
			for (int times = 1 + atomic_load(&repeating); times > 0; times--)
				CHECK(dlp_send(s->events, &event.head, sizeof(event), -1, 0) == 0);
			told++;
			p = run - 1;
		}
	}
	return told;
}

void fake_break(unsigned first, unsigned end)
{
	pthread_mutex_lock(&lock);
	tell(DLP_EV_BREAK, first, end, false);
	pthread_mutex_unlock(&lock);
}

int fake_revoke(unsigned first, unsigned end, bool drop, unsigned *answers)
{
	int error;

	pthread_mutex_lock(&lock);
	first_error = 0;
	memset(closed + first, true, end - first);
	*answers = tell(drop ? DLP_EV_DROP : DLP_EV_REVOKE, first, end, true);
	while (count(first, end, PAGE_LOSING) > 0 && wait_changed())
		;
	error = count(first, end, PAGE_LOSING) > 0 ? -1 : first_error;
	pthread_mutex_unlock(&lock);
	return error;
}

void fake_finish(unsigned first, unsigned end)
{
	pthread_mutex_lock(&lock);
	memset(closed + first, false, end - first);
	pthread_mutex_unlock(&lock);
}

void fake_pool(bool there)
{
	struct dlp_ev_pools news = {.head.opcode = DLP_EV_POOLS, .pools = 1};

	atomic_store(&pool_hidden, !there);
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < SESSIONS; i++) {
		if (sessions[i].events >= 0)
			(void)dlp_send(sessions[i].events, &news.head, sizeof(news), -1,
				       MSG_DONTWAIT);
	}
	pthread_mutex_unlock(&lock);
}

void fake_hang_up(void)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < SESSIONS; i++) {
		if (sessions[i].events >= 0) {
			shutdown(sessions[i].calls, SHUT_RDWR);
			shutdown(sessions[i].events, SHUT_RDWR);
		}
	}
	pthread_mutex_unlock(&lock);
}
