// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"

#define HOOKS_MAX                                                                                  \
	16 /* at a time: each is a process, and who is fenced decides how many there are */
#define ARGUMENTS_MAX 32
#define VARIABLES_MAX 9

struct hook {
	LIST_ENTRY(hook) entry;
	struct daemon *daemon;
	pid_t pid; /* and its group */
	int pidfd;
	struct event *ended, *limit;
	void (*done)(void *arg, int status); /* NULL: abandoned */
	void *arg;
};

/* What execve(2) takes, made before the fork: there is no allocating behind it. */
struct program {
	char *argv[ARGUMENTS_MAX + 1];
	char *envp[VARIABLES_MAX + 1];
	char *words;
};

static void program_free(struct program *p)
{
	for (size_t i = 0; i < VARIABLES_MAX; i++)
		free(p->envp[i]);
	free(p->words);
}

static int program_make(struct program *p, const char *command, const struct hook_facts *facts)
{
	char *rest = NULL;
	size_t n = 0;
	int rc = 0;

	*p = (struct program){.words = strdup(command)};
	if (!p->words)
		return -ENOMEM;
	for (char *word = strtok_r(p->words, " \t", &rest); word && n < ARGUMENTS_MAX;
	     word = strtok_r(NULL, " \t", &rest))
		p->argv[n++] = word;
	n = 0;
#define VARIABLE(...) (rc |= asprintf(&p->envp[n++], __VA_ARGS__) < 0)
	VARIABLE("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	VARIABLE("DAXLEASE_PID=%d", facts->pid);
	VARIABLE("DAXLEASE_UID=%u", facts->uid);
	VARIABLE("DAXLEASE_PATH=%s", facts->path);
	VARIABLE("DAXLEASE_START=%llu", (unsigned long long)facts->start);
	VARIABLE("DAXLEASE_END=%llu", (unsigned long long)facts->end);
	VARIABLE("DAXLEASE_LEASE=%llu", (unsigned long long)facts->lease);
	VARIABLE("DAXLEASE_FENCE=%s", facts->policy);
#undef VARIABLE
	if (rc == 0)
		return 0;
	for (size_t i = 0; i < n; i++) /* a failed asprintf() leaves anything behind */
		p->envp[i] = NULL;
	program_free(p);
	return -ENOMEM;
}

/* In the child of a process with threads: system calls only. */
__attribute__((noreturn)) static void execute(const struct program *p)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0u, 0) < 0)
		_exit(126);
	execve(p->argv[0], p->argv, p->envp);
	_exit(127);
}

static void hook_free(struct hook *h)
{
	LIST_REMOVE(h, entry);
	h->daemon->hooks_count--;
	if (h->ended)
		event_free(h->ended);
	if (h->limit)
		event_free(h->limit);
	if (h->pidfd >= 0)
		close(h->pidfd);
	free(h);
}

static void tell(struct hook *h, int status)
{
	void (*done)(void *arg, int status) = h->done;

	h->done = NULL;
	if (done)
		done(h->arg, status);
}

static void on_end(evutil_socket_t pidfd, short what, void *arg)
{
	struct hook *h = arg;
	int status = 0;

	(void)pidfd;
	(void)what;
	if (waitpid(h->pid, &status, WNOHANG) == 0)
		return;
	tell(h, status);
	hook_free(h);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct hook *h = arg;

	(void)fd;
	(void)what;
	kill(-h->pid, SIGKILL); /* it is not reaped yet, so the number is still its own */
	tell(h, -1);
}

/* The child exists: what is missing now ends it. */
static int watch(struct hook *h, uint64_t limit_ns)
{
	struct daemon *d = h->daemon;

	h->pidfd = pidfd_open(h->pid, 0);
	h->ended = h->pidfd < 0 ? NULL
				: event_new(d->base, h->pidfd, EV_READ | EV_PERSIST, on_end, h);
	h->limit = evtimer_new(d->base, on_limit, h);
	if (!h->ended || !h->limit || event_add(h->ended, NULL) < 0)
		return -ENOMEM;
	timer_arm(h->limit, limit_ns);
	return 0;
}

int hook_start(struct daemon *d, const char *command, const struct hook_facts *facts,
	       uint64_t limit_ns, void (*done)(void *arg, int status), void *arg,
	       struct hook **hook)
{
	struct program program;
	struct hook *h;
	sigset_t all, before;
	int rc;

	if (d->hooks_count >= HOOKS_MAX)
		return -EAGAIN;
	rc = program_make(&program, command, facts);
	if (rc < 0)
		return rc;
	h = calloc(1, sizeof(*h));
	if (!h) {
		program_free(&program);
		return -ENOMEM;
	}
	*h = (struct hook){.daemon = d, .pidfd = -1, .done = done, .arg = arg};
	/* No handler of the daemon's runs in the child: it would write into what both share. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	h->pid = fork();
	if (h->pid == 0)
		execute(&program);
	rc = h->pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	program_free(&program);
	if (rc < 0) {
		free(h);
		return rc;
	}
	setpgid(h->pid, h->pid); /* here too: whoever comes first */
	LIST_INSERT_HEAD(&d->hooks, h, entry);
	d->hooks_count++;
	rc = watch(h, limit_ns);
	if (rc < 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
		hook_free(h);
		return rc;
	}
	*hook = h;
	return 0;
}

void hook_abandon(struct hook *hook)
{
	if (hook)
		hook->done = NULL;
}

void hooks_stop(struct daemon *d)
{
	struct hook *h;

	while ((h = LIST_FIRST(&d->hooks))) {
		kill(-h->pid, SIGKILL);
		hook_free(h);
	}
}
