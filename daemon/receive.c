// SPDX-License-Identifier: LGPL-2.1-or-later
/* What clients say: HELLO, calls, answers to revocations; received and dispatched. */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

#define REST_NS (5 * NS_PER_MS)
#define READ_AT_ONCE 1024 /* by session_read_calls() */
#define CALLS_PER_TURN 16 /* then others have theirs: no client keeps the loop to itself */

/* --- HELLO -------------------------------------------------------------------------------------------- */

static void hello_failed(struct session *s, const struct dlp_head *request, int error)
{
	struct dlp_hello_reply reply = {.major = DLP_MAJOR,
					.minor = DLP_MINOR,
					.pools = s->daemon->pools_count};

	session_reply(s, request, &reply.head, sizeof(reply), -1, error);
	shutdown(s->calls_fd, SHUT_RDWR);
}

/* The store has its channels: from now on what is promised to it outlives us. */
static void hello_stored(void *arg, int error)
{
	struct session *s = arg;
	struct dlp_hello_reply reply = {
		.major = DLP_MAJOR,
		.minor = DLP_MINOR,
		.pools = s->daemon->pools_count,
		.features = DLP_FEATURE_MR_BEGIN,
		.session = s->id,
	};

	if (error)
		hello_failed(s, &s->hello, EUSERS);
	else
		session_reply(s, &s->hello, &reply.head, sizeof(reply), s->hello_fd, 0);
	close(s->hello_fd);
	s->hello_fd = -1;
	session_consume(s);
	session_resume(s);
}

void hello_cancel(struct session *s)
{
	store_confirm_cancel(s->daemon->store, s);
	if (s->hello_fd >= 0)
		close(s->hello_fd);
	s->hello_fd = -1;
}

static int make_events(struct session *s)
{
	int pair[2], rc;

	session_close_events(s);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	s->events_fd = pair[0];
	s->hello_fd = pair[1];
	rc = session_listen(s);
	if (rc == 0 && !s->start_ticks)
		rc = session_start_of(s->pid, &s->start_ticks);
	if (rc == 0 && !s->saved)
		s->saved = saved_take(s->daemon, SAVED_SESSION);
	if (rc == 0 && !s->saved)
		rc = -ENOMEM;
	return rc < 0 ? rc : store_put(s->daemon->store, STORE_EVENTS, s->events_fd, &s->slot);
}

