// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A read of the fanotify group with room for one pre-content event (48 bytes: metadata and range) can return two
 * OPEN_PERM events of 24 bytes. usage: event_pair DIR   (root)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[200], buffer[48] __attribute__((aligned(8)));
	struct fanotify_event_metadata *event = (void *)buffer;
	pid_t openers[2];
	int group, n;

	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "%s/pair", argv[1]);
	close(open(path, O_CREAT | O_RDWR, 0644));
	group = fanotify_init(0x8 /* FAN_CLASS_PRE_CONTENT */ | FAN_CLOEXEC | FAN_REPORT_TID, O_RDONLY);
	fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, path);
	for (int i = 0; i < 2; i++) {
		openers[i] = fork();
		if (openers[i] == 0) {
			close(group);
			open(path, O_RDONLY);
			_exit(0);
		}
	}
	usleep(200000);
	n = (int)read(group, buffer, sizeof(buffer));
	printf("read(48) = %d\n", n);
	for (; FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n))
		printf("  event of %u bytes, descriptor %d, thread %d\n", event->event_len, event->fd, event->pid);
	kill(openers[0], SIGKILL);
	kill(openers[1], SIGKILL);
	return 0;
}
