// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libshim/arena.h"
#include "libshim/shim_fork.h"
#include "libshim/shim_session.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* CLOCK_MONOTONIC; made by table_reserve() */

static struct tree mappings;
static struct tree files;
static struct arena mapping_arena = ARENA_INIT(struct mapping);
static struct arena file_arena = ARENA_INIT(struct map_file);
static uint64_t tickets;

/* What all mappings lie in: the fast answer for memory that is not ours. Only grows while there are
 * any. */
static _Atomic uint64_t hull_start = UINT64_MAX, hull_end;

static char *reserve; /* one page of an empty memfd: what a revoked mapping is replaced by */
static size_t page;

void table_lock_bare(void)
{
	pthread_mutex_lock(&lock);
}

void table_unlock_bare(void)
{
	pthread_mutex_unlock(&lock);
}

void table_lock(struct hook *hook)
{
	hook_enter(hook);
	fork_notice();
	table_lock_bare();
}

void table_unlock(const struct hook *hook)
{
	table_unlock_bare();
	hook_leave(hook);
}

bool table_wait(uint64_t deadline_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline_ns / 1000000000u),
		.tv_nsec = (long)(deadline_ns % 1000000000u),
	};

	return pthread_cond_timedwait(&changed, &lock, &until) == 0;
}

void table_wake(void)
{
	pthread_cond_broadcast(&changed);
}

bool table_hits(const void *addr, size_t length)
{
	uint64_t start = (uintptr_t)addr;

	return start < atomic_load_explicit(&hull_end, memory_order_acquire) && length > 0 &&
	       start + length > atomic_load_explicit(&hull_start, memory_order_acquire);
}

static struct mapping *mapping_of(struct tree_node *node)
{
	return (struct mapping *)node;
}

struct mapping *table_first(uint64_t start, uint64_t end)
{
	struct tree_node *node = tree_find(&mappings, 0, 0, start);

	return node && node->start < end ? mapping_of(node) : NULL;
}

struct mapping *table_next(const struct mapping *mapping)
{
	return mapping_of(tree_next(&mapping->node));
}

struct mapping *table_begin(void)
{
	return mapping_of(tree_first(&mappings));
}

bool table_has(uint64_t start, uint64_t end)
{
	struct hook hook;
	bool found;

	if (!table_hits((void *)(uintptr_t)start, end - start))
		return false;
	table_lock(&hook);
	found = table_first(start, end) != NULL;
	table_unlock(&hook);
	return found;
}

static void name_file(struct map_file *file, int fd)
{
	char link[32], path[4096];
	ssize_t length;

	snprintf(file->path, sizeof(file->path), "inode %llu", (unsigned long long)file->node.ino);
	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path));
	if (length <= 0)
		return;
	if ((size_t)length < sizeof(file->path)) {
		memcpy(file->path, path, (size_t)length);
		file->path[length] = '\0';
	} else {
		size_t tail = sizeof(file->path) - 4;

		memcpy(file->path, "...", 3);
		memcpy(file->path + 3, path + length - tail, tail);
		file->path[sizeof(file->path) - 1] = '\0';
	}
}

static struct map_file *file_get(uint64_t dev, uint64_t ino, int fd)
{
	struct map_file *file = (struct map_file *)tree_find(&files, dev, ino, 0);

	if (!file) {
		file = arena_alloc(&file_arena);
		if (!file)
			return NULL;
		file->node.dev = dev;
		file->node.ino = ino;
		file->node.end = 1;
		name_file(file, fd);
		tree_insert(&files, &file->node);
	}
	file->mappings++;
	return file;
}

static void file_put(struct map_file *file)
{
	if (--file->mappings > 0)
		return;
	tree_erase(&files, &file->node);
	arena_free(&file_arena, file);
}

static void widen_hull(uint64_t start, uint64_t end)
{
	if (start < atomic_load(&hull_start))
		atomic_store(&hull_start, start);
	if (end > atomic_load(&hull_end))
		atomic_store(&hull_end, end);
}

struct mapping *table_add(uint64_t start, uint64_t end, uint64_t dev, uint64_t ino, uint64_t offset,
			  int fd)
{
	struct mapping *mapping;

	/* two more: taking it away in parts must not fail for want of memory */
	if (arena_reserve(&mapping_arena, 3) < 0)
		return NULL;
	mapping = arena_alloc(&mapping_arena);
	mapping->file = file_get(dev, ino, fd);
	if (!mapping->file) {
		arena_free(&mapping_arena, mapping);
		return NULL;
	}
	mapping->node.start = start;
	mapping->node.end = end;
	mapping->offset = offset;
	mapping->ticket = ++tickets;
	mapping->state = MAP_PENDING;
	tree_insert(&mappings, &mapping->node);
	widen_hull(start, end);
	return mapping;
}

static int cut_at(uint64_t at)
{
	struct mapping *mapping = table_first(at, UINT64_MAX), *tail;

	if (!mapping || mapping->node.start >= at)
		return 0;
	tail = arena_alloc(&mapping_arena);
	if (!tail)
		return -ENOMEM;
	tail->file = mapping->file;
	tail->file->mappings++;
	tail->offset = map_offset(mapping, at);
	tail->ticket = mapping->ticket;
	tail->state = mapping->state;
	tail->breaking = mapping->breaking;
	tail->fsdax = mapping->fsdax;
	tail->zombie = mapping->zombie;
	tail->dont_fork = mapping->dont_fork;
	tail->slack = mapping->slack;
	mapping->slack = 0;
	tree_split(&mappings, &mapping->node, &tail->node, at);
	return 0;
}

