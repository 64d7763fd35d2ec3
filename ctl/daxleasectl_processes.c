// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Escapes that processes hold: descriptors that are older than the guard, threads past it.
 *
 * Whether a descriptor is seen by a guard was settled when it was opened. It is tried, on a copy of it: a group of our
 * own marks the file, a child reads one byte through the copy, and either there is an event or not. That can be done
 * where reading is permitted; of the others only their process's age can tell that they may be old.
 */
#include "ctl/escapes.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/fanotify_abi.h"

#define NSEC_PER_SEC UINT64_C(1000000000)
#define TRY_LIMIT_MS 1000

struct process {
	int32_t pid;
	uint64_t started_ns; /* CLOCK_REALTIME; 0: not known */
};

/* --- one process --------------------------------------------------------------------------- */

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

/* Field 22 of /proc/PID/stat is ticks since boot; what is before it may have any character. */
static uint64_t started_ns(int32_t pid)
{
	char path[32], text[1024];
	const uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t ticks = 0;
	const char *behind;
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	size = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	text[size] = '\0';
	behind = strrchr(text, ')');
	for (int field = 2; behind && field < 22; field++)
		behind = strchr(behind + 1, ' ');
	if (!behind || sscanf(behind, "%" SCNu64, &ticks) != 1)
		return 0;
	/* Ticks are rounded down: rather older than younger. */
	return now_ns(CLOCK_REALTIME) - now_ns(CLOCK_BOOTTIME) +
	       ticks * (NSEC_PER_SEC / ticks_per_s);
}

/* "flags:" of fdinfo, octal; -1: not known. */
static long flags_of(int32_t pid, int fd)
{
	char path[64], line[128];
	long flags = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "flags: %lo", &flags) == 1)
			break;
	if (file)
		fclose(file);
	return flags;
}

/* --- is a descriptor seen? ----------------------------------------------------------------- */

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define OWNED_FD __attribute__((cleanup(close_fd))) int

/* Lets everybody go on; true if one of them is `pid`. */
static bool answer_all(int group, pid_t pid)
{
	char buffer[4096] __attribute__((aligned(8)));
	const ssize_t size = read(group, buffer, sizeof(buffer));
	bool ours = false;

	for (ssize_t at = 0; at + (ssize_t)sizeof(struct fanotify_event_metadata) <= size;) {
		struct fanotify_event_metadata event;
		struct fanotify_response response = {.response = FAN_ALLOW};

		memcpy(&event, buffer + at, sizeof(event));
		ours |= event.pid == pid;
		response.fd = event.fd;
		if (event.fd >= 0 && write(group, &response, sizeof(response)) < 0)
			ours = false;
		if (event.fd >= 0)
			close(event.fd);
		at += event.event_len;
	}
	return ours;
}

/* 1: seen; 0: not; -1: cannot be tried. */
static int try_descriptor(int32_t pid, int number)
{
	OWNED_FD pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	OWNED_FD copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	OWNED_FD group = copy < 0
				 ? -1
				 : fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK,
						 O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	struct pollfd pollfd = {.fd = group, .events = POLLIN};
	char path[32], byte;
	int status, seen = 0;
	pid_t child;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	if (group < 0 || fanotify_mark(group, FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD, path) != 0)
		return -1;
	child = fork();
	if (child < 0)
		return -1;
	if (child == 0) {
		close(group); /* with the parent's end everybody is let go */
		_exit(pread(copy, &byte, 1, 0) < 0);
	}
	for (int waited = 0; waited < TRY_LIMIT_MS; waited += 10) {
		if (poll(&pollfd, 1, 10) > 0)
			seen |= answer_all(group, child);
		if (waitpid(child, &status, WNOHANG) == child)
			return seen;
	}
	close(group);
	group = -1;
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return -1;
}

