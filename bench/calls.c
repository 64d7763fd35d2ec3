// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Calls of programs that know nothing of leases: run with the shim and without, on a pool and on a
 * file system that nobody watches. And the floors they stand on.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/subject.h"
#include "daemon/guard/fanotify_abi.h"

#define PAGE 4096u
#define MAPPED (4 * PAGE)
#define MESSAGE 64

/* --- messages -------------------------------------------------------------------------------- */

static unsigned peers;
static int *channels;
static int all_channels;

static _Noreturn void echo(int fd)
{
	char message[MESSAGE];
	ssize_t size;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((size = recv(fd, message, sizeof(message), 0)) > 0) {
		if (send(fd, message, (size_t)size, 0) < 0)
			break;
	}
	_exit(0);
}

static void start_peers(unsigned count)
{
	peers = count;
	channels = calloc(count, sizeof(*channels));
	all_channels = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < count; i++) {
		struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = i};
		int pair[2];
		pid_t child;

		if (!channels || all_channels < 0 ||
		    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
			subject_fail("socketpair");
		child = fork();
		if (child == 0) {
			for (unsigned earlier = 0; earlier < i; earlier++)
				close(channels[earlier]);
			close(pair[0]);
			echo(pair[1]);
		}
		close(pair[1]);
		channels[i] = pair[0];
		if (child < 0 || epoll_ctl(all_channels, EPOLL_CTL_ADD, pair[0], &wanted) < 0)
			subject_fail("fork");
	}
}

static void start_round_trip(char **argument)
{
	(void)argument;
	start_peers(1);
}

static void round_trip(void)
{
	char message[MESSAGE] = {0};

	if (send(channels[0], message, sizeof(message), 0) < 0 ||
	    recv(channels[0], message, sizeof(message), 0) != (ssize_t)sizeof(message))
		subject_fail("round trip");
}

static void start_fan_out(char **argument)
{
	start_peers(subject_number(argument[0]));
}

static void fan_out(void)
{
	struct epoll_event ready[64];
	char message[MESSAGE] = {0};
	unsigned back = 0;

	for (unsigned i = 0; i < peers; i++) {
		if (send(channels[i], message, sizeof(message), 0) < 0)
			subject_fail("send");
	}
	while (back < peers) {
		int count = epoll_wait(all_channels, ready, 64, -1);

		for (int i = 0; i < count; i++) {
			if (recv(channels[ready[i].data.u32], message, sizeof(message), 0) < 0)
				subject_fail("recv");
			back++;
		}
	}
}

/* --- a minimal guard ------------------------------------------------------------------------- */

static int group;

static void *answer_all(void *unused)
{
	struct guard_event event;

	while (read(group, &event, sizeof(event)) >= (ssize_t)sizeof(event.head)) {
		struct fanotify_response answer = {.fd = event.head.fd, .response = FAN_ALLOW};

		if (write(group, &answer, sizeof(answer)) < 0)
			subject_fail("answer");
		close(event.head.fd);
	}
	return unused;
}

/* Every access to the file waits for a process of its own, which lets it go on at once. */
static void start_reader(char **argument)
{
	pthread_t thread;

	group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
	if (group < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD, argument[0]) < 0)
		subject_fail("fanotify");
	if (pthread_create(&thread, NULL, answer_all, NULL) != 0)
		subject_fail("pthread_create");
}

/* The same for a whole file system but this file, which it asked not to hear of: what every file that is not leased
 * pays the kernel for. */
static void start_silent_reader(char **argument)
{
	pthread_t thread;

	group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
	if (group < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_PRE_ACCESS, AT_FDCWD,
			  argument[0]) < 0 ||
	    fanotify_mark(group,
			  FAN_MARK_ADD | FAN_MARK_EVICTABLE | FAN_MARK_IGNORE |
				  FAN_MARK_IGNORED_SURV_MODIFY,
			  FAN_PRE_ACCESS, AT_FDCWD, argument[0]) < 0)
		subject_fail("fanotify");
	if (pthread_create(&thread, NULL, answer_all, NULL) != 0)
		subject_fail("pthread_create");
}

static void nothing(void)
{
}

/* --- memory that is no file's ---------------------------------------------------------------- */

static void start_batch(char **argument)
{
	subject_batch = subject_number(argument[0]);
}

static void map_anonymous(void)
{
	void *mapped = mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (mapped == MAP_FAILED || munmap(mapped, 64 * 1024) < 0)
		subject_fail("mmap");
}

static void *blocks[64];
static uint32_t random_state = 1;