int table_cut(uint64_t start, uint64_t end)
{
	int error = cut_at(start);

	return error < 0 ? error : cut_at(end);
}

int table_cut_file(struct mapping *mapping, uint64_t start, uint64_t end)
{
	uint64_t from = mapping->node.start, to = mapping->node.end;
	uint64_t first = mapping->offset, last = map_offset_end(mapping);

	if (start > first)
		from += start - first;
	if (end < last)
		to -= last - end;
	return table_cut(from, to);
}

void table_remove(struct mapping *mapping, bool drop)
{
	if (drop && mapping->state == MAP_LEASED)
		coverage_drop(&session.coverage, mapping->file->node.dev, mapping->file->node.ino,
			      mapping->offset, map_offset_end(mapping));
	tree_erase(&mappings, &mapping->node);
	file_put(mapping->file);
	arena_free(&mapping_arena, mapping);
	if (mappings.count == 0) {
		atomic_store(&hull_start, UINT64_MAX);
		atomic_store(&hull_end, 0);
	}
}

void table_remove_range(uint64_t start, uint64_t end)
{
	struct mapping *mapping;

	while ((mapping = table_first(start, end)))
		table_remove(mapping, true);
}

void table_move(uint64_t start, uint64_t end, uint64_t by)
{
	struct mapping *mapping;

	while ((mapping = table_first(start, end))) {
		tree_erase(&mappings, &mapping->node);
		mapping->node.start += by;
		mapping->node.end += by;
		tree_insert(&mappings, &mapping->node);
		widen_hull(mapping->node.start, mapping->node.end);
	}
}

void table_unwait(void)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void table_abandon(void)
{
	pthread_mutex_init(&lock, NULL);
	table_unwait();
	/* the nodes may be half linked; their memory is a copy that costs nothing */
	mappings = files = (struct tree){0};
	mapping_arena = (struct arena)ARENA_INIT(struct mapping);
	file_arena = (struct arena)ARENA_INIT(struct map_file);
	atomic_store(&hull_start, UINT64_MAX);
	atomic_store(&hull_end, 0);
}

/* --- the end of a mapping -------------------------------------------------------------------- */

int table_reserve(void)
{
	long mapped;
	int fd;

	if (reserve)
		return 0;
	page = (size_t)sysconf(_SC_PAGESIZE);
	fd = (int)syscall(SYS_memfd_create, "daxlease-revoked", 1u /* MFD_CLOEXEC */);
	if (fd < 0)
		return -errno;
	mapped = syscall(SYS_mmap, NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
	close(fd);
	if (mapped == -1)
		return -errno;
	/* under mlockall(MCL_FUTURE) it would count against the limit wherever it is put */
	syscall(SYS_munlock, mapped, page);
	table_unwait();
	reserve = (char *)mapped;
	return 0;
}

/* When the reserve could not be duplicated: a new memfd, if a descriptor is to be had. */
static int blank_anew(uint64_t start, uint64_t length, int how)
{
	int fd = (int)syscall(SYS_memfd_create, "daxlease-revoked", 1u /* MFD_CLOEXEC */);
	long mapped;
	int error = 0;

	if (fd < 0)
		return -errno;
	mapped = syscall(SYS_mmap, start, length, PROT_READ | PROT_WRITE, MAP_SHARED | how, fd, 0L);
	if (mapped == -1)
		error = -errno;
	close(fd);
	return error;
}

int table_blank(uint64_t start, uint64_t end, bool only_hole)
{
	uint64_t length = end - start;

	if (only_hole) {
		long mapped = syscall(SYS_mmap, start, length, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
					      MAP_FIXED_NOREPLACE,
				      -1, 0L);

		if (mapped == -1)
			return -errno;
	}
	/*
	 * mremap(2) with an old size of 0 duplicates a shared mapping, here over whatever is at
	 * `start`, at once for the other threads, and without any descriptor (the program may have
	 * none left, or have closed ours).
	 */
	if (syscall(SYS_mremap, reserve, 0L, length, MREMAP_MAYMOVE | MREMAP_FIXED, start) != -1)
		return 0;
	/* mlockall(2) has locked the reserve, and its duplicate counts against RLIMIT_MEMLOCK. */
	if (errno == EAGAIN && syscall(SYS_munlock, reserve, 1L) == 0 &&
	    syscall(SYS_mremap, reserve, 0L, length, MREMAP_MAYMOVE | MREMAP_FIXED, start) != -1)
		return 0;
	/* It either changed nothing (too many mappings) or left a hole, in which by now another
	 * thread's memory may be: msync tells them apart, and a hole is filled only if it still is
	 * one. */
	if (syscall(SYS_msync, start, length, MS_ASYNC) == 0)
		return blank_anew(start, length, MAP_FIXED);
	return blank_anew(start, length, MAP_FIXED_NOREPLACE);
}
