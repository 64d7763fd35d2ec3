// SPDX-License-Identifier: LGPL-2.1-or-later
/* Framed sending and receiving: one message a packet, at most one descriptor with it. */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int dlp_send(int sock, struct dlp_head *message, size_t size, int fd, int flags)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = message, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (size < sizeof(*message) || size > DLP_MAX_SIZE)
		return -EMSGSIZE;
	message->size = (uint32_t)size;
	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EMSGSIZE;
}

/* The descriptor that came, if one did: there is room for no more. */
static void take_fd(struct msghdr *msg, int *fd, unsigned *fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(sizeof(int)))
		return;
	memcpy(fd, CMSG_DATA(c), sizeof(int));
	*fds = 1;
}

ptrdiff_t dlp_recv(int sock, union dlp_buffer *buffer, int *fd, unsigned *fds, int flags)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(*buffer)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		/* Without the padding, which would be room for a second one: the kernel drops those that are too
		 * many and says MSG_CTRUNC. Closing them here could block for as long as the peer likes. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;

	*fd = -1;
	*fds = 0;
	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fd(&msg, fd, fds);
	return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EBADMSG : n;
}
