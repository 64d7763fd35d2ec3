// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/fuzz/fuzz_shim.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libshim/shim_hook.h"
#include "libshim/shim_session.h"

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __wrap_client_event(struct client *client, union dlp_buffer *buffer, bool wait);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_session_lost(void);
int __wrap_dlp_send(int sock, struct dlp_head *message, size_t size, int fd, int flags);
int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __real_client_event(struct client *client, union dlp_buffer *buffer, bool wait);
int __real_session_lost(void);
int __real_dlp_send(int sock, struct dlp_head *message, size_t size, int fd, int flags);

static int calls = -1, events = -1; /* its ends */
static int listener;
static bool in_listener;
static uint64_t epoch; /* of the last grant or revocation */

uint8_t manner, manner_argument[2];
const uint8_t *raw;
size_t raw_size;
bool lied, knows, listening, refused, held[FILE_PAGES];
uint64_t granted[FILE_PAGES];

static void hang_up(void)
{
	lied = true;
	shutdown(calls, SHUT_RDWR);
	if (events >= 0)
		shutdown(events, SHUT_RDWR);
}

/* The parts of the file that a range touches. */
static void span(uint64_t start, uint64_t end, unsigned *first, unsigned *last)
{
	*first = start / page < FILE_PAGES ? (unsigned)(start / page) : FILE_PAGES;
	*last = end / page + (end % page != 0) < FILE_PAGES
			? (unsigned)(end / page + (end % page != 0))
			: FILE_PAGES;
}

static struct dlp_ev_break pending[4]; /* told to the shim, not answered */
static unsigned pending_count;

static void on_answer(const struct dlp_range *m)
{
	struct dlp_ev_break event = {0};
	unsigned first, last;

	require(pending_count > 0 && m->epoch == pending[0].epoch && m->start == pending[0].start &&
			m->end == pending[0].end && m->dev == pending[0].dev &&
			m->ino == pending[0].ino,
		"each revocation has its answer, in turn");
	event = pending[0];
	TRACE("answer to %u: error %d\n", event.head.opcode, m->head.error);
	memmove(pending, pending + 1, --pending_count * sizeof(pending[0]));
	if (event.dev != dev || event.ino != ino)
		return;
	span(event.start, event.end, &first, &last);
	program_answered(&event, m->head.error, first, last);
	for (unsigned p = first; p < last && m->head.error == 0; p++)
		held[p] = held[p] && event.epoch < granted[p];
	lied |= m->head.error != 0;
}

static void read_answers(void)
{
	union dlp_buffer b;
	unsigned fds;
	ptrdiff_t n;
	int fd;

	while (events >= 0 && (n = dlp_recv(events, &b, &fd, &fds, MSG_DONTWAIT)) > 0) {
		require(fd < 0 && dlp_validate(DLP_TO_DAEMON_EVENTS, DLP_ROLE_HOLDER, &b, (size_t)n,
					       fds) == 0,
			"answers are well formed");
		on_answer((const struct dlp_range *)&b);
	}
}

void listen_now(void)
{
	int inside = shim_inside;

	if (!listening || in_listener)
		return;
	in_listener = true;
	revoke_listen(NULL);
	in_listener = false;
	shim_inside = inside;
	read_answers();
	look_at_pages();
}

/* What the packet means, if the shim takes it for an event. */
static void send_event(union dlp_buffer *b, size_t size)
{
	bool answered = b->head.opcode == DLP_EV_REVOKE || b->head.opcode == DLP_EV_DROP;
	const struct dlp_ev_break *event = (const struct dlp_ev_break *)b;

	if (events < 0 || size < sizeof(b->head))
		return;
	b->head.size = (uint32_t)size;
	if (!listening && answered)
		return; /* nobody holds anything: read_news() passes over it */
	if (dlp_validate(DLP_TO_CLIENT_EVENTS, 0, b, size, 0) < 0) {
		lied = true; /* it will hang up */
	} else if (answered) {
		if (pending_count == sizeof(pending) / sizeof(pending[0]))
			return;
		pending[pending_count++] = *event;
		lied |= event->start % page || event->end % page;
	}
	TRACE("event %u of epoch %llu, pages [%llu, %llu), ino %+lld%s\n", b->head.opcode,
	      (unsigned long long)event->epoch, (unsigned long long)(event->start / page),
	      (unsigned long long)(event->end / page), (long long)(event->ino - ino),
	      lied ? ", lied" : "");
	__real_dlp_send(events, &b->head, size, -1, MSG_DONTWAIT);
}

