// SPDX-License-Identifier: LGPL-2.1-or-later
/* Connections: accept, sending, their end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* include/uapi/asm-generic/socket.h, Linux 6.5 */
#endif

#define LISTEN_BACKLOG 256
#define ACCEPT_RETRY_NS (100 * NS_PER_MS)
#define WARNINGS_PER_S 20 /* of what clients can bring about as often as they like */

/* Whether what a client did may be logged once more now. Otherwise one that does it again and again would leave no
 * room in the journal for anything else. */
bool session_may_complain(struct daemon *d)
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

/* These change something, and somebody else's doing can undo it: a second time is not the same as once. */
static bool is_once_only(uint16_t opcode)
{
	return opcode == DLP_GRANT || opcode == DLP_BREAK || opcode == DLP_LEASE_REVOKE;
}

static void keep_answer(struct session *s, const struct dlp_head *reply, size_t size)
{
	if (reply == &s->answer.head || size > sizeof(s->answer))
		return;
	s->answer_size = (uint32_t)size;
	memcpy(s->answer.bytes, reply, size);
	session_save(s);
}
_Static_assert(sizeof(struct dlp_grant_reply) <= SAVED_ANSWER_BYTES, "a grant's answer is kept");
_Static_assert(sizeof(struct dlp_break_reply) <= SAVED_ANSWER_BYTES, "a break's answer is kept");

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
	if (is_once_only(request->opcode))
		keep_answer(s, reply, size);
	if (!sabotaged("answer-first"))
		saved_commit(s->daemon);
	kill_at(is_once_only(request->opcode) ? "reply-once" : "reply");
	rc = dlp_send(s->calls_fd, reply, size, fd, MSG_DONTWAIT);
	kill_at(is_once_only(request->opcode) ? "replied-once" : "replied");
	if (rc < 0 && rc != -EPIPE && session_may_complain(s->daemon))
		log_warning("pid %d (%s): reply not taken: %s; hanging up", s->pid, s->comm, strerror(-rc));
	/* The hang-up is handled when the loop sees it: callers still use s. */
	if (rc < 0)
		shutdown(s->calls_fd, SHUT_RDWR);
}

