// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * munmap, mremap and madvise as the program sees them. They are done under the table's lock, so that
 * the revoker never takes for ours what another thread maps at an address that has just become free.
 * None waits in fanotify.
 *
 * What an on-demand MR needs stays mapped behind the program's back (a zombie) until its last
 * deregistration, since such an MR follows the address: munmap and mremap return as if it were gone
 * (C22).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>

#include "libshim/shim_mr.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

static void *fail(int error)
{
	errno = error;
	return MAP_FAILED;
}

static int unmap_part(uint64_t start, uint64_t end)
{
	if (start == end)
		return 0;
	if (real_munmap((void *)(uintptr_t)start, end - start) < 0)
		return -errno;
	table_remove_range(start, end);
	return 0;
}

/* Whole pages. What is needed becomes a zombie, the rest is really unmapped. */
static int unmap(uint64_t start, uint64_t end)
{
	struct mapping *mapping;
	uint64_t at = start;
	int error = table_cut(start, end);

	if (error == 0)
		error = mr_cut(start, end);
	if (error < 0)
		return error;
	mapping = table_first(start, end);
	for (; mapping && mapping->node.start < end; mapping = table_next(mapping)) {
		if (mapping->state != MAP_LEASED ||
		    (!mapping->zombie && !mr_needs(mapping->node.start, mapping->node.end)))
			continue;
		error = unmap_part(at, mapping->node.start);
		if (error < 0)
			return error;
		mapping->zombie = true;
		at = mapping->node.end;
	}
	return unmap_part(at, end);
}

/* With what the program asked for of a mapping goes what it did not (device-dax). */
static uint64_t with_slack(uint64_t end)
{
	struct mapping *mapping = table_first(end, end + 1);

	if (!mapping || mapping->node.start >= end || mapping->node.end - end > mapping->slack)
		return end;
	return mapping->node.end;
}

SHIM_EXPORT int munmap(void *addr, size_t length)
{
	uint64_t start = (uintptr_t)addr, end;
	struct hook hook;
	int error;

	if (shim_inside || !table_hits(addr, length) || start != coverage_floor(start))
		return real_munmap(addr, length);
	table_lock(&hook);
	end = with_slack(coverage_ceil(start + length));
	mr_notice_gone(start, end);
	error = unmap(start, end);
	table_unlock(&hook);
	if (error == 0)
		return 0;
	errno = -error;
	return -1;
}

/* --- mremap ---------------------------------------------------------------------------------- */

struct remap {
	uint64_t old, old_length, new_length; /* whole pages */
	int flags;
	void *target; /* MREMAP_FIXED */
};

/* A second mapping of the same pages lies at `by` from the first: it stands on the same lease, once
 * more. */
static void copy_mappings(uint64_t start, uint64_t end, uint64_t by)
{
	struct mapping *from, *copy;

	for (from = table_first(start, end); from && from->node.start < end;
	     from = table_next(from)) {
		struct coverage_take take;
		int error;

		copy = table_add(from->node.start + by, from->node.end + by, from->file->node.dev,
				 from->file->node.ino, from->offset, -1);
		if (!copy) {
			/* no memory: rather nothing there than what no revocation would find */
			(void)table_blank(from->node.start + by, from->node.end + by, false);
			continue;
		}
		copy->state = from->state;
		copy->breaking = from->breaking;
		copy->fsdax = from->fsdax;
		copy->slack = from->slack;
		copy->dont_fork = from->dont_fork;
		if (copy->state != MAP_LEASED)
			continue;
		error = coverage_begin(&session.coverage, &take, from->file->node.dev,
				       from->file->node.ino, from->offset, map_offset_end(from), 0);
		if (error >= 0)
			coverage_end(&session.coverage, &take, error == 0);
		if (error != 0)
			table_remove(copy, false);
	}
}

