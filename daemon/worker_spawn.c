/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a worker process, and handing it an order. In the daemon. */
#include "daemon/worker_jobs.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void worker_discard(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int worker_spawn(pid_t *pid, int *pidfd, int *sock)
{
	pid_t parent = getpid();
	sigset_t all, before;
	int pair[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	/* No handler of the daemon's runs in the child: it would write into what both share. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	*pid = fork();
	if (*pid == 0)
		worker_main(pair[1], parent);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	*pidfd = *pid > 0 ? pidfd_open(*pid, 0) : -1;
	if (*pidfd >= 0) {
		*sock = pair[0];
		return 0;
	}
	if (*pid > 0) {
		error = errno;
		worker_discard(*pid);
	}
	close(pair[0]);
	return -error;
}
