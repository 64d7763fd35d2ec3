// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX 4

struct notify_message {
	STAILQ_ENTRY(notify_message) entry;
	size_t count;
	int fds[FDS_MAX]; /* our own copies */
	char text[];
};

/* The address, or 0. */
static socklen_t parse_address(const char *text, struct sockaddr_un *address)
{
	size_t length = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || length < 2 || length >= sizeof(address->sun_path))
		return 0;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, text, length);
	if (text[0] == '@')
		address->sun_path[0] = 0;
	/* An abstract name has no end but its length. */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (text[0] == '/'));
}

int notify_open(struct notify *notify)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t size;
	int rc = 0;

	*notify = (struct notify){.fd = -1};
	STAILQ_INIT(&notify->waiting);
	if (!text || !*text)
		return -ENOENT;
	size = parse_address(text, &address);
	if (!size)
		return -EPROTONOSUPPORT;
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify->fd < 0 || connect(notify->fd, (struct sockaddr *)&address, size) < 0)
		rc = -errno;
	if (rc < 0)
		notify_close(notify);
	return rc;
}

static void message_free(struct notify_message *message)
{
	for (size_t i = 0; i < message->count; i++)
		close(message->fds[i]);
	free(message);
}

void notify_close(struct notify *notify)
{
	struct notify_message *message;

	while ((message = STAILQ_FIRST(&notify->waiting))) {
		STAILQ_REMOVE_HEAD(&notify->waiting, entry);
		message_free(message);
	}
	if (notify->fd >= 0)
		close(notify->fd);
	notify->fd = -1;
}

/* 0; -EAGAIN: no room; -ENOTCONN: the receiver is dead, and everything is closed; -errno: another mistake. */
static int send_now(struct notify *notify, const char *text, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control = {0};
	struct iovec iov = {.iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *head = &control.align;

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
	}
	if (sendmsg(notify->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return -EAGAIN;
	if (errno != ECONNREFUSED && errno != ECONNRESET && errno != EPIPE && errno != ENOTCONN)
		return -errno;
	notify->gone = true;
	notify_close(notify);
	return -ENOTCONN;
}

static int queue(struct notify *notify, const char *text, const int *fds, size_t count)
{
	size_t size = strlen(text) + 1;
	struct notify_message *message = malloc(sizeof(*message) + size);

	if (!message)
		return -ENOMEM;
	memcpy(message->text, text, size);
	for (message->count = 0; message->count < count; message->count++) {
		int fd = fcntl(fds[message->count], F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			int rc = -errno;

			message_free(message);
			return rc;
		}
		message->fds[message->count] = fd;
	}
	STAILQ_INSERT_TAIL(&notify->waiting, message, entry);
	return 0;
}

int notify_send(struct notify *notify, const char *text, const int *fds, size_t count)
{
	int rc = -EAGAIN;

	if (notify->fd < 0)
		return -ENOTCONN;
	if (count > FDS_MAX)
		return -EINVAL;
	if (STAILQ_EMPTY(&notify->waiting))
		rc = send_now(notify, text, fds, count);
	return rc == -EAGAIN ? queue(notify, text, fds, count) : rc;
}

bool notify_waits(const struct notify *notify)
{
	return !STAILQ_EMPTY(&notify->waiting);
}

int notify_flush(struct notify *notify)
{
	struct notify_message *message;

	if (notify->fd < 0)
		return -ENOTCONN;
	while ((message = STAILQ_FIRST(&notify->waiting))) {
		int rc = send_now(notify, message->text, message->fds, message->count);

		if (rc == -EAGAIN)
			return 0;
		if (rc == -ENOTCONN)
			return rc;	   /* nothing waits any more */
		notify->dropped += rc < 0; /* -ETOOMANYREFS, -EPERM ... */
		STAILQ_REMOVE_HEAD(&notify->waiting, entry);
		message_free(message);
	}
	return 0;
}
