// SPDX-License-Identifier: LGPL-2.1-or-later
/* Framed sending and receiving: one message a packet, at most one descriptor with it. */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

#define FDS_OF_A_PACKET 253 /* SCM_MAX_FD of the kernel's include/net/scm.h: it passes no more at once */

/* Takes the descriptors out of a received message: a single one is kept, several are disposed of. */
static void take_fds(struct msghdr *msg, int *fd, unsigned *fds, dlp_dispose *dispose, void *arg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int all[FDS_OF_A_PACKET];
	size_t count;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(sizeof(int)))
		return;
	count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(all, CMSG_DATA(c), count * sizeof(int));
	*fds = (unsigned)count;
	if (count <= DLP_MAX_FDS) {
		*fd = all[0];
		return;
	}
	for (size_t i = 0; i < count; i++)
		dispose(arg, all[i]);
}

ptrdiff_t dlp_recv_from(int sock, union dlp_buffer *buffer, int *fd, unsigned *fds, int flags, dlp_dispose *dispose,
			void *arg)
{
	union {
		/* Room for all that can come: those there is no room for are closed by the kernel, in our name, and
		 * that can take as long as the peer likes. */
		char bytes[CMSG_SPACE(FDS_OF_A_PACKET * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(*buffer)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	*fd = -1;
	*fds = 0;
	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&msg, fd, fds, dispose, arg);
	return *fds > DLP_MAX_FDS || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? -EBADMSG : n;
}

static void just_close(void *arg, int fd)
{
	(void)arg;
	close(fd);
}

ptrdiff_t dlp_recv(int sock, union dlp_buffer *buffer, int *fd, unsigned *fds, int flags)
{
	return dlp_recv_from(sock, buffer, fd, fds, flags, just_close, NULL);
}
