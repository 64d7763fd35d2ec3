// SPDX-License-Identifier: LGPL-2.1-or-later
/* Leases taken and broken by programs that use the library; and a redis server's clients, as a peer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bench/subject.h"
#include "libshim/daxlease.h"

#define PAGE 4096u
#define TRIES 20000
#define TRY_AGAIN_NS (500 * 1000)

static int open_numbered(const char *format, unsigned number)
{
	char path[4096];
	const char *at = strstr(format, "%u");
	int fd;

	if (at)
		snprintf(path, sizeof(path), "%.*s%u%s", (int)(at - format), format, number,
			 at + 2);
	else
		snprintf(path, sizeof(path), "%s", format);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		subject_fail(path);
	return fd;
}

static struct daxlease *connect_daemon(void)
{
	struct daxlease *connection;
	int error = daxlease_open(NULL, &connection);

	if (error < 0) {
		errno = -error;
		subject_fail("daxlease_open");
	}
	return connection;
}

/* While the operation that broke the last one is not known to have finished it says EAGAIN. */
static struct daxlease_held *take(struct daxlease *connection, int fd)
{
	struct daxlease_held *lease;
	int error = 0;

	for (unsigned tries = 0; tries < TRIES; tries++) {
		error = daxlease_take(connection, fd, 0, PAGE, 0, &lease);
		if (error == 0)
			return lease;
		if (error != -EAGAIN)
			break;
		nanosleep(&(struct timespec){.tv_nsec = TRY_AGAIN_NS}, NULL);
	}
	errno = -error;
	subject_fail(daxlease_reason());
}

/* --- one lease ------------------------------------------------------------------------------- */

static struct daxlease *connection;
static struct daxlease_held *lease;
static int *files;
static unsigned files_count, next_file;

static void start_grant(char **argument)
{
	files_count = subject_number(argument[1]);
	files = calloc(files_count, sizeof(*files));
	for (unsigned i = 0; files && i < files_count; i++)
		files[i] = open_numbered(argument[0], i);
	connection = connect_daemon();
}

static void grant(void)
{
	lease = take(connection, files[next_file++ % files_count]);
}

static void release(void)
{
	daxlease_release(lease);
}

/* --- breaks ---------------------------------------------------------------------------------- */

static unsigned holders;
static int *controls; /* a holder: 't' take it, answered by 't' when it has it */
static int broken_file;

static void let_go(struct daxlease *mine, struct daxlease_held **held)
{
	struct daxlease_event event;

	while (daxlease_next_event(mine, &event) > 0) {
		if (*held && event.lease == *held) {
			daxlease_release(*held);
			*held = NULL;
		}
	}
}

static _Noreturn void hold(int control, int fd)
{
	struct daxlease *mine = connect_daemon();
	struct daxlease_held *held = NULL;
	struct pollfd wanted[] = {{.fd = daxlease_fd(mine), .events = POLLIN},
				  {.fd = control, .events = POLLIN}};
	char order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (poll(wanted, 2, -1) > 0) {
		if (wanted[0].revents)
			let_go(mine, &held);
		if (!wanted[1].revents)
			continue;
		if (read(control, &order, 1) != 1)
			break;
		let_go(mine, &held);
		if (!held)
			held = take(mine, fd);
		if (write(control, &order, 1) != 1)
			break;
	}
	_exit(0);
}

