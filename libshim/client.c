// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libshim/inherit.h"

/* A daemon that is being restarted is away for seconds, and its sockets wait in the service
 * manager. One that says nothing for longer than this is taken for dead. */
#define ANSWER_SECONDS 30

#define CONNECT_TRIES 8
#define CONNECT_REST_NS (10 * 1000 * 1000)

/* Our descriptors are moved up here, out of the way of programs that count on low numbers. Not
 * higher: a process's first table of descriptors has 64, and to enlarge it costs a process with
 * threads an RCU grace period, 10 ms. */
#define HIGH_DESCRIPTOR 60

static bool socket_ours(const struct client_socket *sock)
{
	struct stat st;

	return sock->fd >= 0 && fstat(sock->fd, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_dev == sock->dev && st.st_ino == sock->ino;
}

static void socket_close(struct client_socket *sock)
{
	if (socket_ours(sock))
		close(sock->fd);
	sock->fd = -1;
}

/* Takes over `fd`, which is closed if it cannot be used. */
static int socket_adopt(struct client_socket *sock, int fd)
{
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	struct rlimit files;
	struct stat st;
	int high = HIGH_DESCRIPTOR, moved, error;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur <= HIGH_DESCRIPTOR + 2)
		high = files.rlim_cur > 16 ? (int)files.rlim_cur - 8 : 3;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, high);
	if (moved >= 0) {
		close(fd);
		fd = moved;
	}
	/* The daemon may have passed its end of a pair that does not wait; the flag is this end's
	 * alone. To wait in recvmsg, not in poll, keeps the socket open for the waiting thread even
	 * if the program closes it. */
	if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFL, 0) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	sock->fd = fd;
	sock->dev = st.st_dev;
	sock->ino = st.st_ino;
	return 0;
}

