// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_hook.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libshim/shim_fork.h"

__thread int shim_inside __attribute__((tls_model("initial-exec")));

void hook_enter(struct hook *hook)
{
	sigset_t all;

	hook->error = errno;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &hook->signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &hook->cancel);
	shim_inside++;
}

void hook_leave(const struct hook *hook)
{
	shim_inside--;
	pthread_setcancelstate(hook->cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &hook->signals, NULL);
	errno = hook->error;
}

/* --- behind the hooks ------------------------------------------------------------------------ */

/* Written once, before the program has threads; read without a lock. */
static void *(*next_mmap)(void *, size_t, int, int, int, off_t);
static int (*next_munmap)(void *, size_t);
static void *(*next_mremap)(void *, size_t, size_t, int, ...);
static int (*next_madvise)(void *, size_t, int);

void real_bind(void)
{
	*(void **)&next_mmap = dlsym(RTLD_NEXT, "mmap");
	*(void **)&next_munmap = dlsym(RTLD_NEXT, "munmap");
	*(void **)&next_mremap = dlsym(RTLD_NEXT, "mremap");
	*(void **)&next_madvise = dlsym(RTLD_NEXT, "madvise");
}

void *real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (next_mmap)
		return next_mmap(addr, length, prot, flags, fd, offset);
	/* an allocator that is initialised before us: its fork handlers shall come after ours */
	fork_follow();
	return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

int real_munmap(void *addr, size_t length)
{
	if (next_munmap)
		return next_munmap(addr, length);
	return (int)syscall(SYS_munmap, addr, length);
}

void *real_mremap(void *old, size_t old_size, size_t new_size, int flags, void *addr)
{
	if (next_mremap)
		return next_mremap(old, old_size, new_size, flags, addr);
	return (void *)syscall(SYS_mremap, old, old_size, new_size, flags, addr);
}

int real_madvise(void *addr, size_t length, int advice)
{
	if (next_madvise)
		return next_madvise(addr, length, advice);
	return (int)syscall(SYS_madvise, addr, length, advice);
}

/* --- words ----------------------------------------------------------------------------------- */

bool say_quiet;

/* Between poll(2) and write(2) another thread can fill the pipe. Terminals know no RWF_NOWAIT. */
static void write_line(const char *line, size_t length)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)line, .iov_len = length};
	ssize_t written = pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT);

	if (written < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		written = write(STDERR_FILENO, line, length);
	(void)written; /* there is nobody to tell */
}

void say(const char *format, ...)
{
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[1024];
	_Static_assert(sizeof(line) <= PIPE_BUF, "a line is written whole or not at all");
	int length, more, saved = errno;
	va_list args;

	if (say_quiet)
		return;
	length = snprintf(line, sizeof(line), "daxlease: ");
	va_start(args, format);
	more = vsnprintf(line + length, sizeof(line) - (size_t)length, format, args);
	va_end(args);
	if (more < 0)
		return;
	length += more;
	if ((size_t)length > sizeof(line) - 2)
		length = (int)sizeof(line) - 2;
	line[length++] = '\n';
	/* A terminal or pipe that nobody reads must not hold up a revocation. */
	if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT))
		write_line(line, (size_t)length);
	errno = saved;
}

bool say_first(unsigned kind, unsigned long long dev, unsigned long long ino)
{
	static uint64_t said[64];
	uint64_t hash = (dev * 31 + ino) * 31 + kind, bit;

	hash *= 0x9e3779b97f4a7c15u;
	hash >>= 52; /* 12 bits: 64 words of 64 */
	bit = UINT64_C(1) << (hash & 63);
	return !(__atomic_fetch_or(&said[hash >> 6], bit, __ATOMIC_RELAXED) & bit);
}
