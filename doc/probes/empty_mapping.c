// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Taking a mapping away without a descriptor: mremap(2) with an old size of 0 duplicates a shared mapping, here
 * one page of an empty memfd, over any range, at once; each access is then SIGBUS, BUS_ADRERR. And where it fails:
 * with a locked reserve beyond RLIMIT_MEMLOCK, and near RLIMIT_AS. usage: empty_mapping
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH (64ul << 20)

static sigjmp_buf fault;
static int code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	code = sig * 100 + info->si_code;
	siglongjmp(fault, 1);
}

static char *shared(size_t length, size_t size)
{
	int fd = memfd_create("probe", 0);
	char *map;

	if (ftruncate(fd, (off_t)size) < 0)
		return NULL;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return map;
}

static void replace(const char *what, char *reserve, char *target)
{
	void *at = mremap(reserve, 0, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	int error = errno;

	code = 0;
	if (sigsetjmp(fault, 1) == 0)
		*(volatile char *)(target + LENGTH / 2) = 1;
	printf("%-36s %s; a write then: %s\n", what, at == target ? "ok" : strerror(error),
	       code == SIGBUS * 100 + BUS_ADRERR ? "SIGBUS, BUS_ADRERR" : code ? "another signal" : "goes through");
}

static void in_child(void (*run)(void))
{
	if (fork() == 0) {
		run();
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void plain(void)
{
	replace("plain", shared(4096, 0), shared(LENGTH, LENGTH));
}

static void dont_fork(void)
{
	char *target = shared(LENGTH, LENGTH);

	madvise(target, LENGTH, MADV_DONTFORK);
	mlock(target, 1 << 20);
	replace("target MADV_DONTFORK, partly locked", shared(4096, 0), target);
}

static void locked(void)
{
	char *reserve = shared(4096, 0), *target = shared(LENGTH, LENGTH);
	struct rlimit limit = {8 << 20, 8 << 20};

	mlock(reserve, 4096);
	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (setuid(65534) < 0)
		return;
	replace("reserve locked, RLIMIT_MEMLOCK 8 MiB", reserve, target);
	munlock(reserve, 4096);
	replace("the same, unlocked before", reserve, target);
}

static void address_space(void)
{
	char *reserve = shared(4096, 0), *target = shared(LENGTH, LENGTH);
	struct rlimit limit = {100 << 20, 100 << 20};

	setrlimit(RLIMIT_AS, &limit);
	replace("near RLIMIT_AS", reserve, target);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	in_child(plain);
	in_child(dont_fork);
	in_child(locked);
	in_child(address_space);
	return 0;
}
