/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every hook of the shim begins and ends with, and the functions behind the hooks. May
 * include: libc; of the shim only shim_fork.h, to be registered early.
 *
 * A hook that takes a lock blocks all signals first: a handler that maps memory would otherwise
 * wait for its own thread. It also turns cancellation off, since mmap(2) is no cancellation point
 * but sendmsg(2) is. `shim_inside` is set then: what the C library maps on our behalf goes straight
 * through.
 */
#ifndef DAXLEASE_SHIM_HOOK_H
#define DAXLEASE_SHIM_HOOK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SHIM_EXPORT __attribute__((visibility("default")))

/* initial-exec: a dynamic TLS access may allocate */
extern __thread int shim_inside __attribute__((tls_model("initial-exec")));

struct hook {
	sigset_t signals;
	int cancel;
	int error; /* errno as it was; hook_leave() puts it back */
};

void hook_enter(struct hook *hook);
void hook_leave(const struct hook *hook);

/* The next definitions behind ours; before they are bound, and where there are none, the system
 * calls. */
void real_bind(void); /* once, from the constructor */
void *real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int real_munmap(void *addr, size_t length);
void *real_mremap(void *old, size_t old_size, size_t new_size, int flags, void *addr);
int real_madvise(void *addr, size_t length, int advice);

/* A line on stderr, "daxlease: " before it; dropped rather than waited for. DAXLEASE_QUIET silences
 * it. */
extern bool say_quiet;
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* True once for each subject (a file, a kind of message); two subjects may, rarely, share one
 * answer. */
bool say_first(unsigned kind, unsigned long long dev, unsigned long long ino);

enum say_kind {
	SAY_UNLEASED = 1,
	SAY_GROWN,
	SAY_LOST,
	SAY_CHILD,
	SAY_NO_ODP,
	SAY_UNLEASED_MR,
	SAY_REQUIRED,
	SAY_UNCOVERED,
	SAY_TAKEN
};

#endif
