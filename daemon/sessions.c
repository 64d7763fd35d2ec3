// SPDX-License-Identifier: LGPL-2.1-or-later
/* Connections: accept, HELLO, receiving and dispatch, sending. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* include/uapi/asm-generic/socket.h, Linux 6.5 */
#endif

#define LISTEN_BACKLOG 256
#define SESSION_DESCRIPTORS 4 /* calls, events, pidfd, memory */
#define ACCEPT_RETRY_NS (100 * NS_PER_MS)
#define CALLS_PER_TURN 16 /* then others have theirs: no client keeps the loop to itself */
#define WARNINGS_PER_S 20 /* of what clients can bring about as often as they like */

static void calls_ready(evutil_socket_t fd, short what, void *arg);
static void events_ready(evutil_socket_t fd, short what, void *arg);

/* Whether what a client did may be logged once more now. Otherwise one that does it again and again would leave no
 * room in the journal for anything else. */
static bool may_complain(struct daemon *d)
{
	uint64_t now = now_ns();

	if (now - d->complaints_since_ns >= NS_PER_S) {
		if (d->complaints > WARNINGS_PER_S)
			log_warning("%u more warnings about clients in a second were left out",
				    d->complaints - WARNINGS_PER_S);
		d->complaints_since_ns = now;
		d->complaints = 0;
	}
	return d->complaints++ < WARNINGS_PER_S;
}

/* --- sending ------------------------------------------------------------------------------------------ */

void session_reply(struct session *s, const struct dlp_head *request, struct dlp_head *reply, size_t size, int fd,
		   int error)
{
	int rc;

	reply->opcode = request->opcode | DLP_REPLY;
	reply->flags = 0;
	reply->seq = request->seq;
	reply->error = error < 0 ? -error : error;
	if (s->calls_fd < 0)
		return;
	rc = dlp_send(s->calls_fd, reply, size, fd, MSG_DONTWAIT);
	if (rc < 0 && rc != -EPIPE && may_complain(s->daemon))
		log_warning("pid %d (%s): reply not taken: %s; hanging up", s->pid, s->comm, strerror(-rc));
	/* The hang-up is handled when the loop sees it: callers still use s. */
	if (rc < 0)
		shutdown(s->calls_fd, SHUT_RDWR);
}

int session_event(struct session *s, struct dlp_head *event, size_t size)
{
	if (s->events_fd < 0)
		return -EPIPE;
	return dlp_send(s->events_fd, event, size, -1, MSG_DONTWAIT);
}

void sessions_tell_pools(struct daemon *d)
{
	struct session *s, *next;

	HASH_ITER(hh, d->sessions, s, next)
	{
		struct dlp_ev_pools event = {.head.opcode = DLP_EV_POOLS, .pools = d->pools_count};

		/* One that does not read asks again with its next connection; nothing depends on it. */
		session_event(s, &event.head, sizeof(event));
	}
}

/* --- the life of a session ----------------------------------------------------------------------------- */

struct session *session_find(struct daemon *d, uint32_t id)
{
	struct session *s;

	HASH_FIND(hh, d->sessions, &id, sizeof(id), s);
	return s;
}

static void end_event(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

/* What the client had sent and nobody has read goes with the socket, descriptors too: not in the loop. */
static void close_channel(struct session *s, int *fd, struct event **event)
{
	end_event(event);
	if (*fd >= 0)
		shutdown(*fd, SHUT_RDWR);
	closer_close(*fd, s->uid);
	*fd = -1;
}

void session_close_channels(struct session *s)
{
	close_channel(s, &s->calls_fd, &s->calls_event);
	close_channel(s, &s->events_fd, &s->events_event);
}

void session_free(struct session *s)
{
	struct daemon *d = s->daemon;

	grant_abandon(s);
	mr_forget_all(s);
	report_unwatch(s);
	session_close_channels(s);
	end_event(&s->pid_event);
	if (s->pidfd >= 0)
		close(s->pidfd);
	if (s->memory_fd >= 0)
		close(s->memory_fd);
	end_event(&s->retry_timer);
	if (s->maps_job)
		workers_cancel(d->workers, s->maps_job);
	HASH_DEL(d->sessions, s);
	if (s->user) {
		user_give(d, s->user, USER_SESSIONS, 1);
		user_give(d, s->user, USER_DESCRIPTORS, SESSION_DESCRIPTORS);
		user_put(d, s->user);
	}
	free(s);
}

static void read_comm(int32_t pid, char comm[16])
{
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, comm, 15);
	if (fd >= 0)
		close(fd);
	comm[n > 0 && comm[n - 1] == '\n' ? n - 1 : n > 0 ? n : 0] = 0;
}