/* An old size of 0: the kernel maps what is mapped at the address a second time. */
static void *duplicate(const struct remap *remap)
{
	struct mapping *source = table_first(remap->old, remap->old + 1), *copy;
	uint64_t start, dev = 0, ino = 0, offset = 0;
	struct coverage_take take;
	bool held = false;
	void *mapped;
	int error = 0;

	if (source && source->state == MAP_LEASED) {
		dev = source->file->node.dev;
		ino = source->file->node.ino;
		offset = map_offset(source, remap->old);
		held = coverage_held(&session.coverage, dev, ino, offset,
				     offset + remap->new_length);
		if (!held && session.mode == SHIM_REQUIRE)
			return fail(ENOMEM);
	}
	mapped = real_mremap((void *)(uintptr_t)remap->old, 0, remap->new_length, remap->flags,
			     remap->target);
	if (mapped == MAP_FAILED || !held)
		return mapped;
	start = (uintptr_t)mapped;
	table_remove_range(start, start + remap->new_length);
	copy = table_add(start, start + remap->new_length, dev, ino, offset, -1);
	error = copy ? coverage_begin(&session.coverage, &take, dev, ino, offset,
				      offset + remap->new_length, 0)
		     : -ENOMEM;
	if (error >= 0)
		coverage_end(&session.coverage, &take, error == 0);
	if (error != 0) {
		if (copy)
			table_remove(copy, false);
		real_munmap(mapped, remap->new_length);
		return fail(ENOMEM);
	}
	copy->state = MAP_LEASED;
	copy->fsdax = table_first(remap->old, remap->old + 1)->fsdax;
	copy->dont_fork = true; /* duplicated with the flag */
	return mapped;
}

/* Moves or grows what an on-demand MR needs: the pages get a second address, the first becomes a
 * zombie. */
static void *move_from_under_mr(const struct remap *remap)
{
	uint64_t end = remap->old + remap->old_length;
	void *old = (void *)(uintptr_t)remap->old, *mapped;
	int error;

	if (!(remap->flags & MREMAP_FIXED)) {
		mapped = real_mremap(old, remap->old_length, remap->new_length, 0, NULL);
		if (mapped != MAP_FAILED || !(remap->flags & MREMAP_MAYMOVE))
			return mapped;
	} else if (remap->new_length > remap->old_length) {
		/* two steps could not put it at one fixed place for sure */
		return fail(ENOMEM);
	}
	mapped = real_mremap(old, remap->old_length, remap->old_length,
			     MREMAP_MAYMOVE | MREMAP_DONTUNMAP | (remap->flags & MREMAP_FIXED),
			     remap->target);
	if (mapped == MAP_FAILED)
		return mapped;
	if (remap->new_length > remap->old_length) {
		void *grown = real_mremap(mapped, remap->old_length, remap->new_length,
					  MREMAP_MAYMOVE, NULL);

		if (grown == MAP_FAILED) {
			error = errno;
			real_munmap(mapped, remap->old_length);
			return fail(error);
		}
		mapped = grown;
	}
	table_remove_range((uintptr_t)mapped, (uintptr_t)mapped + remap->old_length);
	copy_mappings(remap->old, end, (uintptr_t)mapped - remap->old);
	if (!(remap->flags & MREMAP_DONTUNMAP))
		(void)unmap(remap->old, end); /* what cannot be unmapped stays, with its lease */
	return mapped;
}

static void *move(const struct remap *remap)
{
	uint64_t end = remap->old + remap->old_length, start;
	void *mapped = real_mremap((void *)(uintptr_t)remap->old, remap->old_length,
				   remap->new_length, remap->flags, remap->target);

	if (mapped == MAP_FAILED)
		return mapped;
	start = (uintptr_t)mapped;
	if (remap->flags & MREMAP_FIXED)
		table_remove_range(start, start + remap->new_length);
	if (remap->flags & MREMAP_DONTUNMAP)
		copy_mappings(remap->old, end, start - remap->old);
	else if (start != remap->old)
		table_move(remap->old, end, start - remap->old);
	return mapped;
}

/* What the program may do with a range of which some is in the table. 0 or -errno. */
static int check_source(const struct remap *remap)
{
	uint64_t end = remap->old + remap->old_length;
	struct mapping *mapping = table_first(remap->old, end);

	for (; mapping && mapping->node.start < end; mapping = table_next(mapping)) {
		if (mapping->zombie)
			return -EFAULT; /* for the program nothing is mapped there */
		if (remap->new_length <= remap->old_length || mapping->state != MAP_LEASED)
			continue;
		if (session.mode == SHIM_REQUIRE)
			return -ENOMEM;
		if (say_first(SAY_GROWN, mapping->file->node.dev, mapping->file->node.ino))
			say("%s: mremap: what the mapping grew by has no lease",
			    mapping->file->path);
	}
	return 0;
}