/* Sizes from 16 bytes to 512 KiB, so some by mmap. */
static void allocate(void)
{
	size_t size, slot;

	random_state = random_state * 1664525u + 1013904223u;
	slot = random_state >> 26;
	size = (size_t)16 << (random_state >> 8) % 16;
	free(blocks[slot]);
	blocks[slot] = malloc(size);
	if (!blocks[slot])
		subject_fail("malloc");
	*(volatile char *)blocks[slot] = 1;
}

/* --- files ----------------------------------------------------------------------------------- */

static int *files;
static unsigned files_count, next_file;
static void *mapped_file;

/* FILE has a "%u": COUNT of them. */
static void open_files(char **argument)
{
	files_count = subject_number(argument[1]);
	files = calloc(files_count, sizeof(*files));
	for (unsigned i = 0; files && i < files_count; i++) {
		char path[4096], *at = strstr(argument[0], "%u");

		snprintf(path, sizeof(path), "%.*s%u%s", (int)(at ? at - argument[0] : 0),
			 argument[0], i, at ? at + 2 : argument[0]);
		files[i] = open(at ? path : argument[0], O_RDWR | O_CLOEXEC);
		if (files[i] < 0)
			subject_fail(path);
	}
}

static void start_file(char **argument)
{
	char *one[] = {argument[0], "1"};

	open_files(one);
	subject_batch = subject_number(argument[1]);
}

static void map_file(void)
{
	int fd = files[next_file++ % files_count];

	mapped_file = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped_file == MAP_FAILED)
		subject_fail("mmap");
	*(volatile char *)mapped_file = 'a';
}

static void unmap_file(void)
{
	if (munmap(mapped_file, MAPPED) < 0)
		subject_fail("munmap");
}

/* Maps it once for good, and holds it while it maps it again. */
static void open_and_hold(char **argument)
{
	char *one[] = {argument[0], "1"};

	open_files(one);
	map_file();
}

static void read_file(void)
{
	char block[PAGE];

	if (pread(files[0], block, sizeof(block), 0) != (ssize_t)sizeof(block))
		subject_fail("pread");
}

static void write_file(void)
{
	static const char block[PAGE];

	if (pwrite(files[0], block, sizeof(block), 0) != (ssize_t)sizeof(block))
		subject_fail("pwrite");
}

/* The last page away, and back. */
static void truncate_file(void)
{
	if (ftruncate(files[0], MAPPED - PAGE) < 0 || ftruncate(files[0], MAPPED) < 0)
		subject_fail("ftruncate");
}

/* A load, not a subject: never stops. */
static void *read_on(void *unused)
{
	for (;;)
		read_file();
	return unused;
}

static void start_readers(char **argument)
{
	char *one[] = {argument[0], "1"};
	pthread_t thread;

	open_files(one);
	for (unsigned i = subject_number(argument[1]); i > 0; i--) {
		if (pthread_create(&thread, NULL, read_on, NULL) != 0)
			subject_fail("pthread_create");
	}
}

static void start_hold(char **argument)
{
	char *one[] = {argument[0], "1"};
	size_t length = subject_number(argument[1]) * (size_t)PAGE;

	open_files(one);
	mapped_file = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
	if (mapped_file == MAP_FAILED)
		subject_fail("mmap");
}

const struct subject subjects[] = {
	{"round-trip", "", "64 bytes to a process and back", start_round_trip, NULL, round_trip,
	 NULL},
	{"fan-out", "COUNT", "64 bytes to COUNT processes and back", start_fan_out, NULL, fan_out,
	 NULL},
	{"reader", "FILE", "lets every access to FILE go on at once", start_reader, NULL, nothing,
	 NULL},
	{"silent-reader", "FILE", "the same for all other files of its file system",
	 start_silent_reader, NULL, nothing, NULL},
	{"anonymous", "BATCH", "mmap and munmap of 64 KiB, anonymous", start_batch, NULL,
	 map_anonymous, NULL},
	{"allocate", "BATCH", "malloc and free", start_batch, NULL, allocate, NULL},
	{"map", "FILE COUNT", "mmap of one of the files in turn, and a store", open_files, NULL,
	 map_file, unmap_file},
	{"unmap", "FILE COUNT", "its munmap", open_files, map_file, unmap_file, NULL},
	{"map-again", "FILE", "mmap of a file that it has mapped already", open_and_hold, NULL,
	 map_file, unmap_file},
	{"read", "FILE BATCH", "pread of a page", start_file, NULL, read_file, NULL},
	{"write", "FILE BATCH", "pwrite of a page", start_file, NULL, write_file, NULL},
	{"truncate", "FILE BATCH", "its fourth page away and back", start_file, NULL, truncate_file,
	 NULL},
	{"readers", "FILE THREADS", "read it without pause", start_readers, NULL, nothing, NULL},
	{"hold", "FILE PAGES", "has its first pages mapped", start_hold, NULL, nothing, NULL},
	{0},
};