/* root, or a member of the administrators' group; the socket's credentials are those of connect(2). */
static bool is_admin(const struct daemon *d, int fd, const struct ucred *cred)
{
	gid_t groups[1024];
	socklen_t size = sizeof(groups);

	if (cred->uid == 0)
		return true;
	if (d->config.admin_gid == (gid_t)-1)
		return false;
	if (cred->gid == d->config.admin_gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(gid_t); i++) {
		if (groups[i] == d->config.admin_gid)
			return true;
	}
	return false;
}

static int peer_pidfd(int fd, pid_t pid)
{
	socklen_t size = sizeof(int);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	/* Only where there is none: of one that has ended already the number may be another's. */
	return errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static void pid_ended(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	holder_died(arg);
}

/* 0, or -EUSERS: it has its share, or none is left. */
static int take_account(struct session *s)
{
	struct daemon *d = s->daemon;
	struct user *user = user_get(d, s->uid);

	if (!user)
		return -ENOMEM;
	if (!closer_is_behind(s->uid) && user_take(d, user, USER_SESSIONS, 1)) {
		if (user_take(d, user, USER_DESCRIPTORS, SESSION_DESCRIPTORS)) {
			s->user = user;
			return 0;
		}
		user_give(d, user, USER_SESSIONS, 1);
	}
	user_put(d, user);
	return -EUSERS;
}

int session_new(struct daemon *d, int fd)
{
	struct session *s = calloc(1, sizeof(*s));
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int rc;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->daemon = d;
	s->calls_fd = fd;
	s->events_fd = -1;
	s->pidfd = -1;
	s->memory_fd = -1;
	do {
		s->id = ++d->next_session;
	} while (s->id == 0 || session_find(d, s->id));
	HASH_ADD(hh, d->sessions, id, sizeof(s->id), s);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || cred.pid <= 0) {
		session_free(s);
		return -EACCES;
	}
	s->pid = cred.pid;
	s->uid = cred.uid;
	rc = take_account(s);
	if (rc < 0) {
		session_free(s);
		return rc;
	}
	s->may_admin = is_admin(d, fd, &cred);
	s->pidfd = peer_pidfd(fd, cred.pid);
	if (s->pidfd < 0) {
		session_free(s);
		return -ESRCH;
	}
	read_comm(s->pid, s->comm);
	s->calls_event = event_new(d->base, fd, EV_READ | EV_PERSIST, calls_ready, s);
	s->pid_event = event_new(d->base, s->pidfd, EV_READ, pid_ended, s);
	if (!s->calls_event || !s->pid_event || event_add(s->calls_event, NULL) < 0 ||
	    event_add(s->pid_event, NULL) < 0) {
		session_free(s);
		return -ENOMEM;
	}
	return 0;
}

static void accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	event_add(d->listen_event, NULL);
}

static void accept_ready(evutil_socket_t listen_fd, short what, void *arg)
{
	struct daemon *d = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int rc;

	(void)what;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_warning("cannot accept connections: %s; waiting", strerror(errno));
			event_del(d->listen_event);
			timer_arm(d->accept_retry, ACCEPT_RETRY_NS);
		}
		return;
	}
	rc = session_new(d, fd);
	if (rc < 0 && may_complain(d))
		log_warning("connection refused: %s", strerror(-rc));
}