static void *remap_locked(struct remap *remap)
{
	uint64_t target = (uintptr_t)remap->target, end = remap->old + remap->old_length;
	int error = table_cut(remap->old, end);

	if (error == 0)
		error = check_source(remap);
	if (error == 0 && (remap->flags & MREMAP_FIXED)) {
		error = table_cut(target, target + remap->new_length);
		if (error == 0)
			error = mr_destroy_over(target, target + remap->new_length);
	}
	if (error < 0)
		return fail(-error);
	if (remap->old_length == 0)
		return duplicate(remap);
	if (remap->new_length < remap->old_length) {
		error = unmap(remap->old + remap->new_length, end);
		if (error < 0)
			return fail(-error);
		remap->old_length = remap->new_length;
		if (!(remap->flags & MREMAP_FIXED))
			return (void *)(uintptr_t)remap->old;
	}
	return mr_needs(remap->old, remap->old + remap->old_length) ? move_from_under_mr(remap)
								    : move(remap);
}

SHIM_EXPORT void *mremap(void *old, size_t old_size, size_t new_size, int flags, ...)
{
	struct remap remap = {
		.old = (uintptr_t)old,
		.old_length = coverage_ceil(old_size),
		.new_length = coverage_ceil(new_size),
		.flags = flags,
	};
	struct hook hook;
	bool ours;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list args;

		va_start(args, flags);
		remap.target = va_arg(args, void *);
		va_end(args);
	}
	ours = !shim_inside &&
	       (table_has(remap.old, remap.old + (old_size ? remap.old_length : 1)) ||
		((flags & MREMAP_FIXED) &&
		 table_has((uintptr_t)remap.target, (uintptr_t)remap.target + remap.new_length)));
	/* what the kernel will refuse is left to it, before anything is taken apart */
	if (!ours || remap.old != coverage_floor(remap.old) || remap.new_length < new_size ||
	    new_size == 0 || remap.old_length < old_size ||
	    (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
	    ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
	    ((flags & MREMAP_DONTUNMAP) && remap.old_length != remap.new_length) ||
	    ((flags & MREMAP_FIXED) &&
	     (uintptr_t)remap.target != coverage_floor((uintptr_t)remap.target)))
		return real_mremap(old, old_size, new_size, flags, remap.target);
	table_lock(&hook);
	mr_notice_gone(remap.old, remap.old + remap.old_length);
	old = remap_locked(&remap);
	if (old == MAP_FAILED)
		hook.error = errno;
	table_unlock(&hook);
	return old;
}

/* --- madvise --------------------------------------------------------------------------------- */

/* What is ours is left out: children get none of it (shim_fork.c). libibverbs asks for this behind
 * each deregistration when ibv_fork_init(3) was called. */
static int do_fork(uint64_t start, uint64_t end)
{
	struct mapping *mapping;
	int error = 0;

	for (uint64_t at = start, stop; at < end; at = mapping ? mapping->node.end : end) {
		mapping = table_first(at, end);
		stop = mapping ? mapping->node.start : end;
		if (at < stop && real_madvise((void *)(uintptr_t)at, stop - at, MADV_DOFORK) < 0 &&
		    error == 0)
			error = -errno;
	}
	return error;
}

SHIM_EXPORT int madvise(void *addr, size_t length, int advice)
{
	uint64_t start = (uintptr_t)addr, end;
	struct hook hook;
	int error;

	if (__builtin_expect(advice != MADV_DOFORK, 1) || shim_inside)
		return real_madvise(addr, length, advice);
	end = coverage_ceil(start + length);
	if (start != coverage_floor(start) || end < start || !table_has(start, end))
		return real_madvise(addr, length, advice);
	table_lock(&hook);
	error = do_fork(start, end);
	table_unlock(&hook);
	if (error == 0)
		return 0;
	errno = -error;
	return -1;
}