/* kind: opcode, epoch, and whose file; where: the range. */
void aimed_event(uint8_t kind, uint8_t where)
{
	static const uint16_t opcodes[] = {DLP_EV_REVOKE, DLP_EV_REVOKE, DLP_EV_DROP, DLP_EV_BREAK};
	const uint64_t first = where % FILE_PAGES, count = 1 + where / FILE_PAGES;
	union dlp_buffer b = {0};
	struct dlp_ev_break *event = (struct dlp_ev_break *)&b;

	*event = (struct dlp_ev_break){
		.head.opcode = opcodes[kind & 3],
		.dev = dev,
		.ino = ino + (kind >> 2 & 7 ? 0 : 1),
		.start = first * page,
		.end = (first + count) * page,
		.left_ns = 1000000,
		.epoch = kind & 0x40 ? 0 : ++epoch,
		.cause = kind >> 3,
		.pid = 1,
	};
	if ((kind & 0xb0) == 0xb0)
		event->end = INT64_MAX;
	send_event(&b, sizeof(*event));
	if (kind & 0x80 && pending_count && events >= 0) /* once more */
		send_event(&b, sizeof(*event));
}

static size_t take_raw(union dlp_buffer *b, uint16_t opcode, size_t wanted)
{
	size_t size = raw_size < wanted ? raw_size : wanted;

	memset(b, 0, sizeof(*b));
	memcpy(b->bytes, raw, size);
	raw += size;
	raw_size -= size;
	if (opcode)
		b->head.opcode = opcode;
	return wanted;
}

static bool grants(union dlp_buffer *reply, const struct dlp_head *request, size_t size)
{
	return request->opcode == DLP_GRANT && size == sizeof(struct dlp_grant_reply) &&
	       dlp_validate(DLP_TO_CLIENT_CALLS, 0, reply, size, 0) == 0 &&
	       reply->head.opcode == (DLP_GRANT | DLP_REPLY) && reply->head.seq == request->seq &&
	       !reply->head.error;
}

static void grant(const struct dlp_grant *ask, uint64_t under)
{
	unsigned first, last;

	span(ask->start, ask->end, &first, &last);
	for (unsigned p = first; p < last; p++) {
		held[p] = true;
		granted[p] = under > granted[p] ? under : granted[p];
	}
}

static bool is_being_revoked(const struct dlp_grant *ask)
{
	for (unsigned i = 0; i < pending_count; i++) {
		if (pending[i].dev == dev && pending[i].ino == ino && pending[i].start < ask->end &&
		    ask->start < pending[i].end)
			return true;
	}
	return false;
}

static void fill_reply(union dlp_buffer *reply, const union dlp_buffer *request)
{
	const struct dlp_grant *ask = (const struct dlp_grant *)request;

	switch (request->head.opcode) {
	case DLP_HELLO:
		*(struct dlp_hello_reply *)reply = (struct dlp_hello_reply){.major = DLP_MAJOR,
									    .minor = DLP_MINOR,
									    .pools = 1,
									    .session = 1};
		break;
	case DLP_POOL:
		*(struct dlp_pool_reply *)reply =
			(struct dlp_pool_reply){.pools = 1,
						.type = DLP_POOL_MOUNT,
						.state = DLP_POOL_READY,
						.label = DLP_LABEL_ADVISORY,
						.dev = dev};
		reply->head.error = ((const struct dlp_pool *)request)->index ? ENOENT : 0;
		break;
	case DLP_GRANT:
		*(struct dlp_grant_reply *)reply =
			(struct dlp_grant_reply){.dev = dev,
						 .ino = ino,
						 .start = ask->start,
						 .end = ask->end,
						 .pool_type = DLP_POOL_MOUNT};
		if (manner == ANSWER_REFUSE) {
			((struct dlp_grant_reply *)reply)->reason =
				1 + manner_argument[0] % (DLP_REASON_COUNT - 1);
			reply->head.error = dlp_reason_errno(
				((struct dlp_grant_reply *)reply)->reason);
			break;
		}
		if (manner == ANSWER_EARLY_EVENT)
			aimed_event(manner_argument[0], manner_argument[1]);
		if (is_being_revoked(ask)) {
			((struct dlp_grant_reply *)reply)->reason = DLP_REASON_BREAKING;
			reply->head.error = EAGAIN;
			break;
		}
		((struct dlp_grant_reply *)reply)->epoch = ++epoch;
		grant(ask, epoch);
		break;
	}
}

