// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/inherit.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNMARKED UINT32_MAX

static uint32_t *word;	    /* in the page; written once */
static uint32_t unwiped;    /* without memory for a page, or on a kernel that cannot: no protection */
static uint32_t generation; /* inherited, so that no two marks in a line of processes are equal */

/* Marked before it is there for others to see: one that they saw empty would be a copy's to them. */
static uint32_t *make_word(uint32_t mark)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	long mapped = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
	uint32_t *fresh = &unwiped, *before = NULL;

	if (mapped != -1 && syscall(SYS_madvise, mapped, size, MADV_WIPEONFORK) == 0)
		fresh = (uint32_t *)mapped;
	else if (mapped != -1)
		syscall(SYS_munmap, mapped, size);
	__atomic_store_n(fresh, mark, __ATOMIC_RELAXED);
	if (__atomic_compare_exchange_n(&word, &before, fresh, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return fresh;
	if (fresh != &unwiped)
		syscall(SYS_munmap, mapped, size);
	return before;
}

uint32_t inherit_mark(void)
{
	uint32_t *at = __atomic_load_n(&word, __ATOMIC_ACQUIRE), before = 0, mark;

	mark = __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED);
	if (!at)
		at = make_word(mark);
	if (__atomic_compare_exchange_n(at, &before, mark, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return mark;
	return before;
}

uint32_t inherit_now(void)
{
	const uint32_t *at = __atomic_load_n(&word, __ATOMIC_ACQUIRE);

	return at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : UNMARKED;
}
