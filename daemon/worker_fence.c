/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Replacing what another process maps (C18): one of its threads is stopped with ptrace(2) and made
 * to create an empty memfd and to map that over the ranges; then the thread goes on where it was.
 * The process need not run otherwise: it may be stopped by a signal, and still is afterwards. What
 * shares its memory loses the mappings as well. That it worked is read from /proc/PID/maps.
 *
 * It must be safe to be killed here at any instant, and to be wrong:
 *   - Until a thread's registers or signal mask are changed the kernel lets go of it by itself when
 *     its tracer ends.
 *   - While they are changed PTRACE_O_EXITKILL is on: if the tracer ends, so does the process. That
 *     is what comes next anyway when the replacement fails.
 *   - The thread is given back in the same kind of stop in which it was taken (PTRACE_EVENT_STOP, on
 *     its way to deliver signals), with the same registers: the kernel then restarts the system call
 *     it was in as if it had only been stopped.
 *   - No instruction of the process runs but one `syscall` that it has already, each time with the
 *     arguments that are compared when it enters the kernel. Nothing is written to its memory, its
 *     stack is not used, all its signals are blocked.
 *   - A thread inside a restartable sequence (rseq(2)) is left alone, since the kernel would forget
 *     that it was in one; so is one that runs 32-bit code.
 */
#include "daemon/worker_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __x86_64__

#define NS_PER_S UINT64_C(1000000000)
#define PATIENCE_NS                                                                                \
	UINT64_C(10000000)	   /* with one thread, before the next is asked to stop as well */
#define LISTENER "daxlease"	   /* the shim's thread: it waits for us, and does nothing else */
#define USER_CS 0x33		   /* of 64-bit code */
#define PF_NO_PROGRAM 0x00204010ul /* PF_KTHREAD, PF_USER_WORKER, PF_IO_WORKER: linux/sched.h */
#define VDSO_SIZE 8192u
#define PAGE UINT64_C(4096)
#define AT_SYSINFO_EHDR_TAG 33 /* elf.h: AT_SYSINFO_EHDR */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* linux/memfd.h, 6.3 */
#endif

struct fence {
	const struct worker_order *order;
	struct worker_result *result;
	uint64_t until_ns;
	uint64_t
		stop_until_ns; /* earlier: those that do not stop must not keep workers from others */
	int pidfd, tasks;
	bool listener_only; /* this pass over the threads */
	unsigned seized;    /* asked to stop */
	int untraced;	    /* why one could not be traced */
	int refused;	    /* why one that stopped cannot be used */

	/* The one that stopped. */
	int32_t tid;
	struct user_regs_struct regs;
	uint64_t mask;	      /* its blocked signals */
	uint64_t instruction; /* where there is a `syscall` */
	uint64_t name;	      /* where there is a 0 byte: the memfd's name */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int fail(struct fence *f, enum worker_fence_step step, int error)
{
	f->result->fence.step = step;
	f->result->error = error;
	return error;
}

/* --- stopping a thread ------------------------------------------------------------------------ */

/* The next thread (tid -1: any that is traced) that has stopped or ended: its number, 0: late. */
static int32_t next_stop(int32_t tid, uint64_t until_ns, int *status)
{
	for (uint64_t pause_ns = 20000;; pause_ns = pause_ns < 1000000 ? pause_ns * 2 : pause_ns) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got > 0)
			return got;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (now_ns() >= until_ns)
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = (long)pause_ns}, NULL);
	}
}

static bool is_event_stop(int status)
{
	return WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP;
}