int session_event(struct session *s, struct dlp_head *event, size_t size)
{
	if (s->events_fd < 0)
		return -EPIPE;
	kill_at("tell");
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
static void close_channel(struct session *s, enum store_kind kind, int *fd, struct event **event)
{
	end_event(event);
	if (*fd >= 0) {
		shutdown(*fd, SHUT_RDWR);
		store_drop(s->daemon->store, kind, s->slot, *fd, s->uid);
	}
	*fd = -1;
}

void session_close_events(struct session *s)
{
	close_channel(s, STORE_EVENTS, &s->events_fd, &s->events_event);
}

void session_close_channels(struct session *s)
{
	hello_cancel(s);
	close_channel(s, STORE_CALLS, &s->calls_fd, &s->calls_event);
	session_close_events(s);
	/* Its place in the store is another's from now on. */
	s->slot = STORE_NO_SLOT;
	session_save(s);
}

void session_free(struct session *s)
{
	struct daemon *d = s->daemon;

	session_rest_no_more(s);
	grant_abandon(s);
	fence_free(s);
	mr_forget_all(s);
	report_unwatch(s);
	closures_end(s);
	session_close_channels(s);
	end_event(&s->pid_event);
	if (s->pidfd >= 0)
		close(s->pidfd);
	/* Known to be over before its memory's descriptor goes: a session that lacks it has no proof of its end. */
	saved_give(d, SAVED_SESSION, s->saved);
	s->saved = 0;
	saved_commit(d);
	if (s->memory_fd >= 0)
		store_drop(d->store, STORE_MEMORY, s->memory_slot, s->memory_fd, s->uid);
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
bool session_is_admin(const struct session *s)
{
	const gid_t admins = s->daemon->config.admin_gid;
	struct ucred cred;
	gid_t groups[1024];
	socklen_t size = sizeof(cred);

	if (getsockopt(s->calls_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return false;
	if (cred.uid == 0)
		return true;
	if (admins == (gid_t)-1)
		return false;
	if (cred.gid == admins)
		return true;
	size = sizeof(groups);
	if (getsockopt(s->calls_fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(gid_t); i++) {
		if (groups[i] == admins)
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
	struct session *s = arg;

	(void)fd;
	(void)what;
	end_event(&s->pid_event);
	holder_died(s);
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

/* With nothing of it known yet. NULL: no memory. */
struct session *session_make(struct daemon *d, uint32_t id, int fd, uint32_t slot)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->daemon = d;
	s->id = id;
	s->slot = slot;
	s->calls_fd = fd;
	s->events_fd = s->hello_fd = s->pidfd = s->memory_fd = -1;
	s->memory_slot = STORE_NO_SLOT;
	HASH_ADD(hh, d->sessions, id, sizeof(s->id), s);
	return s;
}

static uint32_t next_id(struct daemon *d)
{
	do {
		d->next_session++;
	} while (d->next_session == 0 || session_find(d, d->next_session));
	saved_meta(d);
	return d->next_session;
}

static int listen_to(struct session *s, struct event **event, int fd, event_callback_fn ready)
{
	if (fd < 0 || *event)
		return 0;
	*event = event_new(s->daemon->base, fd, EV_READ | EV_PERSIST, ready, s);
	return *event && event_add(*event, NULL) == 0 ? 0 : -ENOMEM;
}

int session_listen(struct session *s)
{
	int rc = listen_to(s, &s->calls_event, s->calls_fd, calls_ready);

	if (rc == 0)
		rc = listen_to(s, &s->events_event, s->events_fd, events_ready);
	if (rc == 0)
		rc = listen_to(s, &s->pid_event, s->pidfd, pid_ended);
	return rc;
}

int session_new(struct daemon *d, int fd, uint32_t slot)
{
	struct session *s = session_make(d, next_id(d), fd, slot);
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int rc;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
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
	s->may_admin = session_is_admin(s);
	s->pidfd = peer_pidfd(fd, cred.pid);
	if (s->pidfd < 0) {
		session_free(s);
		return -ESRCH;
	}
	read_comm(s->pid, s->comm);
	rc = s->slot == STORE_NO_SLOT ? store_put(d->store, STORE_CALLS, fd, &s->slot) : 0;
	if (rc < 0) {
		session_free(s);
		return rc;
	}
	rc = session_listen(s);
	if (rc < 0)
		session_free(s);
	return rc;
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
	rc = session_new(d, fd, STORE_NO_SLOT);
	if (rc < 0 && session_may_complain(d))
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

static int make_socket(struct daemon *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = d->config.socket;
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
	    listen(d->listen_fd, LISTEN_BACKLOG) < 0)
		return -errno;
	return store_put(d->store, STORE_LISTEN, d->listen_fd, NULL);
}

/* One that was handed over, by daxleased.socket or by a daemon before us: its path is the one that counts. 0 or -errno. */
static int adopt_socket(struct daemon *d)
{
	struct sockaddr_un address = {0};
	socklen_t size = sizeof(address) - 1; /* so that the path is terminated */
	char *path;

	if (fcntl(d->listen_fd, F_SETFL, O_NONBLOCK) < 0 ||
	    getsockname(d->listen_fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	if (strcmp(address.sun_path, d->config.socket) == 0)
		return 0;
	log_warning("listening on %s, which was handed over, not on %s, as the configuration says", address.sun_path,
		    d->config.socket);
	path = strdup(address.sun_path);
	if (!path)
		return -ENOMEM;
	free(d->config.socket);
	d->config.socket = path;
	return 0;
}

int sessions_start(struct daemon *d)
{
	struct stat st;
	int rc = 0;

	d->listen_fd = store_take(d->store, STORE_LISTEN, NULL);
	if (d->listen_fd < 0)
		rc = make_socket(d);
	else
		rc = adopt_socket(d);
	if (rc < 0)
		return rc;
	if (lstat(d->config.socket, &st) == 0)
		d->socket_ino = st.st_ino;
	d->listen_event = event_new(d->base, d->listen_fd, EV_READ | EV_PERSIST, accept_ready, d);
	d->accept_retry = evtimer_new(d->base, accept_again, d);
	d->rest_timer = evtimer_new(d->base, sessions_rested, d);
	if (!d->listen_event || !d->accept_retry || !d->rest_timer || event_add(d->listen_event, NULL) < 0)
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
	end_event(&d->rest_timer);
	if (d->listen_event)
		event_free(d->listen_event);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	if (d->socket_ino && lstat(d->config.socket, &st) == 0 && st.st_ino == d->socket_ino)
		unlink(d->config.socket);
}
