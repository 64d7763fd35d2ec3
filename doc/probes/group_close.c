// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Closing the last descriptor of a fanotify group waits for threads that wait in *another* group. A thread on its way
 * through several groups' marks is counted as a user of each, also of those that it has not come to yet, as long as it waits
 * in any of them. So a process that has two groups on one file system, and closes one before it answers the other's events,
 * waits for itself, and cannot be killed; and of two daemons that guard one file system each one's end waits for the other.
 *
 * usage: group_close FILE (on ext4 or xfs); needs CAP_SYS_ADMIN and Linux 6.14
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <time.h>
#include <unistd.h>

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000
#endif

static int group_on(const char *path, unsigned kind)
{
	int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY);

	if (group < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD | kind, FAN_PRE_ACCESS, AT_FDCWD, path) < 0) {
		perror("fanotify");
		exit(2);
	}
	return group;
}

static void *breaker(void *path)
{
	int fd = open(path, O_RDWR);

	if (pwrite(fd, "x", 1, 0) != 1)
		perror("pwrite");
	close(fd);
	return NULL;
}

static void answer(int group)
{
	struct fanotify_event_metadata event[8];
	struct fanotify_response response = {.response = FAN_ALLOW};

	if (read(group, event, sizeof(event)) <= 0)
		return;
	response.fd = event[0].fd;
	if (write(group, &response, sizeof(response)) < 0)
		perror("answer");
	close(event[0].fd);
}

static volatile int closed;

static void *close_it(void *group)
{
	close((int)(intptr_t)group);
	closed = 1;
	return NULL;
}

static void rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
}

int main(int argc, char **argv)
{
	pthread_t thread, closer;
	int first, second;

	if (argc != 2)
		return 2;
	first = group_on(argv[1], FAN_MARK_FILESYSTEM);
	second = group_on(argv[1], FAN_MARK_INODE);
	pthread_create(&thread, NULL, breaker, argv[1]);
	rest();
	/* Which one is asked first is the kernel's choice: the one that is closed shall be the other. */
	if (poll(&(struct pollfd){.fd = first, .events = POLLIN}, 1, 0) == 1) {
		int swap = first;

		first = second;
		second = swap;
	}
	pthread_create(&closer, NULL, close_it, (void *)(intptr_t)first);
	rest();
	printf("closing a group that was not asked yet, while a thread waits in another: %s\n",
	       closed ? "returned" : "waits");
	answer(second);
	rest();
	printf("after that one's answer: %s\n", closed ? "returned" : "still waits");
	pthread_join(thread, NULL);
	return !closed;
}
