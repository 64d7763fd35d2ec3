/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls as a 32-bit program makes them, int 0x80: their numbers mean other calls in
 * /proc/TID/syscall. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

#ifdef __x86_64__
/* arch/x86/entry/syscalls/syscall_32.tbl */
enum {
	I386_WRITE = 4,
	I386_OPEN = 5,
	I386_CREAT = 8,
	I386_TRUNCATE = 92,
	I386_FTRUNCATE = 93,
	I386_PWRITE64 = 181,
	I386_FTRUNCATE64 = 194,
	I386_FALLOCATE = 324,
};

static long i386(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
		 uint64_t f)
{
	register uint64_t six __asm__("r12") = f;
	long ret = number;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* behind the red zone */
			 "push %%rbp\n\t"
			 "mov %%r12, %%rbp\n\t"
			 "int $0x80\n\t"
			 "pop %%rbp\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "+a"(ret)
			 : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "r"(six)
			 : "memory", "r8", "r9", "r10", "r11", "r13", "r14", "r15", "cc");
	ret = (int)ret;
	if (ret < 0) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}
#else
static long i386(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
		 uint64_t f)
{
	(void)number, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	errno = ENOSYS;
	return -1;
}
#endif

/* Where a 32-bit address can point; `text` is copied there. */
static uint64_t low_memory(const char *text)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (page == MAP_FAILED)
		_exit(3);
	snprintf(page, PAGE, "%s", text);
	return (uintptr_t)page;
}

long act_i386_write(struct breaker *b)
{
	return lseek(b->fd, (off_t)b->argument, SEEK_SET) < 0
		       ? -1
		       : i386(I386_WRITE, (uint64_t)b->fd, low_memory("i386"), 4, 0, 0, 0);
}

long act_i386_pwrite(struct breaker *b)
{
	return i386(I386_PWRITE64, (uint64_t)b->fd, low_memory("i386"), 4, b->argument, 0, 0);
}

long act_i386_truncate(struct breaker *b)
{
	return i386(I386_TRUNCATE, low_memory(b->path), b->argument, 0, 0, 0, 0);
}

long act_i386_ftruncate(struct breaker *b)
{
	return i386(I386_FTRUNCATE, (uint64_t)b->fd, b->argument, 0, 0, 0, 0);
}

long act_i386_ftruncate64(struct breaker *b)
{
	return i386(I386_FTRUNCATE64, (uint64_t)b->fd, b->argument, 0, 0, 0, 0);
}

long act_i386_fallocate(struct breaker *b)
{
	return i386(I386_FALLOCATE, (uint64_t)b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    b->argument, 0, PAGE, 0);
}

long act_i386_open_trunc(struct breaker *b)
{
	return i386(I386_OPEN, low_memory(b->path), O_WRONLY | O_TRUNC, 0, 0, 0, 0);
}

long act_i386_creat(struct breaker *b)
{
	return i386(I386_CREAT, low_memory(b->path), 0600, 0, 0, 0, 0);
}
