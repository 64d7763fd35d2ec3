// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ctl/connection.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* The daemon answers at once, whatever it is doing; it is given this long on a machine that is
 * not. */
#define REPLY_LIMIT_S 10

static void tell_connect_error(const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		warnx("no daemon at %s: start it with 'systemctl start daxleased', or name its "
		      "socket "
		      "with --socket",
		      path);
		return;
	case EACCES:
	case EPERM:
		warnx("%s: uid %u may not connect to this socket", path, (unsigned)geteuid());
		return;
	case EPROTOTYPE:
	case ENOTSOCK:
		warnx("%s is not the socket of a daxlease daemon", path);
		return;
	case EAGAIN:
		warnx("the daemon at %s does not accept connections now: it is overloaded or "
		      "stopped",
		      path);
		return;
	default:
		warnx("cannot connect to %s: %s", path, strerror(error));
	}
}

static int connect_to(const char *path)
{
	const struct timeval limit = {.tv_sec = REPLY_LIMIT_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		warnx("%s: longer than the %zu bytes a socket's path may have", path,
		      sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		error = errno;
		warn("cannot make a socket");
		return -error;
	}
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    connect(sock, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		error = errno;
		close(sock);
		tell_connect_error(path, error);
		return -error;
	}
	return sock;
}

/* Of a transfer on either channel. */
static int tell_transfer_error(const struct connection *connection, int error)
{
	if (error == -EAGAIN) {
		warnx("the daemon at %s has not answered for %d s", connection->socket,
		      REPLY_LIMIT_S);
		return -ETIMEDOUT;
	}
	if (error == -EPIPE || error == -ECONNRESET || error == 0) {
		warnx("the daemon at %s closed the connection", connection->socket);
		return -EPIPE;
	}
	if (error == -EBADMSG)
		warnx("the daemon at %s sent what this program does not understand: are both of "
		      "the "
		      "same version?",
		      connection->socket);
	else
		warnx("talking to the daemon at %s: %s", connection->socket, strerror(-error));
	return error;
}

/* One valid message from the daemon into *buffer; *fd is the caller's. 0 or -errno (told). */
static int receive(struct connection *connection, int sock, enum dlp_channel channel,
		   union dlp_buffer *buffer, int *fd)
{
	unsigned fds;
	const ptrdiff_t size = dlp_recv(sock, buffer, fd, &fds, 0);
	int error;

	if (size <= 0)
		return tell_transfer_error(connection, (int)size);
	error = dlp_validate(channel, 0, buffer, (size_t)size, fds);
	if (!error)
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return tell_transfer_error(connection, error);
}

/* As connection_call(), and passes on the descriptor that came with the reply. */
static int call(struct connection *connection, struct dlp_head *request, size_t size, int fd,
		void *reply, size_t reply_size, int *reply_fd)
{
	union dlp_buffer buffer;
	int error;

	request->seq = ++connection->seq;
	error = dlp_send(connection->calls, request, size, fd, 0);
	/* A daemon that hangs up may have said why just before. */
	if (error && error != -EPIPE)
		return tell_transfer_error(connection, error);
	do {
		if (*reply_fd >= 0)
			close(*reply_fd);
		error = receive(connection, connection->calls, DLP_TO_CLIENT_CALLS, &buffer,
				reply_fd);
		if (error)
			return error;
	} while (dlp_is_repeated(&buffer.head, request->seq));
	if (buffer.head.opcode != (request->opcode | DLP_REPLY) ||
	    buffer.head.seq != request->seq || buffer.head.size != reply_size) {
		if (*reply_fd >= 0)
			close(*reply_fd);
		*reply_fd = -1;
		return tell_transfer_error(connection, -EBADMSG);
	}
	memcpy(reply, &buffer, reply_size);
	return buffer.head.error;
}

int connection_call(struct connection *connection, struct dlp_head *request, size_t size, int fd,
		    void *reply, size_t reply_size)
{
	int reply_fd = -1, error;

	if (request->opcode >= DLP_STATS && connection->minor < 1) {
		warnx("the daemon at %s is too old for this: restart it after an upgrade",
		      connection->socket);
		return -EPROTONOSUPPORT;
	}
	error = call(connection, request, size, fd, reply, reply_size, &reply_fd);

	if (reply_fd >= 0)
		close(reply_fd); /* dlp_validate() lets only a HELLO reply have one */
	return error;
}

static void tell_hello_error(const char *socket, const struct dlp_hello_reply *reply)
{
	switch (reply->head.error) {
	case EACCES:
		warnx("uid %u may not administer the daemon at %s: root may, and members of the "
		      "group "
		      "that admin-group names in daxleased.conf(5)",
		      (unsigned)geteuid(), socket);
		return;
	case EPROTONOSUPPORT:
		warnx("the daemon at %s speaks version %u.%u of the protocol, this program %u.%u: "
		      "restart "
		      "the daemon after an upgrade",
		      socket, reply->major, reply->minor, DLP_MAJOR, DLP_MINOR);
		return;
	default:
		warnx("the daemon at %s refuses the connection: %s", socket,
		      strerror(reply->head.error));
	}
}

/* As connection_open(), but the daemon's refusal (a positive errno) is left to the caller. */
static int open_role(struct connection *connection, const char *socket, enum dlp_role role,
		     struct dlp_hello_reply *reply)
{
	struct dlp_hello hello = {
		.head.opcode = DLP_HELLO,
		.magic = DLP_MAGIC,
		.major = DLP_MAJOR,
		.minor = DLP_MINOR,
		.role = role,
	};
	int error;

	*connection =
		(struct connection){.socket = socket, .calls = -1, .events = -1, .role = role};
	connection->calls = connect_to(socket);
	if (connection->calls < 0)
		return connection->calls;
	error = call(connection, &hello.head, sizeof(hello), -1, reply, sizeof(*reply),
		     &connection->events);
	if (!error && connection->events < 0)
		error = tell_transfer_error(connection, -EBADMSG);
	connection->minor = reply->minor;
	if (error)
		connection_close(connection);
	return error;
}

int connection_open(struct connection *connection, const char *socket, enum dlp_role role)
{
	struct dlp_hello_reply reply;
	const int error = open_role(connection, socket, role, &reply);

	if (error <= 0)
		return error;
	tell_hello_error(socket, &reply);
	return -error;
}

int connection_open_any(struct connection *connection, const char *socket)
{
	struct dlp_hello_reply reply;
	const int error = open_role(connection, socket, DLP_ROLE_ADMIN, &reply);

	if (error <= 0)
		return error;
	if (error == EACCES)
		return connection_open(connection, socket, DLP_ROLE_VIEWER);
	tell_hello_error(socket, &reply);
	return -error;
}

void connection_close(struct connection *connection)
{
	if (connection->calls >= 0)
		close(connection->calls);
	if (connection->events >= 0)
		close(connection->events);
	connection->calls = connection->events = -1;
}

int connection_next_lease(struct connection *connection, uint64_t *cursor,
			  struct dlp_list_reply *lease)
{
	struct dlp_list request = {.head.opcode = DLP_LIST, .cursor = *cursor};
	const int error = connection_call(connection, &request.head, sizeof(request), -1, lease,
					  sizeof(*lease));

	if (error == ENOENT)
		return 0;
	if (error > 0) {
		warnx("the daemon at %s cannot list leases: %s", connection->socket,
		      strerror(error));
		return -error;
	}
	if (error)
		return error;
	*cursor = lease->cursor;
	return 1;
}

int connection_next_waiting(struct connection *connection, uint64_t *cursor,
			    struct dlp_waiting_reply *waiting)
{
	struct dlp_list request = {.head.opcode = DLP_WAITING, .cursor = *cursor};
	const int error = connection_call(connection, &request.head, sizeof(request), -1, waiting,
					  sizeof(*waiting));

	if (error == ENOENT)
		return 0;
	if (error > 0) {
		warnx("the daemon at %s cannot list who waits: %s", connection->socket,
		      strerror(error));
		return -error;
	}
	if (error)
		return error;
	*cursor = waiting->cursor;
	return 1;
}

int connection_next_event(struct connection *connection, union dlp_buffer *buffer)
{
	struct pollfd pollfd = {.fd = connection->events, .events = POLLIN};
	int fd = -1; /* dlp_validate() lets no event have one */

	/* The descriptor came from the daemon, where it does not block. */
	if (poll(&pollfd, 1, -1) < 0) {
		const int error = errno;

		warn("poll");
		return -error;
	}
	return receive(connection, connection->events, DLP_TO_CLIENT_EVENTS, buffer, &fd);
}

static void interrupt(int signal)
{
	(void)signal; /* its only work is to end ppoll() */
}

int connection_wait_done(struct connection *connection, uint64_t id)
{
	const struct sigaction action = {.sa_handler = interrupt};
	sigset_t block, before;
	int error = 0;

	/* Blocked but while we wait, so that none can come just before. */
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &block, &before) != 0 || sigaction(SIGINT, &action, NULL) != 0 ||
	    sigaction(SIGTERM, &action, NULL) != 0) {
		error = -errno;
		warn("signals");
		return error;
	}
	for (;;) {
		struct pollfd pollfd = {.fd = connection->events, .events = POLLIN};
		union dlp_buffer buffer;
		struct dlp_ev_done done;
		int fd;

		if (ppoll(&pollfd, 1, NULL, &before) < 0) {
			error = -errno;
			if (error != -EINTR)
				warn("poll");
			break;
		}
		error = receive(connection, connection->events, DLP_TO_CLIENT_EVENTS, &buffer, &fd);
		if (error)
			break;
		if (buffer.head.opcode != DLP_EV_DONE)
			continue;
		memcpy(&done, &buffer, sizeof(done));
		if (done.id == id) {
			error = done.head.error;
			break;
		}
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return error;
}