static bool peek(int32_t tid, uint64_t address, void *to, size_t size)
{
	struct iovec local = {to, size}, remote = {(void *)(uintptr_t)address, size};

	return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* Is it where an operation must be abandoned if the thread is disturbed? In a system call it is not. */
static bool in_restartable_sequence(const struct fence *f)
{
	struct __ptrace_rseq_configuration rseq = {0};
	uint64_t sequence = 0;

	if ((int64_t)f->regs.orig_rax >= 0 ||
	    ptrace(PTRACE_GET_RSEQ_CONFIGURATION, f->tid, (void *)sizeof(rseq), &rseq) < 0 ||
	    !rseq.rseq_abi_pointer)
		return false;
	/* struct rseq: two words of 32 bits, then the present sequence */
	return !peek(f->tid, rseq.rseq_abi_pointer + 8, &sequence, sizeof(sequence)) || sequence;
}

/* The page of code at `address`: is there a `syscall`, and a byte 0? */
static bool search_code(struct fence *f, uint64_t address, size_t size)
{
	static const unsigned char syscall_code[] = {0x0f, 0x05};
	unsigned char code[VDSO_SIZE];
	const unsigned char *found, *zero;

	if (!peek(f->tid, address, code, size))
		return false;
	zero = memchr(code, 0, size);
	found = memmem(code, size, syscall_code, sizeof(syscall_code));
	if (!zero || !found)
		return false;
	f->name = address + (uint64_t)(zero - code);
	f->instruction = address + (uint64_t)(found - code);
	return true;
}

static uint64_t vdso_address(const struct fence *f)
{
	struct {
		uint64_t tag, value;
	} entry;
	char path[32];
	int fd;

	worker_proc_path(path, f->tid, "/auxv");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	do {
		if (read(fd, &entry, sizeof(entry)) != (ssize_t)sizeof(entry))
			entry.tag = 0;
	} while (entry.tag && entry.tag != AT_SYSINFO_EHDR_TAG);
	close(fd);
	return entry.tag ? entry.value : 0;
}

/* Where it has just made a system call, else in the vdso. */
static bool find_instruction(struct fence *f)
{
	uint64_t vdso;

	if ((int64_t)f->regs.orig_rax >= 0 &&
	    search_code(f, (f->regs.rip - 2) & ~(PAGE - 1), (size_t)PAGE))
		return true;
	vdso = vdso_address(f);
	return vdso && (search_code(f, vdso, VDSO_SIZE) || search_code(f, vdso, (size_t)PAGE));
}

/* Whether the stopped thread can be used: 0 or -errno. It is one of the process, which lives: its
 * number cannot have become another's since it is traced. */
static int take(struct fence *f, int32_t tid)
{
	struct __ptrace_syscall_info info;
	struct pollfd dead = {.fd = f->pidfd, .events = POLLIN};

	f->tid = tid;
	if (poll(&dead, 1, 0) != 0)
		return -ESRCH;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &f->regs) < 0 ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(f->mask), &f->mask) < 0)
		return -errno;
	if (f->regs.cs != USER_CS || info.arch != AUDIT_ARCH_X86_64)
		return -ENOEXEC;
	if (in_restartable_sequence(f))
		return -EAGAIN;
	return find_instruction(f) ? 0 : -ENOEXEC;
}

/* Waits for one of those that were asked. 1: it is ours; 0: none yet; -errno: give up. */
static int collect(struct fence *f, uint64_t until_ns)
{
	int32_t tid;
	int status, rc;

	if (until_ns > f->stop_until_ns)
		until_ns = f->stop_until_ns;
	while (f->seized && (tid = next_stop(-1, until_ns, &status)) > 0) {
		if (!WIFSTOPPED(status)) {
			f->seized--;
			continue;
		}
		if (!is_event_stop(status)) { /* a signal came first: it gets that */
			ptrace(PTRACE_CONT, tid, NULL, (void *)(long)WSTOPSIG(status));
			continue;
		}
		rc = take(f, tid);
		if (rc == 0)
			return 1;
		ptrace(PTRACE_DETACH, tid, NULL, NULL);
		f->seized--;
		f->refused = rc;
		f->tid = 0;
	}
	return now_ns() >= f->stop_until_ns ? -ETIMEDOUT : 0;
}

/* What a file of a thread says, terminated; its length. */
static size_t read_of(const struct fence *f, const char *tid, const char *name, char *to,
		      size_t size)
{
	char path[64];
	size_t length = strlen(tid);
	ssize_t got = -1;
	int fd;

	memcpy(path, tid, length);
	memcpy(path + length, name, strlen(name) + 1);
	fd = openat(f->tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, to, size - 1);
		close(fd);
	}
	to[got > 0 ? got : 0] = '\0';
	return got > 0 ? (size_t)got : 0;
}