static int connect_calls(struct client *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	size_t length = strlen(path);
	int fd, error;

	if (length == 0 || length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = socket_adopt(&client->calls, fd);
	if (error < 0)
		return error;
	if (setsockopt(client->calls.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(client->calls.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return 0;
}

static int say_hello(struct client *client, enum dlp_role role)
{
	struct dlp_hello hello = {
		.head.opcode = DLP_HELLO,
		.magic = DLP_MAGIC,
		.major = DLP_MAJOR,
		.minor = DLP_MINOR,
		.role = role,
	};
	struct dlp_hello_reply reply;
	ptrdiff_t size;
	unsigned fds;
	int fd, error;

	hello.head.seq = ++client->seq;
	error = dlp_send(client->calls.fd, &hello.head, sizeof(hello), -1, 0);
	if (error < 0)
		return error == -EAGAIN ? -ETIMEDOUT : error;
	size = dlp_recv(client->calls.fd, &client->buffer, &fd, &fds, 0);
	if (size != sizeof(reply) || client->buffer.head.opcode != (DLP_HELLO | DLP_REPLY)) {
		if (fd >= 0)
			close(fd);
		if (size == 0)
			return -EPIPE;
		if (size == -EAGAIN)
			return -ETIMEDOUT;
		return size < 0 ? (int)size : -EPROTO;
	}
	memcpy(&reply, client->buffer.bytes, sizeof(reply));
	if (reply.head.error || reply.major != DLP_MAJOR || fd < 0) {
		if (fd >= 0)
			close(fd);
		if (reply.head.error > 0)
			return -reply.head.error;
		return reply.major != DLP_MAJOR ? -EPROTONOSUPPORT : -EPROTO;
	}
	client->session = reply.session;
	client->features = reply.features;
	return socket_adopt(&client->events, fd);
}

static int connect_once(struct client *client, const char *path, enum dlp_role role)
{
	int error = connect_calls(client, path);

	if (error == 0)
		error = say_hello(client, role);
	if (error < 0)
		client_close(client);
	return error;
}

int client_connect(struct client *client, const char *path, enum dlp_role role)
{
	int error = 0;

	pthread_mutex_init(&client->lock, NULL);
	client->calls.fd = client->events.fd = -1;
	client->seq = 0;
	client->pid = getpid();
	client->mark = inherit_mark();
	/* A daemon that dies right behind accepting takes the connection with it; its successor has nothing of it. */
	for (unsigned tries = 0; tries < CONNECT_TRIES; tries++) {
		error = connect_once(client, path, role);
		if (error != -EPIPE && error != -ECONNRESET)
			break;
		nanosleep(&(struct timespec){.tv_nsec = CONNECT_REST_NS}, NULL);
	}
	if (error < 0)
		return error;
	atomic_store(&client->dead, false);
	return 0;
}

void client_close(struct client *client)
{
	atomic_store(&client->dead, true);
	socket_close(&client->calls);
	socket_close(&client->events);
}

bool client_usable(struct client *client)
{
	if (atomic_load(&client->dead))
		return false;
	if (client->mark != inherit_now() || !socket_ours(&client->calls) ||
	    !socket_ours(&client->events))
		atomic_store(&client->dead, true);
	return !atomic_load(&client->dead);
}

static int died(struct client *client)
{
	atomic_store(&client->dead, true);
	return -EPIPE;
}

/* The next message on the calls channel, replies to earlier requests left out: a daemon that died
 * right behind its reply is followed by one that answers the same request again. */
static ptrdiff_t receive_reply(struct client *client, uint32_t seq, int *fd, unsigned *fds)
{
	for (;;) {
		ptrdiff_t size = dlp_recv(client->calls.fd, &client->buffer, fd, fds, 0);

		if (size < (ptrdiff_t)sizeof(client->buffer.head) ||
		    (int32_t)(client->buffer.head.seq - seq) >= 0)
			return size;
		if (*fd >= 0)
			close(*fd);
	}
}

/* The reply to `seq`. An answer to anything later would mean that we lost count: then nothing can be
 * believed. */
static int await_reply(struct client *client, uint16_t opcode, uint32_t seq, void *reply,
		       size_t reply_size)
{
	ptrdiff_t size;
	unsigned fds;
	int fd;

	size = receive_reply(client, seq, &fd, &fds);
	if (fd >= 0)
		close(fd);
	if (size <= 0 || fds > 0 || (size_t)size != reply_size ||
	    dlp_validate(DLP_TO_CLIENT_CALLS, 0, &client->buffer, (size_t)size, fds) < 0 ||
	    client->buffer.head.opcode != (opcode | DLP_REPLY) || client->buffer.head.seq != seq)
		return died(client);
	memcpy(reply, client->buffer.bytes, reply_size);
	return 0;
}

int client_request(struct client *client, struct dlp_head *request, size_t size, int fd,
		   void *reply, size_t reply_size)
{
	sigset_t all, before;
	int error;

	/* a handler that came here again while we hold the lock would wait for itself */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_mutex_lock(&client->lock);
	if (!client_usable(client)) {
		error = -EPIPE;
	} else {
		request->seq = ++client->seq;
		error = dlp_send(client->calls.fd, request, size, fd, 0);
		if (error < 0)
			error = died(client);
		else
			error = await_reply(client, request->opcode, request->seq, reply,
					    reply_size);
	}
	pthread_mutex_unlock(&client->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int client_tell(struct client *client, struct dlp_head *message, size_t size, int fd,
		bool to_events)
{
	const struct client_socket *sock = to_events ? &client->events : &client->calls;
	int error;

	if (!client_usable(client))
		return -EPIPE;
	error = dlp_send(sock->fd, message, size, fd, MSG_DONTWAIT);
	if (error == -EAGAIN)
		error = dlp_send(sock->fd, message, size, fd, 0);
	if (error == -EBADF || error == -ENOTSOCK)
		return died(client); /* closed since we looked */
	return error < 0 ? died(client) : 0;
}

int client_event(struct client *client, union dlp_buffer *buffer, bool wait)
{
	ptrdiff_t size;
	unsigned fds;
	int fd;

	if (!client_usable(client))
		return -EPIPE;
	size = dlp_recv(client->events.fd, buffer, &fd, &fds, wait ? 0 : MSG_DONTWAIT);
	if (fd >= 0)
		close(fd);
	if (size == -EAGAIN)
		return 0;
	if (size <= 0 || dlp_validate(DLP_TO_CLIENT_EVENTS, 0, buffer, (size_t)size, fds) < 0)
		return died(client);
	return 1;
}