static void answer(const union dlp_buffer *request)
{
	const struct dlp_rule *rule = dlp_rule(DLP_TO_CLIENT_CALLS,
					       request->head.opcode | DLP_REPLY);
	union dlp_buffer reply = {0};
	size_t size = rule->size;
	int pair[2] = {-1, -1};

	TRACE("request %u, answered in manner %u\n", request->head.opcode, manner);
	if (manner == ANSWER_END || (manner == ANSWER_RAW && !raw_size)) {
		hang_up();
		return;
	}
	fill_reply(&reply, request);
	reply.head.opcode = request->head.opcode | DLP_REPLY;
	reply.head.seq = request->head.seq;
	if (manner == ANSWER_RAW) {
		uint16_t opcode = manner_argument[0] & 1 ? request->head.opcode | DLP_REPLY : 0;

		lied = true;
		size = take_raw(&reply, opcode,
				manner_argument[0] & 2 ? rule->size
						       : manner_argument[1] % 100 + 16u);
		if (manner_argument[0] & 4)
			reply.head.seq = request->head.seq;
		reply.head.size = (uint32_t)size;
		if (manner_argument[0] & 8)
			reply.head.flags = reply.head.error = 0;
		if (grants(&reply, &request->head, size)) {
			knows = false; /* granted under any epoch: what it has to take away is anybody's guess */
			grant((const struct dlp_grant *)request,
			      ((struct dlp_grant_reply *)&reply)->epoch);
		}
	}
	if (request->head.opcode == DLP_HELLO ||
	    (manner == ANSWER_RAW && manner_argument[0] & 16)) {
		require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				   pair) == 0,
			"socketpair");
		if (request->head.opcode == DLP_HELLO)
			events = pair[0];
		else
			close(pair[0]);
	}
	if (request->head.opcode == DLP_GRANT &&
	    (manner == ANSWER_LATE_EVENT || manner == ANSWER_EARLY_EVENT)) {
		if (manner == ANSWER_LATE_EVENT)
			aimed_event(manner_argument[0], manner_argument[1]);
		listen_now();
	}
	for (int times = manner == ANSWER_TWICE ? 2 : 1; times > 0; times--)
		__real_dlp_send(calls, &reply.head, size, pair[1], MSG_DONTWAIT);
	if (pair[1] >= 0)
		close(pair[1]);
	if (request->head.opcode != DLP_GRANT)
		return;
	refused = reply.head.error;
	if (manner != ANSWER_TWICE)
		manner = ANSWER_WELL;
}

static void released(const struct dlp_range *m)
{
	unsigned first, last;

	require(m->dev == dev && m->ino == ino, "only what was leased is released");
	span(m->start, m->end, &first, &last);
	TRACE("released pages [%u, %u)\n", first, last);
	for (unsigned p = first; p < last; p++)
		held[p] = false;
}

void turn(void)
{
	union dlp_buffer b;
	unsigned fds;
	ptrdiff_t n;
	int fd;

	while (calls >= 0 && (n = dlp_recv(calls, &b, &fd, &fds, MSG_DONTWAIT)) > 0) {
		uint32_t role = b.head.opcode == DLP_HELLO ? 0 : DLP_ROLE_HOLDER;

		if (fd >= 0)
			close(fd);
		require(dlp_validate(DLP_TO_DAEMON_CALLS, role, &b, (size_t)n, fds) == 0,
			"requests are well formed");
		if (b.head.opcode == DLP_RELEASE)
			released((const struct dlp_range *)&b);
		else
			answer(&b);
	}
}

/* --- what the shim calls ---------------------------------------------------------------------------------------- */

static void close_ends(void)
{
	if (calls >= 0)
		close(calls);
	if (events >= 0)
		close(events);
	calls = events = -1;
	pending_count = 0;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	int rc = __real_connect(fd, address, size);

	if (rc == 0 && address->sa_family == AF_UNIX) {
		close_ends();
		calls = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		require(calls >= 0, "accept");
	}
	return rc;
}

int __wrap_dlp_send(int sock, struct dlp_head *message, size_t size, int fd, int flags)
{
	int rc = __real_dlp_send(sock, message, size, fd, flags);

	/* A RELEASE goes out under locks; nobody waits for it. */
	if (rc == 0 && message->opcode != DLP_RELEASE && message->opcode != DLP_REVOKED)
		turn();
	return rc;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	if (start != revoke_listen)
		return __real_pthread_create(thread, attr, start, arg);
	listening = true;
	*thread = pthread_self();
	return 0;
}

/* The listener goes home when there is nothing more. */
int __wrap_client_event(struct client *client, union dlp_buffer *buffer, bool wait)
{
	int rc = __real_client_event(client, buffer, false);

	return rc == 0 && wait ? -EPIPE : rc;
}

/* Between two tries of a GRANT. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

int __wrap_session_lost(void)
{
	return in_listener && client_usable(&session.client) ? -EPIPE : __real_session_lost();
}

/* --- a case ------------------------------------------------------------------------------------------------------ */

void raw_event(uint8_t kind, uint8_t length)
{
	union dlp_buffer b;
	size_t size = take_raw(&b, kind & 1 ? DLP_EV_BREAK + kind / 2 % 8 : 0,
			       kind & 0x80 ? sizeof(struct dlp_ev_break) : 16u + length % 100);

	lied = true;
	send_event(&b, size);
}

void daemon_start(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	require(listener >= 0 &&
			bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
			listen(listener, 4) == 0,
		"listen");
}

void daemon_begin(void)
{
	close_ends();
	listening = lied = false;
	knows = true;
	memset(held, 0, sizeof(held));
	memset(granted, 0, sizeof(granted));
	epoch = 0;
	manner = ANSWER_WELL;
}