static bool is_listener(const struct fence *f, const char *tid)
{
	char comm[32];

	return read_of(f, tid, "/comm", comm, sizeof(comm)) && strcmp(comm, LISTENER "\n") == 0;
}

/* Threads that the kernel works in for the process, as io_uring's, never come back to the program. */
static bool runs_program(const struct fence *f, const char *tid)
{
	char stat[512], *at;
	unsigned long flags = 0;

	if (!read_of(f, tid, "/stat", stat, sizeof(stat)) || !(at = strrchr(stat, ')')))
		return false;
	for (int blanks = 0; blanks < 7 && *at; at++) /* ") S ppid pgrp session tty tpgid flags" */
		blanks += *at == ' ';
	while (*at >= '0' && *at <= '9')
		flags = flags * 10 + (unsigned long)(*at++ - '0');
	return flags && !(flags & PF_NO_PROGRAM);
}

/* Asks one thread to stop, and takes the first that does. */
static int ask(void *arg, const char *name)
{
	struct fence *f = arg;
	int32_t tid = 0;

	if (is_listener(f, name) != f->listener_only || !runs_program(f, name))
		return 0;
	for (const char *c = name; *c >= '0' && *c <= '9' && tid < INT32_MAX / 10 - 1; c++)
		tid = tid * 10 + (*c - '0');
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
		if (errno != ESRCH)
			f->untraced = -errno;
		return 0;
	}
	/* a stranger may have got the number; from now on whoever has it keeps it */
	if (faccessat(f->tasks, name, F_OK, 0) < 0)
		return 0;
	f->seized++;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return 0;
	return collect(f, now_ns() + PATIENCE_NS);
}

/* The listener first: what it does is not disturbed by a stop. One that waits in fanotify does not
 * stop; another may. */
static int stop_one(struct fence *f)
{
	int rc;

	f->listener_only = true;
	rc = worker_each_thread(f->tasks, ask, f);
	f->listener_only = false;
	if (rc == 0)
		rc = worker_each_thread(f->tasks, ask, f);
	if (rc == 0)
		rc = collect(f, UINT64_MAX);
	if (rc == 1)
		return 0;
	if (rc < 0 || f->seized)
		return fail(f, WORKER_FENCE_STOP, rc < 0 ? rc : -ETIMEDOUT);
	if (f->refused || !f->untraced)
		return fail(f, WORKER_FENCE_STOP, f->refused ? f->refused : -ESRCH);
	return fail(f, WORKER_FENCE_SEIZE, f->untraced);
}

/* --- system calls in it ----------------------------------------------------------------------- */

/* Lets it run until it enters the kernel for a system call, or leaves it. 0 or -errno. */
static int run_to(struct fence *f, uint8_t where, struct __ptrace_syscall_info *info)
{
	int32_t tid;
	int status;

	for (long signal = 0;;) {
		if (ptrace(PTRACE_SYSCALL, f->tid, NULL, (void *)signal) < 0)
			return -errno;
		tid = next_stop(f->tid, f->until_ns, &status);
		if (tid <= 0)
			return tid < 0 ? tid : -ETIMEDOUT;
		if (!WIFSTOPPED(status))
			return -ESRCH;
		signal = 0;
		if (is_event_stop(
			    status)) /* others stop the process meanwhile: it stays so later */
			continue;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			break;
		if (WSTOPSIG(status) !=
		    SIGSTOP) /* a seccomp filter's SIGSYS: all others are blocked */
			return -EACCES;
		signal = SIGSTOP;
	}
	if (ptrace(PTRACE_GET_SYSCALL_INFO, f->tid, (void *)sizeof(*info), info) < 0)
		return -errno;
	return info->op == where ? 0 : -EPROTO;
}

struct call {
	uint64_t number, args[6];
};