static void look_at_descriptor(struct search *search, const struct process *process,
			       const struct place *place, int fd, uint64_t ino, const char *path)
{
	const long flags = flags_of(process->pid, fd);
	const bool older = process->started_ns && process->started_ns < place->ready_ns;
	int seen;

	if (flags < 0 || (flags & O_PATH) || !place->guarded || process->pid == getpid())
		return;
	seen = (flags & O_ACCMODE) == O_WRONLY ? -1 : try_descriptor(process->pid, fd);
	if (seen == 0)
		search_report(search, ESCAPE_DESCRIPTOR, place, process->pid, ino, path,
			      "descriptor %d was opened before the guard was there", fd);
	else if (seen < 0 && older)
		search_report(search, ESCAPE_DESCRIPTOR, place, process->pid, ino, path,
			      "descriptor %d may have been: the process is older than the guard",
			      fd);
}

/* --- threads past the guard ---------------------------------------------------------------- */

/* Calls that pass the guard and then wait for a pipe or socket, and which argument is the file that changes. */
static const struct {
	long number;
	unsigned argument;
	const char *name;
} parking[] = {
	{SYS_splice, 2, "splice"},
	{SYS_sendfile, 0, "sendfile"},
};

static void look_at_thread(struct search *search, const struct process *process, int tid)
{
	unsigned long long arguments[6];
	char path[64], target[DLP_MAX_PATH], line[256];
	uint64_t dev, ino;
	long number;
	ssize_t length;
	FILE *file;
	bool got;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", process->pid, tid);
	file = fopen(path, "re");
	got = file && fgets(line, sizeof(line), file) &&
	      sscanf(line, "%ld %llx %llx %llx %llx %llx %llx", &number, arguments, arguments + 1,
		     arguments + 2, arguments + 3, arguments + 4, arguments + 5) == 7;
	if (file)
		fclose(file);
	for (size_t i = 0; got && i < sizeof(parking) / sizeof(parking[0]); i++) {
		const struct place *place;

		if (parking[i].number != number)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", process->pid,
			 (int)arguments[parking[i].argument]);
		place = look_at(path, &dev, &ino) ? search_place(search, dev, ino) : NULL;
		length = place ? readlink(path, target, sizeof(target) - 1) : -1;
		if (length < 0)
			continue;
		target[length] = '\0';
		search_report(search, ESCAPE_PARKED, place, process->pid, ino, target,
			      "thread %d in %s", tid, parking[i].name);
	}
}

static void look_at_threads(struct search *search, const struct process *process)
{
	const struct dirent *entry;
	char path[32];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", process->pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks)))
		if (atoi(entry->d_name) > 0)
			look_at_thread(search, process, atoi(entry->d_name));
	if (tasks)
		closedir(tasks);
}

/* ------------------------------------------------------------------------------------------- */

/* What it holds of events bypasses the guard, and must. */
static bool is_daemon(int32_t pid)
{
	char path[32], exe[DLP_MAX_PATH];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	length = readlink(path, exe, sizeof(exe) - 1);
	exe[length < 0 ? 0 : length] = '\0';
	return strstr(exe, "/daxleased") != NULL;
}

static void look_at_process(struct search *search, int32_t pid)
{
	struct process process = {.pid = pid, .started_ns = started_ns(pid)};
	char path[64], target[DLP_MAX_PATH];
	const struct dirent *entry;
	bool concerned = false;
	uint64_t dev, ino;
	DIR *fds;

	if (is_daemon(pid))
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	if (!fds) {
		search->unseen += access(path, F_OK) == 0;
		return;
	}
	while ((entry = readdir(fds))) {
		const int fd = atoi(entry->d_name);
		const struct place *place;
		ssize_t length;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		/* What is not a file with a path (pipes, sockets) is in no pool. */
		place = target[0] == '/' && look_at(path, &dev, &ino)
				? search_place(search, dev, ino)
				: NULL;
		if (!place)
			continue;
		concerned = true;
		look_at_descriptor(search, &process, place, fd, ino, target);
	}
	closedir(fds);
	if (concerned)
		look_at_threads(search, &process);
}

void escapes_of_processes(struct search *search)
{
	const struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc && (entry = readdir(proc)))
		if (atoi(entry->d_name) > 0)
			look_at_process(search, atoi(entry->d_name));
	if (proc)
		closedir(proc);
}
