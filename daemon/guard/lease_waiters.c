// SPDX-License-Identifier: LGPL-2.1-or-later
/* What /proc tells of kernel leases: in what state one is, and who waits for it. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "daemon/guard/kernel_lease.h"
#include "daemon/guard/thread.h"

#define LINES_MAX 20000 /* of all locks on this machine: who has more does not make us read them */
#define WAITERS_MAX 16
#define THREADS_MAX 1024 /* of one process */

enum guard_lease_on_it guard_lease_on(int fd)
{
	enum guard_lease_on_it found = GUARD_LEASE_ON_NONE;
	char path[40], line[256], state[16], type[16];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "re");
	if (!info)
		return GUARD_LEASE_ON_NONE;
	while (fgets(line, sizeof(line), info)) {
		if (sscanf(line, "lock: %*s LEASE %15s %15s", state, type) != 2)
			continue;
		found = strcmp(state, "ACTIVE") != 0 ? GUARD_LEASE_BREAKING
			: strcmp(type, "READ") == 0  ? GUARD_LEASE_ON_READ
						     : GUARD_LEASE_ON_WRITE;
	}
	(void)fclose(info); /* nothing was written */
	return found;
}

/* Is the line of a lease on this inode? "N: LEASE  BREAKING  UNLCK PID MAJOR:MINOR:INODE 0 EOF" */
static bool is_lease_on(const char *line, uint64_t dev, uint64_t ino)
{
	unsigned major_number, minor_number;
	uint64_t inode;

	return sscanf(line, "%*s LEASE %*s %*s %*d %x:%x:%" SCNu64, &major_number, &minor_number,
		      &inode) == 3 &&
	       inode == ino && makedev(major_number, minor_number) == dev;
}

static bool waits_for_lease(int32_t tid)
{
	char path[32], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/wchan", tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		text[0] = 0;
	(void)fclose(file); /* nothing was written */
	return strcmp(text, "__break_lease") == 0;
}

/* The thread of the process that waits; 0: none, or more than one. */
static int32_t waiting_thread(int32_t tgid)
{
	char path[32];
	struct dirent *entry;
	int32_t found = 0;
	unsigned count = 0, seen = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", tgid);
	tasks = opendir(path);
	if (!tasks)
		return 0;
	while ((entry = readdir(tasks)) && ++seen < THREADS_MAX) {
		int32_t tid = isdigit((unsigned char)entry->d_name[0])
				      ? (int32_t)atoi(entry->d_name)
				      : 0;

		if (tid && waits_for_lease(tid)) {
			found = tid;
			count++;
		}
	}
	(void)closedir(tasks);
	return count == 1 && seen < THREADS_MAX ? found : 0;
}

/* Whether it opens for reading only, and proven so. */
static bool look_at_waiter(int32_t tgid, bool writes, struct guard_attempt *a)
{
	struct syscall_line line = {.number = -1};
	struct decode_in in = {.event = DECODE_OPEN_PERM, .line = &line, .page = 4096};
	struct decode_out out = {.opaque = true};
	int32_t group;

	*a = (struct guard_attempt){.tid = waiting_thread(tgid),
				    .tgid = tgid,
				    .syscall = -1,
				    .opaque = true};
	a->cause = writes ? DLP_CAUSE_OPEN_WRITE : DLP_CAUSE_UNKNOWN;
	(void)thread_identity(tgid, &group, &a->uid); /* not known then */
	thread_comm(tgid, a->comm);
	if (!a->tid || thread_syscall(a->tid, &line) < 0)
		return false;
	in.context = thread_context(a->tid);
	a->syscall = line.number;
	a->syscall_hash = line.hash;
	if (in.context != DECODE_CONTEXT_CALL)
		return false;
#ifdef SYS_truncate
	if (line.number == SYS_truncate)
		in.event = DECODE_PRE_ACCESS;
#endif
	decode(&in, &out);
	a->opaque = out.opaque;
	a->maps = out.maps;
	if (out.harmless)
		return !writes;
	a->cause = out.cause;
	return false;
}

static void add(struct guard_lease_waiters *w, int32_t tgid, bool writes)
{
	struct guard_attempt a;

	if (w->count == 0) {
		w->reads = look_at_waiter(tgid, writes, &w->first);
		w->count = 1;
		return;
	}
	/* What several want is decided for none of them alone. */
	if (tgid != w->first.tgid && ++w->count <= WAITERS_MAX && w->reads)
		w->reads = look_at_waiter(tgid, writes, &a);
	w->reads &= !writes && w->count <= WAITERS_MAX;
	w->first.opaque = true;
	w->first.tid = 0;
	w->first.syscall_hash = 0;
}

void guard_lease_waiters(uint64_t dev, uint64_t ino, struct guard_lease_waiters *waiters)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[256], type[16];
	bool ours = false;
	int32_t tgid;

	*waiters = (struct guard_lease_waiters){
		.first = {.syscall = -1, .uid = UINT32_MAX, .opaque = true}};
	if (!locks)
		return;
	for (unsigned i = 0; i < LINES_MAX && fgets(line, sizeof(line), locks); i++) {
		if (!strstr(line, "-> "))
			ours = is_lease_on(line, dev, ino);
		else if (ours && sscanf(line, "%*s -> LEASE BREAKER %15s %d", type, &tgid) == 2)
			add(waiters, tgid, strcmp(type, "READ") != 0);
	}
	(void)fclose(locks); /* nothing was written */
}