static void start_break(char **argument)
{
	broken_file = open_numbered(argument[0], 0);
	holders = subject_number(argument[1]);
	controls = calloc(holders, sizeof(*controls));
	for (unsigned i = 0; i < holders; i++) {
		int pair[2];
		pid_t child;

		if (!controls || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			subject_fail("socketpair");
		child = fork();
		if (child < 0)
			subject_fail("fork");
		if (child == 0) {
			for (unsigned earlier = 0; earlier < i; earlier++)
				close(controls[earlier]);
			close(pair[0]);
			hold(pair[1], open_numbered(argument[0], 0));
		}
		close(pair[1]);
		controls[i] = pair[0];
	}
}

/* One after another: only so many may wait for a look at the same file. */
static void all_hold(void)
{
	char order = 't';

	for (unsigned i = 0; i < holders; i++) {
		if (write(controls[i], &order, 1) != 1 || read(controls[i], &order, 1) != 1)
			subject_fail("a holder");
	}
}

static void break_all(void)
{
	static const char block[PAGE];

	if (pwrite(broken_file, block, sizeof(block), 0) != (ssize_t)sizeof(block))
		subject_fail("pwrite");
}

/* --- many leases ----------------------------------------------------------------------------- */

#define MANY_CONNECTIONS 100
#define MANY_FILES 250
#define MANY_PAGES 100 /* of a file */

/* Each connection has its share, one page each; those of one connection do not overlap. */
static void start_many(char **argument)
{
	unsigned each = subject_number(argument[1]) / MANY_CONNECTIONS;
	int many[MANY_FILES];

	for (unsigned i = 0; i < MANY_FILES; i++)
		many[i] = open_numbered(argument[0], i);
	for (unsigned i = 0; i < MANY_CONNECTIONS; i++) {
		connection = connect_daemon();
		for (unsigned number = 0; number < each; number++) {
			uint64_t page = (number / MANY_FILES) % MANY_PAGES;
			int error = daxlease_take(connection, many[number % MANY_FILES],
						  page * PAGE, PAGE, 0, &lease);

			if (error < 0) {
				errno = -error;
				subject_fail(daxlease_reason());
			}
		}
	}
}

/* How the last one stands: an answer of the daemon. */
static void query(void)
{
	if (daxlease_query(lease, NULL) != DAXLEASE_HELD)
		subject_fail("a lease is not held any more");
}

/* --- many clients at once -------------------------------------------------------------------- */

#define CLIENTS 50
#define EACH 100

static int starts[CLIENTS]; /* a byte: go; one back: done */

static void start_clients(void (*client)(int control, unsigned number, char **argument),
			  char **argument)
{
	subject_batch = 1;
	for (unsigned i = 0; i < CLIENTS; i++) {
		int pair[2];
		char ready;
		pid_t child;

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			subject_fail("socketpair");
		child = fork();
		if (child < 0)
			subject_fail("fork");
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (unsigned earlier = 0; earlier < i; earlier++)
				close(starts[earlier]);
			close(pair[0]);
			client(pair[1], i, argument);
			_exit(0);
		}
		close(pair[1]);
		starts[i] = pair[0];
		if (read(starts[i], &ready, 1) != 1)
			subject_fail("a client");
	}
}

/* CLIENTS times EACH requests. */
static void all_clients(void)
{
	char byte = 'g';

	for (unsigned i = 0; i < CLIENTS; i++) {
		if (write(starts[i], &byte, 1) != 1)
			subject_fail("a client");
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (read(starts[i], &byte, 1) != 1)
			subject_fail("a client");
	}
}

/* The byte to say that it is ready, then each when it is done. */
static bool next_round(int control)
{
	char byte = 'r';

	return write(control, &byte, 1) == 1 && read(control, &byte, 1) == 1;
}

static void grant_client(int control, unsigned number, char **argument)
{
	struct daxlease *mine = connect_daemon();
	int fd = open_numbered(argument[0], number);

	while (next_round(control)) {
		for (unsigned i = 0; i < EACH; i++)
			daxlease_release(take(mine, fd));
	}
}

static void start_grants(char **argument)
{
	start_clients(grant_client, argument);
}

static int connect_redis(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		subject_fail(path);
	return fd;
}

/* Its answers are one packet each: "+OK", "$-1", ":1". */
static void ask_redis(int fd, const char *words)
{
	char answer[256];
	size_t length = strlen(words);

	if (send(fd, words, length, 0) != (ssize_t)length ||
	    recv(fd, answer, sizeof(answer), 0) <= 0 || answer[0] == '-')
		subject_fail("redis");
}

static void redis_client(int control, unsigned number, char **argument)
{
	int fd = connect_redis(argument[0]);
	char words[64];
	unsigned key = 0;

	while (next_round(control)) {
		for (unsigned i = 0; i < EACH; i++) {
			snprintf(words, sizeof(words), "SET %u:%u 1 NX\r\n", number, key++);
			ask_redis(fd, words);
		}
	}
}

static void start_redis(char **argument)
{
	start_clients(redis_client, argument);
}

const struct subject subjects[] = {
	{"grant", "FILE COUNT", "a lease of one of the files in turn", start_grant, NULL, grant,
	 release},
	{"break", "FILE HOLDERS", "a write to a page that so many processes hold", start_break,
	 all_hold, break_all, NULL},
	{"many", "FILE LEASES", "how one of so many stands", start_many, NULL, query, NULL},
	{"grants", "FILE", "5000 leases by 50 processes", start_grants, NULL, all_clients, NULL},
	{"set-nx", "SOCKET", "5000 SET NX by 50 processes", start_redis, NULL, all_clients, NULL},
	{0},
};