static void hello(struct session *s, const struct dlp_hello *m)
{
	int error = 0;

	if (m->major != DLP_MAJOR)
		error = EPROTONOSUPPORT;
	else if (m->role == DLP_ROLE_ADMIN && !s->may_admin)
		error = EACCES;
	else
		error = -make_events(s);
	if (error) {
		hello_failed(s, &m->head, error);
		return;
	}
	s->role = m->role;
	s->hello = m->head;
	session_save(s);
	session_pause(s);
	error = -store_confirm(s->daemon->store, hello_stored, s);
	if (error)
		hello_stored(s, error);
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static void range_happened(const struct session *s, enum dlp_happening kind,
			   const struct dlp_range *m)
{
	happened(s->daemon, &(struct happening){.kind = kind,
						.holder = s,
						.file = file_lookup(s->daemon, m->dev, m->ino),
						.dev = m->dev,
						.ino = m->ino,
						.start = m->start,
						.end = m->end});
}

static void release(struct session *s, const struct dlp_range *m)
{
	int rc = -EUSERS;

	log_debug("session %u of pid %d releases [%llu, %llu)", s->id, s->pid,
		  (unsigned long long)m->start, (unsigned long long)m->end);

	if (user_may_lease(s->daemon, s->user))
		rc = core_release(s->daemon->core, now_ns(), s->id, m->dev, m->ino, m->start,
				  m->end);
	/* Not released: it stays as a lease that nobody uses, and is broken like any other. */
	if (rc < 0 && session_may_complain(s->daemon))
		log_error("pid %d (%s): release not recorded: %s", s->pid, s->comm, strerror(-rc));
	if (rc == 0)
		range_happened(s, DLP_HAPPENED_RELEASED, m);
	run_effects(s->daemon);
}

/* There may be an MR that we could not destroy: its leases end with its process only. */
static void mr_report_lost(struct session *s, int error)
{
	s->mrs_unknown = true;
	session_save(s);
	if (session_may_complain(s->daemon))
		log_error("pid %d (%s): report of an MR lost: %s; hanging up", s->pid, s->comm,
			  strerror(-error));
}

/* Sets *fd to -1 if it is kept. */
static void mr_report(struct session *s, const struct dlp_mr *m, int *fd)
{
	int rc = mr_add(s, m, fd);

	if (rc == 0)
		return;
	mr_report_lost(s, rc);
	if (s->calls_fd >= 0)
		shutdown(s->calls_fd, SHUT_RDWR);
}

/* For the end of a call that was looked at: no other is read meanwhile. */
static bool is_waiting(const struct session *s)
{
	return s->grant || s->hello_fd >= 0;
}

/* *fd (-1: none) becomes -1 if it is taken over. The message is valid. */
static void dispatch_call(struct session *s, const union dlp_buffer *m, int *fd)
{
	switch (m->head.opcode) {
	case DLP_HELLO:
		hello(s, (const struct dlp_hello *)m);
		break;
	case DLP_POOL:
		admin_pool(s, (const struct dlp_pool *)m);
		break;
	case DLP_GRANT:
		grant_request(s, (const struct dlp_grant *)m, fd);
		break;
	case DLP_RELEASE:
		release(s, (const struct dlp_range *)m);
		break;
	case DLP_MR_ADD:
		mr_report(s, (const struct dlp_mr *)m, fd);
		break;
	case DLP_MR_DEL:
		mr_del(s, ((const struct dlp_mr *)m)->context, ((const struct dlp_mr *)m)->id);
		break;
	case DLP_QUERY:
		admin_query(s, (const struct dlp_range *)m);
		break;
	case DLP_LIST:
		admin_list(s, (const struct dlp_list *)m);
		break;
	case DLP_STATUS:
		admin_status(s, &m->head);
		break;
	case DLP_BREAK:
		admin_break(s, (const struct dlp_break *)m, *fd);
		break;
	case DLP_LEASE_REVOKE:
		admin_lease_revoke(s, (const struct dlp_lease_revoke *)m);
		break;
	case DLP_LEASE_FORGET:
		admin_lease_forget(s, (const struct dlp_lease_revoke *)m);
		break;
	case DLP_STATS:
		report_stats(s, &m->head);
		break;
	case DLP_POOL_STATS:
		report_pool_stats(s, (const struct dlp_pool *)m);
		break;
	case DLP_WAITING:
		admin_waiting(s, (const struct dlp_list *)m);
		break;
	case DLP_DRAIN:
		closure_drain(s, (const struct dlp_drain *)m, *fd);
		break;
	case DLP_WATCH:
		report_watch(s, &m->head);
		break;
	}
}

/* An answer to what this role may not ask: the request's head is enough to say so. */
static void refuse(struct session *s, const union dlp_buffer *m)
{
	const struct dlp_rule *ask = dlp_rule(DLP_TO_DAEMON_CALLS, m->head.opcode);
	const struct dlp_rule *answer = dlp_rule(DLP_TO_CLIENT_CALLS, m->head.opcode | DLP_REPLY);
	union dlp_buffer reply = {0};

	if (ask && !ask->one_way && answer)
		session_reply(s, &m->head, &reply.head, answer->size, -1, EACCES);
}

static void dispose(void *arg, int fd)
{
	closer_close(fd, ((struct session *)arg)->uid);
}

static void consume(struct daemon *d, int fd)
{
	char nothing;

	saved_commit(d);
	kill_at("consume");
	if (fd >= 0)
		(void)recv(fd, &nothing, sizeof(nothing), MSG_DONTWAIT | MSG_TRUNC);
	kill_at("consumed");
}

void session_consume(struct session *s)
{
	if (s->looked) {
		trial_end(s, &s->calls_trial);
		consume(s->daemon, s->calls_fd);
	}
	s->looked = s->returned = false;
}

/* A daemon before us has answered it, and died before it was consumed. (One that was not answered: returned.c.) */
static bool is_repeated_hello(const struct session *s, const union dlp_buffer *m, ptrdiff_t size)
{
	return s->returned && size >= (ptrdiff_t)sizeof(m->head) && m->head.opcode == DLP_HELLO;
}

/* So many of its user's descriptors wait to be closed that it is not asked for more until they are. */
static void rest(struct session *s)
{
	struct daemon *d = s->daemon;

	if (s->rests)
		return;
	session_pause(s);
	s->rests = true;
	LIST_INSERT_HEAD(&d->resting, s, rest_entry);
	if (!event_pending(d->rest_timer, EV_TIMEOUT, NULL))
		timer_arm(d->rest_timer, REST_NS);
}

void session_rest_no_more(struct session *s)
{
	if (!s->rests)
		return;
	s->rests = false;
	LIST_REMOVE(s, rest_entry);
	if (!is_waiting(s))
		session_resume(s);
}

void sessions_rested(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct session *s;

	(void)fd;
	(void)what;
	while ((s = LIST_FIRST(&d->resting)))
		session_rest_no_more(s);
}

/* A daemon before has carried it out, and died before it was consumed: what came of it may be gone by now. */
static bool is_answered(const struct session *s, const struct dlp_head *request)
{
	return s->calls_trial.first && s->answer_size &&
	       s->answer.head.opcode == (request->opcode | DLP_REPLY) &&
	       s->answer.head.seq == request->seq;
}

static void handle_call(struct session *s, const union dlp_buffer *m, int *fd)
{
	kill_at(dlp_rule(DLP_TO_DAEMON_CALLS, m->head.opcode)->name);
	if (is_answered(s, &m->head) && !sabotaged("do-again")) {
		log_debug("session %u of pid %d: request %u is answered once more", s->id, s->pid,
			  m->head.seq);
		session_reply(s, &m->head, &s->answer.head, s->answer_size, -1,
			      s->answer.head.error);
	} else {
		dispatch_call(s, m, fd);
	}
	if (is_waiting(s))
		trial_pause(s, &s->calls_trial);
}

/* One packet. 0; -EAGAIN: none there; other: the peer is gone or does not speak our language. It is only looked at, and
 * consumed when it has been handled: see saved.h. The descriptor that came with it is closed after that, so that the
 * last close, which can take long, is never ours. */
static int receive_call(struct session *s)
{
	union dlp_buffer m;
	unsigned fds;
	int fd, rc;
	ptrdiff_t n;

	if (closer_is_behind(s->uid)) {
		rest(s);
		return -EAGAIN;
	}
	n = dlp_recv_from(s->calls_fd, &m, &fd, &fds, MSG_DONTWAIT | MSG_PEEK, dispose, s);
	s->looked = n > 0;
	if (is_repeated_hello(s, &m, n)) {
		session_consume(s);
		closer_close(fd, s->uid);
		return 0;
	}
	rc = n > 0    ? dlp_validate(DLP_TO_DAEMON_CALLS, s->role, &m, (size_t)n, fds)
	     : n == 0 ? -EPIPE
		      : (int)n;
	if (rc == 0 && !trial_begin(s, &s->calls_trial)) {
		s->looked = false;
		closer_close(fd, s->uid);
		return -ECONNABORTED; /* the loop comes to it, too, if we are not called by it */
	}
	if (rc == 0) {
		handle_call(s, &m, &fd);
	} else if (rc == -EACCES) {
		refuse(s, &m);
		rc = 0;
	} else if (rc == -EBADMSG && s->role == DLP_ROLE_HOLDER) {
		mr_report_lost(s, rc); /* it may have been one: its descriptor found no room here */
	}
	if (!is_waiting(s))
		session_consume(s);
	closer_close(fd, s->uid);
	return rc;
}

void calls_ready(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	int rc = 0;

	(void)fd;
	(void)what;
	if (s->calls_trial.first && sabotaged("calls-late"))
		return;
	for (int i = 0; i < CALLS_PER_TURN && rc == 0 && !is_waiting(s) && s->calls_fd >= 0; i++)
		rc = receive_call(s);
	if (rc == 0 || rc == -EAGAIN)
		return;
	if (rc == -ECONNABORTED) {
		trial_failed(s);
		return;
	}
	if (rc != -EPIPE && rc != -ECONNRESET && session_may_complain(s->daemon))
		log_warning("pid %d (%s): bad message: %s; hanging up", s->pid, s->comm,
			    strerror(-rc));
	holder_hung_up(s);
}

void session_read_calls(struct session *s)
{
	/* What a hang-up does to its state is done by the loop, when it sees that. And not within the handling of one. */
	for (int i = 0; i < READ_AT_ONCE && !is_waiting(s) && !s->looked && session_has_unread(s);
	     i++) {
		if (receive_call(s) < 0)
			break;
	}
}

void session_drain_reports(struct session *s)
{
	union dlp_buffer m;
	unsigned fds;
	ptrdiff_t n;
	int fd;

	if (s->calls_fd >= 0)
		shutdown(s->calls_fd, SHUT_RD); /* a child that shares it adds nothing more */
	while (s->calls_fd >= 0) {
		bool valid;

		n = dlp_recv_from(s->calls_fd, &m, &fd, &fds, MSG_DONTWAIT | MSG_PEEK, dispose, s);
		if (n == 0 || (n < 0 && n != -EBADMSG))
			break;
		if (n > 0 && !trial_begin(s, &s->calls_trial)) {
			closer_close(fd, s->uid);
			mr_report_lost(s, -ECONNABORTED); /* daemons have died on it */
			break;
		}
		s->looked = true;
		valid = n > 0 &&
			dlp_validate(DLP_TO_DAEMON_CALLS, s->role, &m, (size_t)n, fds) == 0;
		if (valid && m.head.opcode == DLP_MR_ADD)
			mr_report(s, (const struct dlp_mr *)&m, &fd);
		if (valid && m.head.opcode == DLP_MR_DEL)
			mr_del(s, ((const struct dlp_mr *)&m)->context,
			       ((const struct dlp_mr *)&m)->id);
		if (n == -EBADMSG && s->role == DLP_ROLE_HOLDER)
			mr_report_lost(s, (int)n);
		session_consume(s);
		closer_close(fd, s->uid);
	}
}

/* Is something of the range still being taken away? */
static bool is_being_taken(const struct session *s, const struct dlp_range *m)
{
	struct core_lease_view lease;
	uint64_t offset = m->start;

	while (core_list_session_file(s->daemon->core, s->id, m->dev, m->ino, &offset, &lease) &&
	       lease.start < m->end) {
		if (lease.state >= CORE_REVOKING)
			return true;
	}
	return false;
}

/* The holder's answer to DLP_EV_REVOKE or DLP_EV_DROP. */
static void revoked(struct session *s, const struct dlp_range *m)
{
	struct daemon *d = s->daemon;
	int rc = 0;

	log_debug("session %u of pid %d answered [%llu, %llu), epoch %llu, error %d", s->id, s->pid,
		  (unsigned long long)m->start, (unsigned long long)m->end,
		  (unsigned long long)m->epoch, m->head.error);
	if (m->head.error && !is_being_taken(s, m))
		return; /* what it could not do has been done from outside, or it was about what it holds no more */
	if (m->head.error == 0)
		rc = core_answered(d->core, now_ns(), s->id, m->dev, m->ino, m->start, m->end,
				   m->epoch);
	if (m->head.error || rc < 0) {
		if (session_may_complain(d))
			log_warning("pid %d (%s): could not take everything away: %s", s->pid,
				    s->comm, strerror(m->head.error ? m->head.error : -rc));
		core_session_failed(d->core, now_ns(), s->id);
	} else {
		range_happened(s, DLP_HAPPENED_REVOKED, m);
	}
	run_effects(d);
}

void events_ready(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)what;
	for (int i = 0; i < CALLS_PER_TURN; i++) {
		union dlp_buffer m;
		unsigned fds;
		int got, rc;
		ptrdiff_t n = dlp_recv_from(fd, &m, &got, &fds, MSG_DONTWAIT | MSG_PEEK, dispose,
					    s);

		if (n == -EAGAIN)
			return;
		rc = n <= 0 ? -EPIPE
			    : dlp_validate(DLP_TO_DAEMON_EVENTS, s->role, &m, (size_t)n, fds);
		if (rc < 0) { /* what it has sent goes with the socket */
			closer_close(got, s->uid);
			holder_hung_up(s);
			return;
		}
		if (!trial_begin(s, &s->events_trial)) {
			closer_close(got, s->uid);
			trial_failed(s);
			return;
		}
		kill_at("REVOKED");
		revoked(s, (const struct dlp_range *)&m);
		if (s->events_fd != fd) /* it was hung up on meanwhile */
			return;
		trial_end(s, &s->events_trial);
		consume(s->daemon, fd);
	}
}

bool session_has_unread(const struct session *s)
{
	struct pollfd p = {.fd = s->calls_fd, .events = POLLIN};
	/* The one that is being handled is still there. */
	int bytes, handled = s->grant ? (int)sizeof(struct dlp_grant) : 0;

	if (s->calls_fd < 0 || poll(&p, 1, 0) == 0)
		return false;
	return (p.revents & POLLHUP) || ioctl(s->calls_fd, SIOCINQ, &bytes) < 0 || bytes > handled;
}

void session_pause(struct session *s)
{
	if (s->calls_event)
		event_del(s->calls_event);
}

void session_resume(struct session *s)
{
	if (s->calls_event && !s->rests)
		event_add(s->calls_event, NULL);
}
