// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/keeper_start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST 3 /* SD_LISTEN_FDS_START */
#define EXEC_FAILED 127
#define LISTEN_PID "LISTEN_PID="
#define DAEMON_OOM_SCORE "-900" /* as in the unit */

extern char **environ;

/* Whatever of these we have from who started us is not the child's. */
static const char *const ours[] = {
	"NOTIFY_SOCKET=",  "LISTEN_PID=",   "LISTEN_PIDFDID=", "LISTEN_FDS=",
	"LISTEN_FDNAMES=", "WATCHDOG_PID=", "WATCHDOG_USEC=",  "FDSTORE=",
};
enum { OURS = sizeof(ours) / sizeof(ours[0]) };

static bool is_ours(const char *variable)
{
	for (size_t i = 0; i < OURS; i++) {
		if (strncmp(variable, ours[i], strlen(ours[i])) == 0)
			return true;
	}
	return false;
}

static char *names_of(const struct keeper_table *table)
{
	static const char variable[] = "LISTEN_FDNAMES=";
	char *text = malloc(sizeof(variable) + table->names_size), *at = text;

	if (!text)
		return NULL;
	at = stpcpy(at, variable);
	for (unsigned i = 0; i < table->count; i++) {
		if (i > 0)
			*at++ = ':';
		at = stpcpy(at, table->entries[i].name);
	}
	return text;
}

static void free_all(char **list, size_t from)
{
	for (char **one = list ? list + from : NULL; one && *one; one++)
		free(*one);
	free(list);
}

/* Ours come last: *from is their first. LISTEN_PID= is the very last, with room for the number. NULL: no memory. */
static char **environment(const struct keeper_start *start, const struct keeper_table *table,
			  size_t *from)
{
	size_t count = 0;
	char **list;
	bool bad;

	while (environ[count])
		count++;
	list = calloc(count + OURS + 1, sizeof(*list));
	if (!list)
		return NULL;
	*from = 0;
	for (size_t i = 0; i < count; i++) {
		if (!is_ours(environ[i]))
			list[(*from)++] = environ[i];
	}
	count = *from;
	bad = asprintf(&list[count++], "NOTIFY_SOCKET=%s", start->notify_socket) < 0 ||
	      asprintf(&list[count++], "WATCHDOG_USEC=%" PRIu64, start->watchdog_us) < 0 ||
	      asprintf(&list[count++], "FDSTORE=%u", table->capacity) < 0;
	/* sd_listen_fds(3) takes a count of 0 for a mistake. */
	if (!bad && table->count)
		bad = asprintf(&list[count++], "LISTEN_FDS=%u", table->count) < 0 ||
		      !(list[count++] = names_of(table)) ||
		      asprintf(&list[count++], LISTEN_PID "%20s", "") < 0;
	if (bad) {
		list[count - 1] = NULL;
		free_all(list, *from);
		return NULL;
	}
	return list;
}

/* snprintf(3) may take a lock. */
static void write_pid(char *variable, pid_t pid)
{
	char digits[20];
	size_t count = 0;

	variable = strchr(variable, '=') + 1;
	do
		digits[count++] = (char)('0' + pid % 10);
	while ((pid /= 10));
	while (count)
		*variable++ = digits[--count];
	*variable = 0;
}

/* The descriptors fds[] become 3, 4, ...: first those that are in the way of others move up. 0 or -1. */
static int arrange(int *fds, unsigned count)
{
	const int end = FIRST + (int)count;

	for (unsigned i = 0; i < count; i++) {
		if (fds[i] < end && fds[i] != FIRST + (int)i)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, end);
		if (fds[i] < 0)
			return -1;
	}
	for (unsigned i = 0; i < count; i++) {
		const int to = FIRST + (int)i;

		if (fds[i] == to ? fcntl(to, F_SETFD, 0) < 0 : dup2(fds[i], to) < 0)
			return -1;
	}
	return 0;
}

static void complain(const char *what)
{
	if (write(STDERR_FILENO, what, strlen(what)) < 0)
		return;
}

__attribute__((noreturn)) static void child(const struct keeper_start *start, char **variables,
					    char *listen_pid, int *fds, unsigned count)
{
	int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sigset_t none;

	/* What a terminal sends is for the keeper, who passes it on once. */
	setpgid(0, 0);
	/* Without the right to it, it stays as it was. */
	if (oom >= 0 && write(oom, DAEMON_OOM_SCORE, strlen(DAEMON_OOM_SCORE)) < 0)
		errno = 0;
	if (oom >= 0)
		close(oom);
	if (arrange(fds, count) < 0) {
		complain("daxleased: what was stored cannot be handed over: RLIMIT_NOFILE\n");
		_exit(EXEC_FAILED);
	}
	if (count)
		write_pid(listen_pid, getpid());
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(start->path, start->argv, variables);
	complain("daxleased: the daemon's binary cannot be run\n");
	_exit(EXEC_FAILED);
}

pid_t keeper_start(const struct keeper_start *start, const struct keeper_table *table)
{
	int *fds = calloc(table->count + 1, sizeof(*fds));
	size_t from = 0;
	char **variables = fds ? environment(start, table, &from) : NULL;
	pid_t pid = -ENOMEM;

	if (variables) {
		char **last = variables;

		while (last[1])
			last++;
		for (unsigned i = 0; i < table->count; i++)
			fds[i] = table->entries[i].fd;
		pid = fork();
		if (pid == 0)
			child(start, variables, *last, fds, table->count);
		if (pid < 0)
			pid = -errno;
	}
	free_all(variables, from);
	free(fds);
	return pid;
}