/* Makes it do that. 0 and *ret, which can be an error of the call; -errno: it is out of hand. */
static int call(struct fence *f, const struct call *wanted, int64_t *ret)
{
	struct user_regs_struct regs = f->regs;
	struct __ptrace_syscall_info info;
	int rc;

	regs.rip = f->instruction;
	regs.rax = wanted->number;
	regs.orig_rax = (unsigned long long)-1; /* nothing is to be restarted */
	regs.rdi = wanted->args[0];
	regs.rsi = wanted->args[1];
	regs.rdx = wanted->args[2];
	regs.r10 = wanted->args[3];
	regs.r8 = wanted->args[4];
	regs.r9 = wanted->args[5];
	if (ptrace(PTRACE_SETREGS, f->tid, NULL, &regs) < 0)
		return -errno;
	rc = run_to(f, PTRACE_SYSCALL_INFO_ENTRY, &info);
	if (rc < 0)
		return rc;
	if (info.entry.nr != wanted->number ||
	    memcmp(info.entry.args, wanted->args, sizeof(wanted->args)) != 0)
		return -EPROTO;
	rc = run_to(f, PTRACE_SYSCALL_INFO_EXIT, &info);
	*ret = info.exit.rval;
	return rc;
}

/* From here on its end is ours. */
static int begin_calls(struct fence *f)
{
	uint64_t all = UINT64_MAX;

	f->result->fence.tid = f->tid;
	return ptrace(PTRACE_SETOPTIONS, f->tid, NULL,
		      (void *)(long)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) < 0 ||
			       ptrace(PTRACE_SETSIGMASK, f->tid, (void *)sizeof(all), &all) < 0
		       ? -errno
		       : 0;
}

/* As it was: see above. */
static int let_go(struct fence *f)
{
	int32_t tid;
	int status;

	if (ptrace(PTRACE_INTERRUPT, f->tid, NULL, NULL) < 0)
		return -errno;
	for (long signal = 0;;) {
		if (ptrace(PTRACE_CONT, f->tid, NULL, (void *)signal) < 0)
			return -errno;
		tid = next_stop(f->tid, f->until_ns, &status);
		if (tid <= 0)
			return tid < 0 ? tid : -ETIMEDOUT;
		if (!WIFSTOPPED(status))
			return -ESRCH;
		if (is_event_stop(status))
			break;
		if (WSTOPSIG(status) != SIGSTOP)
			return -EACCES;
		signal = SIGSTOP;
	}
	if (ptrace(PTRACE_SETREGS, f->tid, NULL, &f->regs) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, f->tid, (void *)sizeof(f->mask), &f->mask) < 0 ||
	    ptrace(PTRACE_SETOPTIONS, f->tid, NULL, NULL) < 0 ||
	    ptrace(PTRACE_DETACH, f->tid, NULL, NULL) < 0)
		return -errno;
	return 0;
}

/* --- replacing -------------------------------------------------------------------------------- */

static int create_memfd(struct fence *f, int64_t *memfd)
{
	struct call create = {SYS_memfd_create, {f->name, MFD_CLOEXEC | MFD_NOEXEC_SEAL}};
	int rc = call(f, &create, memfd);

	if (rc < 0 || *memfd != -EINVAL)
		return rc;
	create.args[1] = MFD_CLOEXEC; /* before 6.3 */
	return call(f, &create, memfd);
}

/* Until there are none. 0, with *error 0 or that of a call; -errno: it is out of hand. */
static int replace_all(struct fence *f, int64_t memfd, int64_t *error)
{
	struct worker_mapping part, last = {0};
	int found;

	while ((found = worker_maps(f->tid, &f->order->job, &part)) == 1) {
		struct call map = {
			SYS_mmap,
			{part.start, part.end - part.start, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, (uint64_t)memfd, 0},
		};
		int64_t mapped;
		int rc;

		if (!part.end || (part.start == last.start && part.end == last.end)) {
			*error = -EADDRINUSE; /* it is there again */
			return 0;
		}
		rc = call(f, &map, &mapped);
		if (rc < 0)
			return rc;
		if (mapped != (int64_t)part.start) {
			*error = mapped < 0 ? mapped : -EPROTO;
			return 0;
		}
		f->result->fence.replaced++;
		last = part;
	}
	*error = found;
	return 0;
}