/* Makes room for our socket: one that a dead daemon has left goes, nothing else does. */
static int clear_socket(const char *path, const struct sockaddr_un *address)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("%s: there is a file that is no socket; it is left alone", path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
	close(fd);
	if (rc != -ECONNREFUSED && rc != -ENOENT) {
		log_error("%s: another daemon listens there: stop it first, or set socket to another path", path);
		return -EADDRINUSE;
	}
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int sessions_start(struct daemon *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = d->config.socket;
	struct stat st;
	int rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	d->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listen_fd < 0)
		return -errno;
	rc = clear_socket(path, &address);
	if (rc < 0)
		return rc;
	/* Anybody may connect: what he may do is decided by his credentials. */
	if (bind(d->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
	    listen(d->listen_fd, LISTEN_BACKLOG) < 0 || lstat(path, &st) < 0)
		return -errno;
	d->socket_ino = st.st_ino;
	d->listen_event = event_new(d->base, d->listen_fd, EV_READ | EV_PERSIST, accept_ready, d);
	d->accept_retry = evtimer_new(d->base, accept_again, d);
	if (!d->listen_event || !d->accept_retry || event_add(d->listen_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void sessions_stop(struct daemon *d)
{
	struct session *s, *next;
	struct stat st;

	HASH_ITER(hh, d->sessions, s, next)
		session_free(s);
	if (d->accept_retry)
		event_free(d->accept_retry);
	if (d->listen_event)
		event_free(d->listen_event);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	if (d->socket_ino && lstat(d->config.socket, &st) == 0 && st.st_ino == d->socket_ino)
		unlink(d->config.socket);
}

/* --- HELLO -------------------------------------------------------------------------------------------- */

static void hello(struct session *s, const struct dlp_hello *m)
{
	struct dlp_hello_reply reply = {.major = DLP_MAJOR, .minor = DLP_MINOR, .pools = s->daemon->pools_count};
	int pair[2], error = 0;

	if (m->major != DLP_MAJOR)
		error = EPROTONOSUPPORT;
	else if (m->role == DLP_ROLE_ADMIN && !s->may_admin)
		error = EACCES;
	else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		error = errno;
	if (error) {
		session_reply(s, &m->head, &reply.head, sizeof(reply), -1, error);
		shutdown(s->calls_fd, SHUT_RDWR);
		return;
	}
	s->events_fd = pair[0];
	s->events_event = event_new(s->daemon->base, pair[0], EV_READ | EV_PERSIST, events_ready, s);
	if (!s->events_event || event_add(s->events_event, NULL) < 0) {
		close(pair[1]);
		session_reply(s, &m->head, &reply.head, sizeof(reply), -1, ENOMEM);
		shutdown(s->calls_fd, SHUT_RDWR);
		return;
	}
	s->role = m->role;
	reply.session = s->id;
	session_reply(s, &m->head, &reply.head, sizeof(reply), pair[1], 0);
	close(pair[1]);
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static void range_happened(const struct session *s, enum dlp_happening kind, const struct dlp_range *m)
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

	if (user_may_lease(s->daemon, s->user))
		rc = core_release(s->daemon->core, now_ns(), s->id, m->dev, m->ino, m->start, m->end);
	/* Not released: it stays as a lease that nobody uses, and is broken like any other. */
	if (rc < 0 && may_complain(s->daemon))
		log_error("pid %d (%s): release not recorded: %s", s->pid, s->comm, strerror(-rc));
	if (rc == 0)
		range_happened(s, DLP_HAPPENED_RELEASED, m);
	run_effects(s->daemon);
}

/* There may be an MR that we could not destroy: its leases end with its process only. */
static void mr_report_lost(struct session *s, int error)
{
	s->mrs_unknown = true;
	if (may_complain(s->daemon))
		log_error("pid %d (%s): report of an MR lost: %s; hanging up", s->pid, s->comm, strerror(-error));
}

static void mr_report(struct session *s, const struct dlp_mr *m, int fd)
{
	int rc = mr_add(s, m, fd);

	if (rc == 0)
		return;
	mr_report_lost(s, rc);
	if (s->calls_fd >= 0)
		shutdown(s->calls_fd, SHUT_RDWR);
}

/* Takes over fd (-1: none). The message is valid. */
static void dispatch_call(struct session *s, const union dlp_buffer *m, int fd)
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
		return;
	case DLP_RELEASE:
		release(s, (const struct dlp_range *)m);
		break;
	case DLP_MR_ADD:
		mr_report(s, (const struct dlp_mr *)m, fd);
		return;
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
		admin_break(s, (const struct dlp_break *)m, fd);
		break;
	case DLP_LEASE_REVOKE:
		admin_lease_revoke(s, (const struct dlp_lease_revoke *)m);
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
	case DLP_WATCH:
		report_watch(s, &m->head);
		break;
	}
	closer_close(fd, s->uid);
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

/* One packet. 0; -EAGAIN: none there; other: the peer is gone or does not speak our language. */
static int receive_call(struct session *s)
{
	union dlp_buffer m;
	unsigned fds;
	int fd, rc;
	ptrdiff_t n = dlp_recv_from(s->calls_fd, &m, &fd, &fds, MSG_DONTWAIT, dispose, s);

	rc = n > 0 ? dlp_validate(DLP_TO_DAEMON_CALLS, s->role, &m, (size_t)n, fds) : n == 0 ? -EPIPE : (int)n;
	if (rc == 0 && fd >= 0 && closer_is_behind(s->uid))
		rc = -EUSERS;
	if (rc == 0) {
		dispatch_call(s, &m, fd);
		return 0;
	}
	closer_close(fd, s->uid);
	if ((rc == -EBADMSG || rc == -EUSERS) && s->role == DLP_ROLE_HOLDER)
		mr_report_lost(s, rc); /* it may have been one: its descriptor found no room here */
	if (rc != -EACCES)
		return rc;
	refuse(s, &m);
	return 0;
}

static void calls_ready(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	int rc = 0;

	(void)fd;
	(void)what;
	for (int i = 0; i < CALLS_PER_TURN && rc == 0 && !s->grant && s->calls_fd >= 0; i++)
		rc = receive_call(s);
	if (rc == 0 || rc == -EAGAIN)
		return;
	if (rc != -EPIPE && rc != -ECONNRESET && may_complain(s->daemon))
		log_warning("pid %d (%s): bad message: %s; hanging up", s->pid, s->comm, strerror(-rc));
	holder_hung_up(s);
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

		n = dlp_recv_from(s->calls_fd, &m, &fd, &fds, MSG_DONTWAIT, dispose, s);
		if (n == 0 || n == -EAGAIN || n == -ECONNRESET)
			break;
		valid = n > 0 && dlp_validate(DLP_TO_DAEMON_CALLS, s->role, &m, (size_t)n, fds) == 0;
		if (valid && m.head.opcode == DLP_MR_ADD) {
			mr_report(s, (const struct dlp_mr *)&m, fd);
			continue;
		}
		if (valid && m.head.opcode == DLP_MR_DEL)
			mr_del(s, ((const struct dlp_mr *)&m)->context, ((const struct dlp_mr *)&m)->id);
		closer_close(fd, s->uid);
		if (n == -EBADMSG && s->role == DLP_ROLE_HOLDER)
			mr_report_lost(s, (int)n);
		else if (n < 0)
			break;
	}
}

/* The holder's answer to DLP_EV_REVOKE or DLP_EV_DROP. */
static void revoked(struct session *s, const struct dlp_range *m)
{
	struct daemon *d = s->daemon;
	int rc = 0;

	if (m->head.error == 0)
		rc = core_answered(d->core, now_ns(), s->id, m->dev, m->ino, m->start, m->end, m->epoch);
	if (m->head.error || rc < 0) {
		if (may_complain(d))
			log_warning("pid %d (%s): could not take everything away: %s", s->pid, s->comm,
				    strerror(m->head.error ? m->head.error : -rc));
		core_session_failed(d->core, now_ns(), s->id);
	} else {
		range_happened(s, DLP_HAPPENED_REVOKED, m);
	}
	run_effects(d);
}

static void events_ready(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)what;
	for (int i = 0; i < CALLS_PER_TURN; i++) {
		union dlp_buffer m;
		unsigned fds;
		int got, rc;
		ptrdiff_t n = dlp_recv_from(fd, &m, &got, &fds, MSG_DONTWAIT, dispose, s);

		if (n == -EAGAIN)
			return;
		rc = n <= 0 ? -EPIPE : dlp_validate(DLP_TO_DAEMON_EVENTS, s->role, &m, (size_t)n, fds);
		closer_close(got, s->uid);
		if (rc < 0) {
			holder_hung_up(s);
			return;
		}
		revoked(s, (const struct dlp_range *)&m);
		if (s->events_fd != fd) /* it was hung up on meanwhile */
			return;
	}
}

bool session_has_unread(const struct session *s)
{
	struct pollfd p = {.fd = s->calls_fd, .events = POLLIN};

	return s->calls_fd >= 0 && poll(&p, 1, 0) != 0;
}

void session_pause(struct session *s)
{
	if (s->calls_event)
		event_del(s->calls_event);
}

void session_resume(struct session *s)
{
	if (s->calls_event)
		event_add(s->calls_event, NULL);
}
