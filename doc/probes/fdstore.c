// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What systemd's descriptor store keeps of sockets whose peer has hung up, and of other descriptors. As a service:
 *   systemd-run --wait --pipe -p Type=notify -p FileDescriptorStoreMax=32 -p Restart=on-failure -p StartLimitIntervalSec=0 \
 *               $PWD/fdstore [UVERBS-DEVICE]
 * The first run stores and dies, the second says what came back.
 * cc -O2 -o fdstore fdstore.c -lsystemd
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static void put(int fd, const char *name, const char *more)
{
	char text[128];
	int rc;

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s%s", name, more);
	rc = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	printf("put %s: %d\n", name, rc);
}

static void put_socket(const char *name, const char *more, int unread, int hang_up)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || (unread && send(pair[1], "x", 1, 0) < 0))
		exit(2);
	put(pair[0], name, more);
	if (hang_up)
		close(pair[1]);
	else
		put(pair[1], "peer", "\nFDPOLL=0");
}

int main(int argc, char **argv)
{
	char **names;
	int n = sd_listen_fds_with_names(0, &names), group, fd;

	setbuf(stdout, NULL);
	for (int i = 0; i < n; i++) {
		char byte;
		ssize_t got = recv(3 + i, &byte, 1, MSG_DONTWAIT);

		printf("came back: %s%s\n", names[i], got == 1 ? ", with its message" : "");
	}
	if (n > 0) {
		sd_notify(0, "READY=1");
		return 0;
	}
	put_socket("alive-polled", "", 1, 0);
	put_socket("dead-polled-empty", "", 0, 1);
	put_socket("dead-polled-unread", "", 1, 1);
	put_socket("dead-FDPOLL=0-unread", "\nFDPOLL=0", 1, 1);
	put(memfd_create("probe", MFD_ALLOW_SEALING), "memfd-polled", "");
	group = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
	put(group, "fanotify-polled", "");
	put(group, "fanotify-again", "");
	if (argc > 1 && (fd = open(argv[1], O_RDWR)) >= 0)
		put(fd, "uverbs-polled", "");
	printf("READY: %d\n", sd_notify(0, "READY=1"));
	printf("barrier: %d\n", sd_notify_barrier(0, 5000000));
	return 1;
}
