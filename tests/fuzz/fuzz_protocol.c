// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the daemon and its clients parse: messages (received over a real socket, so that framing is in it), the
 * mount table, the lines of /proc a verdict depends on. The first byte chooses.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/pool/pool.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* What a handler may rely on after dlp_validate() said yes. */
static void check_valid(const union dlp_buffer *b, size_t size)
{
	const struct dlp_range *range = (const void *)b;
	const struct dlp_grant *grant = (const void *)b;

	require(size == b->head.size && b->head.flags == 0);
	if (b->head.opcode == DLP_GRANT)
		require(grant->start < grant->end && grant->end <= INT64_MAX && !(grant->flags & ~DLP_GRANT_FLAGS));
	if (b->head.opcode == DLP_RELEASE || b->head.opcode == DLP_REVOKED)
		require(range->start < range->end && range->end <= INT64_MAX);
}

static void message(const uint8_t *data, size_t size)
{
	static int pair[2] = {-1, -1};
	union dlp_buffer b;
	unsigned fds;
	ptrdiff_t n;
	int fd;

	if (size < 3 || size - 2 > 3 * DLP_MAX_SIZE)
		return;
	if (pair[0] < 0)
		require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	require(send(pair[0], data + 2, size - 2, 0) == (ssize_t)(size - 2));
	n = dlp_recv(pair[1], &b, &fd, &fds, MSG_DONTWAIT);
	if (n <= 0)
		return;
	require((size_t)n == size - 2 && fd == -1 && fds == 0);
	for (uint32_t role = 0; role <= DLP_ROLE_VIEWER + 1; role++) {
		if (dlp_validate((enum dlp_channel)(data[0] & 3), role, &b, (size_t)n, data[1] & 3) == 0 &&
		    (data[0] & 3) <= DLP_TO_DAEMON_EVENTS)
			check_valid(&b, (size_t)n);
	}
}

static void mounts(const uint8_t *data, size_t size)
{
	struct pool_mount mount;
	char *text = malloc(size + 1);

	require(text != NULL);
	memcpy(text, data, size);
	text[size] = 0;
	pool_find_mount_text(text, "/mnt/pmem0", true, &mount);
	pool_find_mount_text(text, "/mnt/pmem0/a", false, &mount);
	require(strnlen(mount.fstype, sizeof(mount.fstype)) < sizeof(mount.fstype));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 0x80)
		mounts(data + 1, size - 1);
	else
		message(data, size);
	return 0;
}
