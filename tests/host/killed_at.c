// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Runs a command, and kills a process while it serves it, at a certain point: where one of its threads begins or has just
 * ended its Nth system call since the command was started. Between two of these there are only stores to memory (which
 * tests/unit/journal_cut interrupts one by one); so to try every N is to try every moment that the world outside can tell
 * from another.
 *
 *   killed_at PID POINT COMMAND...  0: killed there, and the command ended with 0
 *                                   3: the command ended with 0 before there were so many: PID lives
 *                                   1: the command failed; 2: a mistake
 *
 * POINT: N; or sent=BYTES: right behind the first sendmsg(2) of its main thread that said BYTES; or wrote=BYTES: right
 * behind such a write(2) of another thread.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_SECONDS 120
#define IDLE_LOOKS 10
#define THREADS_MAX 64
#define IDLE_LOOKS_MAX 1000

enum { KILLED, FAILED, MISTAKE, NOT_REACHED };

static void fail(const char *what)
{
	perror(what);
	exit(MISTAKE);
}

/* Until it is busy no more with what was before: its points come first otherwise, and are never the same. */
static void wait_idle(pid_t pid)
{
	char path[64], call[16];
	int idle = 0;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	for (int looks = 0; looks < IDLE_LOOKS_MAX && idle < IDLE_LOOKS; looks++) {
		FILE *file = fopen(path, "re");
		const bool waits = file && fgets(call, sizeof(call), file) &&
				   (atol(call) == SYS_epoll_wait || atol(call) == SYS_epoll_pwait);

		if (file)
			fclose(file);
		idle = waits ? idle + 1 : 0;
		usleep(1000);
	}
}

/* All threads that it has now; it starts no others while it serves. */
static void seize(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		fail(path);
	while ((entry = readdir(tasks))) {
		pid_t tid = (pid_t)atol(entry->d_name);

		if (tid <= 0)
			continue;
		if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
		    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
			fail("ptrace");
		if (waitpid(tid, NULL, __WALL) != tid ||
		    ptrace(PTRACE_SYSCALL, tid, NULL, NULL) < 0)
			fail("waiting for a thread to stop");
	}
	closedir(tasks);
}

static pid_t start(char **argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(COMMAND_SECONDS); /* stays over execve(2) */
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (pid < 0)
		fail("fork");
	return pid;
}

struct point {
	unsigned long n; /* 0: after this one */
	long number, result;
	bool of_main;
};

static bool parse(const char *text, struct point *point)
{
	*point = (struct point){0};
	if (sscanf(text, "sent=%ld", &point->result) == 1) {
		point->number = SYS_sendmsg;
		point->of_main = true;
		return true;
	}
	if (sscanf(text, "wrote=%ld", &point->result) == 1) {
		point->number = SYS_write;
		return true;
	}
	return sscanf(text, "%lu", &point->n) == 1 && point->n > 0;
}

/* At a stop of a thread at a call, the nth: is it there? */
static bool is_there(const struct point *point, pid_t tid, pid_t main_thread, unsigned long n)
{
	static struct {
		pid_t tid;
		long number;
	} calling[THREADS_MAX];
	struct __ptrace_syscall_info info = {0};
	size_t i = 0;

	if (point->n)
		return point->n == n;
	while (i < THREADS_MAX - 1 && calling[i].tid && calling[i].tid != tid)
		i++;
	calling[i].tid = tid;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0)
		return false;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		calling[i].number = (long)info.entry.nr;
	return info.op == PTRACE_SYSCALL_INFO_EXIT && calling[i].number == point->number &&
	       info.exit.rval == point->result && (tid == main_thread) == point->of_main;
}

/* Which call it is, for people: at the point where it was killed. */
static void tell(pid_t tid, unsigned long n)
{
	struct __ptrace_syscall_info info = {0};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		printf("point %lu: before system call %llu of thread %d\n", n,
		       (unsigned long long)info.entry.nr, (int)tid);
	else
		printf("point %lu: after a system call of thread %d, which said %lld\n", n,
		       (int)tid, (long long)info.exit.rval);
	fflush(stdout);
}

/* A stop of a thread that is traced: it goes on. */
static void go_on(pid_t tid, int status)
{
	int sig = WSTOPSIG(status);
	const bool call = sig == (SIGTRAP | 0x80), event = status >> 16;

	ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)(call || event ? 0 : sig));
}

static void let_go(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)atol(entry->d_name);

		/* it has to be in a stop for that */
		if (tid > 0 && ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 &&
		    waitpid(tid, NULL, __WALL) == tid)
			ptrace(PTRACE_DETACH, tid, NULL, NULL);
	}
	if (tasks)
		closedir(tasks);
}

int main(int argc, char **argv)
{
	unsigned long n = 0;
	struct point point;
	pid_t daemon, command;
	bool killed = false;

	if (argc < 4 || !parse(argv[2], &point)) {
		fprintf(stderr, "usage: see the top of tests/host/killed_at.c\n");
		return MISTAKE;
	}
	daemon = (pid_t)atol(argv[1]);
	wait_idle(daemon);
	seize(daemon);
	command = start(argv + 3);
	for (;;) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid < 0)
			fail("waitpid");
		if (tid == command) {
			if (!killed)
				let_go(daemon);
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
				printf("the command ended with status %#x\n", (unsigned)status);
				return FAILED;
			}
			return killed ? KILLED : NOT_REACHED;
		}
		if (!WIFSTOPPED(status))
			continue;
		if (!killed && WSTOPSIG(status) == (SIGTRAP | 0x80) &&
		    is_there(&point, tid, daemon, ++n)) {
			tell(tid, n);
			kill(daemon, SIGKILL);
			killed = true;
		}
		go_on(tid, status);
	}
}