/* 0, with *error 0 or that of a call; -errno: it is out of hand. */
static int replace(struct fence *f, int64_t *error)
{
	struct call shut = {SYS_close, {0}};
	int64_t memfd, ignored;
	int rc = create_memfd(f, &memfd);

	if (rc < 0)
		return rc;
	*error = memfd;
	if (memfd < 0)
		return 0;
	rc = replace_all(f, memfd, error);
	shut.args[0] = (uint64_t)memfd;
	return rc < 0 ? rc : call(f, &shut, &ignored);
}

static int replace_in_thread(struct fence *f)
{
	int64_t error = 0;
	int rc = begin_calls(f);

	if (rc == 0)
		rc = replace(f, &error);
	if (rc < 0)
		return fail(f, WORKER_FENCE_CALL, rc); /* the end of this process will be its end */
	rc = let_go(f);
	if (rc < 0)
		return fail(f, WORKER_FENCE_LET_GO, rc);
	return error < 0 ? fail(f, WORKER_FENCE_CALL, (int)error) : 0;
}

/* Its /proc/PID/task, if it is the process of the pidfd. */
static int open_tasks(struct fence *f)
{
	struct pollfd dead = {.fd = f->pidfd, .events = POLLIN};
	char path[32];

	worker_proc_path(path, f->order->job.pid, "/task");
	f->tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->tasks < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return poll(&dead, 1, 0) == 0 ? 0 : -ESRCH;
}

/* Proven: nothing is found, in a process that is still ours and has memory. Of one that is ending there may be others
 * who share it: then its end tells. */
static bool prove(struct fence *f)
{
	struct worker_mapping seen;
	int rc = worker_maps(f->order->job.pid, &f->order->job, &seen);
	struct pollfd dead = {.fd = f->pidfd, .events = POLLIN};

	if (rc == 0 && (!seen.lines || poll(&dead, 1, 0) != 0))
		rc = -ESRCH;
	if (rc < 0)
		fail(f, WORKER_FENCE_LOOK, rc);
	if (rc != 0)
		return false;
	f->result->error = 0;
	f->result->mapped = false;
	f->result->fence.step = WORKER_FENCE_PROVEN;
	return true;
}

static void work(struct fence *f)
{
	int rc = open_tasks(f);

	if (rc < 0) {
		fail(f, WORKER_FENCE_LOOK, rc);
		return;
	}
	if (prove(f) || f->result->error || stop_one(f) < 0 || replace_in_thread(f) < 0)
		return;
	if (!prove(f) && !f->result->error)
		fail(f, WORKER_FENCE_CALL, -EADDRINUSE);
}

void worker_fence(const struct worker_order *order, int pidfd, struct worker_result *result)
{
	uint64_t now = now_ns(), limit = order->limit_ns > now ? order->limit_ns - now : 0;
	struct fence f = {
		.order = order,
		.result = result,
		.until_ns = now + limit / 4 * 3, /* the rest is for the answer to arrive */
		.stop_until_ns = now + limit / 3,
		.pidfd = pidfd,
		.tasks = -1,
	};

	result->mapped = true;
	if (order->job.pretend) {
		result->mapped = false;
		result->fence.step = WORKER_FENCE_PROVEN;
		return;
	}
	if (pidfd < 0 || order->job.pid <= 0) {
		fail(&f, WORKER_FENCE_LOOK, -EBADF);
		return;
	}
	work(&f);
	if (f.tasks >= 0)
		close(f.tasks);
}

#else

void worker_fence(const struct worker_order *order, int pidfd, struct worker_result *result)
{
	(void)order;
	(void)pidfd;
	result->mapped = true;
	result->error = -EOPNOTSUPP;
	result->fence.step = WORKER_FENCE_STOP;
}

#endif
