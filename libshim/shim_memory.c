// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * mmap as the program sees it. What is not ours costs a compare or two: a private or anonymous
 * mapping that is not MAP_FIXED is passed on by its flags alone.
 *
 * A shared mapping of a pool's file is made first and leased then; only with a lease (or, in mode
 * prefer, with the reason told) the program gets it. With MAP_FIXED it is made elsewhere and moved
 * into place when the lease is there, so that a refusal destroys nothing and at no time there is
 * something else at the address.
 *
 * The kernel maps and unmaps a device-dax device by its alignment only: a mapping of less is made
 * larger, and what the program did not ask for goes with the rest of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libshim/shim_mr.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

/* Revoked that often before the program had it: then it is refused. */
#define ATTEMPTS 4

struct map_request {
	void *addr;	       /* hint, or the place for MAP_FIXED */
	size_t length, mapped; /* as asked; in whole pages */
	int prot, flags, fd;
	off_t offset;
	struct stat st;
	uint32_t pool_type;
	uint64_t slack; /* of `length`: what was not asked for */
};

static bool is_dax(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_DAX);
}

/* Of other devices nothing is asked of the daemon. */
static bool is_device_dax(const struct stat *st)
{
	char path[64], target[256];
	ssize_t length;

	if (!S_ISCHR(st->st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem", major(st->st_rdev),
		 minor(st->st_rdev));
	length = readlink(path, target, sizeof(target));
	return length > 4 && memcmp(target + length - 4, "/dax", 4) == 0;
}

/* 0 if that cannot be told. */
static uint64_t alignment_of(const struct stat *st)
{
	char path[64], text[32];
	unsigned long long alignment = 0;
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/align", major(st->st_rdev),
		 minor(st->st_rdev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++)
		alignment = alignment * 10 + (unsigned)(text[i] - '0');
	return alignment;
}

/* As much as the kernel maps at least, unless something else may be behind it. */
static void align(struct map_request *request)
{
	uint64_t alignment = alignment_of(&request->st), more;

	if ((request->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) || alignment == 0 ||
	    request->length % alignment == 0)
		return;
	more = alignment - request->length % alignment;
	if (request->length + more < more)
		return;
	request->slack = more;
	request->length += more;
	request->mapped = request->length;
}

static uint64_t address(const void *pointer)
{
	return (uintptr_t)pointer;
}

static void *fail(int error)
{
	errno = error;
	return MAP_FAILED;
}

/* --- leasing --------------------------------------------------------------------------------- */

/* The end of the range to ask for: the last page of the file reaches beyond its size, its lease
 * does not. */
static uint64_t file_end(const struct map_request *request)
{
	uint64_t end = (uint64_t)request->offset + request->length,
		 size = (uint64_t)request->st.st_size;

	return end > size && end <= coverage_ceil(size) ? size : end;
}

static void say_refused(const struct map_request *request, int error,
			const struct dlp_grant_reply *reply)
{
	const char *what = session.mode == SHIM_REQUIRE ? "mapping refused"
							: "mapped without a lease";
	unsigned kind = session.mode == SHIM_REQUIRE ? SAY_REQUIRED : SAY_UNLEASED;
	char link[32], path[256] = "a file";
	ssize_t length;

	if (!say_first(kind, request->st.st_dev, request->st.st_ino))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", request->fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length > 0)
		path[length] = '\0';
	if (error == -EPIPE)
		say("%s: %s: the connection to the daemon is lost", path, what);
	else if (reply->reason == DLP_REASON_ALIGNMENT)
		say("%s: %s: %s: it is %u, and %llu is none", path, what,
		    dlp_reason_text(reply->reason), reply->alignment,
		    (unsigned long long)reply->offset);
	else if (reply->reason)
		say("%s: %s: %s (offset %llu)", path, what, dlp_reason_text(reply->reason),
		    (unsigned long long)reply->offset);
	else
		say("%s: %s: %s", path, what, strerrordesc_np(-error));
}

struct ask {
	uint64_t start, end, ticket;
};

/* While the pending mapping is what it was it makes sense to ask again. */
static bool still_pending(void *arg)
{
	const struct ask *ask = arg;
	struct mapping *mapping;
	bool pending;

	table_lock_bare();
	mapping = table_first(ask->start, ask->end);
	pending = mapping && mapping->ticket == ask->ticket && mapping->state == MAP_PENDING;
	table_unlock_bare();
	return pending;
}

/*
 * The answer is there (the lock is held): pending parts become leased, or all go out of the table.
 * Returns 0, `error`, or -ESTALE if a part was revoked meanwhile; *intact: it still maps the file.
 */
static int settle(const struct map_request *request, const struct ask *ask,
		  struct coverage_take *take, int error, bool *intact)
{
	struct mapping *mapping, *next;
	bool revoked = false;

	coverage_end(&session.coverage, take, error == 0);
	mapping = table_first(ask->start, ask->end);
	for (; mapping && mapping->node.start < ask->end; mapping = table_next(mapping)) {
		if (mapping->ticket != ask->ticket)
			continue;
		if (mapping->state == MAP_PENDING && error == 0)
			mapping->state = MAP_LEASED;
		revoked |= mapping->state == MAP_REVOKED;
	}
	*intact = !revoked;
	if (error == 0 && !revoked) {
		bool kept = syscall(SYS_madvise, ask->start, request->mapped, MADV_DONTFORK) == 0;

		mapping = table_first(ask->start, ask->end);
		for (; mapping && mapping->node.start < ask->end; mapping = table_next(mapping))
			mapping->dont_fork = kept;
		return 0;
	}
	for (mapping = table_first(ask->start, ask->end); mapping && mapping->node.start < ask->end;
	     mapping = next) {
		next = table_next(mapping);
		if (mapping->ticket == ask->ticket)
			table_remove(mapping, true);
	}
	return error < 0 ? error : -ESTALE;
}

/* Takes a lease for what is mapped at `mapped`. 0, or -errno and *intact: it still maps the file,
 * without a lease. */
static int lease(const struct map_request *request, void *mapped, struct dlp_grant_reply *reply,
		 bool *intact)
{
	struct ask ask = {.start = address(mapped), .end = address(mapped) + request->mapped};
	uint32_t flags = request->prot & PROT_WRITE ? DLP_GRANT_WRITE : 0;
	uint64_t dev = request->st.st_dev, ino = request->st.st_ino,
		 offset = (uint64_t)request->offset;
	struct coverage_take take;
	struct mapping *mapping;
	struct hook hook;
	int error;

	*intact = true;
	error = session_listen();
	if (error < 0)
		return error;
	table_lock(&hook);
	mapping = table_add(ask.start, ask.end, dev, ino, offset, request->fd);
	if (!mapping) {
		table_unlock(&hook);
		return -ENOMEM;
	}
	ask.ticket = mapping->ticket;
	mapping->fsdax = request->pool_type == DLP_POOL_FSDAX ||
			 (request->pool_type != DLP_POOL_DEVDAX && is_dax(request->fd));
	mapping->slack = request->slack;
	error = coverage_begin(&session.coverage, &take, dev, ino, offset, file_end(request),
			       flags);
	if (error < 0) {
		table_remove(mapping, false);
	} else if (error == 0) {
		error = settle(request, &ask, &take, 0, intact);
	} else {
		/* from here the revoker may come; signals stay blocked */
		table_unlock_bare();
		error = coverage_ask(&session.coverage, &take, request->fd, reply, still_pending,
				     &ask);
		table_lock_bare();
		error = settle(request, &ask, &take, error, intact);
	}
	table_unlock(&hook);
	if (error == -EPIPE)
		session_lost();
	return error;
}

/* --- placing --------------------------------------------------------------------------------- */

static bool overlap(const void *a, const void *b, size_t length)
{
	return address(a) < address(b) + length && address(b) < address(a) + length;
}

/* As the request says, but at an address of the kernel's choice that is not in the way of the place
 * it will go to. */
static void *map_elsewhere(const struct map_request *request)
{
	void *in_the_way[4], *mapped;
	unsigned count = 0;

	for (;;) {
		mapped = real_mmap(NULL, request->length, request->prot,
				   request->flags & ~MAP_FIXED, request->fd, request->offset);
		if (mapped == MAP_FAILED || !overlap(mapped, request->addr, request->mapped))
			break;
		if (count == 4) {
			real_munmap(mapped, request->length);
			mapped = fail(ENOMEM);
			break;
		}
		in_the_way[count++] = mapped; /* it occupies what the next one shall not get */
	}
	for (int saved = errno; count > 0; errno = saved)
		real_munmap(in_the_way[--count], request->length);
	return mapped;
}

/* Moves what was mapped elsewhere, with its lease if it has one, to where it was asked for. */
static void *move_into_place(const struct map_request *request, void *mapped)
{
	uint64_t from = address(mapped), to = address(request->addr), length = request->mapped;
	void *moved = MAP_FAILED;
	struct hook hook;
	int error;

	table_lock(&hook);
	error = table_cut(to, to + length);
	if (error == 0)
		error = mr_destroy_over(to, to + length);
	if (error == 0) {
		moved = real_mremap(mapped, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
				    request->addr);
		error = moved == MAP_FAILED ? -errno : 0;
	}
	if (error == 0) {
		table_remove_range(to, to + length);
		table_move(from, from + length, to - from);
	} else {
		real_munmap(mapped, length);
		table_remove_range(from, from + length);
	}
	table_unlock(&hook);
	return error < 0 ? fail(-error) : moved;
}

static void *map_at_first(const struct map_request *request)
{
	if (request->flags & MAP_FIXED)
		return map_elsewhere(request);
	return real_mmap(request->addr, request->length, request->prot, request->flags, request->fd,
			 request->offset);
}

static void *map_pool_file(const struct map_request *request)
{
	struct dlp_grant_reply reply = {0};
	bool outside;
	void *mapped;
	int error;

	for (int attempt = 1;; attempt++) {
		bool intact;

		mapped = map_at_first(request);
		if (mapped == MAP_FAILED)
			return mapped;
		error = lease(request, mapped, &reply, &intact);
		if (error == 0)
			break;
		if (error == -ESTALE && attempt < ATTEMPTS) {
			real_munmap(mapped, request->length);
			continue;
		}
		if (error == -ESTALE)
			error = -EAGAIN;
		/* on the device of a directory pool, but not in the directory: none of our business
		 * (C9) */
		outside = reply.reason == DLP_REASON_NOT_IN_POOL;
		if (!outside)
			say_refused(request, error, &reply);
		if (!intact || (session.mode == SHIM_REQUIRE && !outside))
			real_munmap(mapped, request->length);
		if (session.mode == SHIM_REQUIRE && !outside)
			return fail(error == -EPIPE ? ECONNREFUSED : -error);
		if (intact && request->slack)
			real_munmap(mapped, request->length);
		if (request->slack) /* as the kernel would have it without us */
			return real_mmap(request->addr, request->length - request->slack,
					 request->prot, request->flags, request->fd,
					 request->offset);
		if (!intact)
			mapped = map_at_first(request);
		break;
	}
	if (mapped != MAP_FAILED && (request->flags & MAP_FIXED))
		return move_into_place(request, mapped);
	return mapped;
}

/* MAP_FIXED of something without a lease over mappings of the table. */
static void *map_over(const struct map_request *request)
{
	uint64_t start = address(request->addr), end = start + request->mapped;
	void *mapped = MAP_FAILED;
	struct hook hook;
	int error;

	if (!(request->flags & MAP_ANONYMOUS)) {
		/* mmap of a file can wait in fanotify: not under the lock */
		mapped = map_elsewhere(request);
		return mapped == MAP_FAILED ? mapped : move_into_place(request, mapped);
	}
	table_lock(&hook);
	error = table_cut(start, end);
	if (error == 0)
		error = mr_destroy_over(start, end);
	if (error == 0) {
		mapped = real_mmap(request->addr, request->length, request->prot, request->flags,
				   request->fd, request->offset);
		error = mapped == MAP_FAILED ? -errno : 0;
	}
	if (error == 0)
		table_remove_range(start, end);
	table_unlock(&hook);
	return error < 0 ? fail(-error) : mapped;
}

/* --- mmap ------------------------------------------------------------------------------------ */

/* The slow path: MAP_FIXED, or shared. */
static void *map_shared_or_fixed(void *addr, size_t length, int prot, int flags, int fd,
				 off_t offset)
{
	struct map_request request = {
		.addr = addr,
		.length = length,
		.mapped = coverage_ceil(length),
		.prot = prot,
		.flags = flags,
		.fd = fd,
		.offset = offset,
	};
	bool file = (flags & MAP_SHARED) && !(flags & MAP_ANONYMOUS);
	bool fixed;
	const struct session_pools *pools;
	int saved = errno;

	/* to the kernel it means the same without MAP_FIXED: nothing is mapped over */
	if (flags & MAP_FIXED_NOREPLACE)
		request.flags &= ~MAP_FIXED;
	fixed = request.flags & MAP_FIXED;
	/* what the kernel will refuse is left to it */
	if (length == 0 || request.mapped < length ||
	    (fixed && address(addr) != coverage_floor(address(addr))) ||
	    (fixed && address(addr) + request.mapped < address(addr)))
		return real_mmap(addr, length, prot, flags, fd, offset);
	if (file && fstat(fd, &request.st) == 0 &&
	    (S_ISREG(request.st.st_mode) || is_device_dax(&request.st))) {
		pools = session_pools();
		if (pools)
			request.pool_type = session_pool_type(pools, &request.st);
		else if (session.mode == SHIM_REQUIRE &&
			 (S_ISCHR(request.st.st_mode) || is_dax(fd)))
			return fail(ECONNREFUSED);
		if (request.pool_type == DLP_POOL_DEVDAX)
			align(&request);
		if (request.pool_type) {
			errno = saved;
			return map_pool_file(&request);
		}
	}
	errno = saved;
	if (fixed && table_has(address(addr), address(addr) + request.mapped))
		return map_over(&request);
	return real_mmap(addr, length, prot, flags, fd, offset);
}

SHIM_EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	/* MAP_SHARED_VALIDATE contains MAP_SHARED's bit, MAP_PRIVATE does not */
	if (__builtin_expect(!(flags & (MAP_SHARED | MAP_FIXED)), 1) || shim_inside ||
	    session.mode == SHIM_OFF)
		return real_mmap(addr, length, prot, flags, fd, offset);
	return map_shared_or_fixed(addr, length, prot, flags, fd, offset);
}

/* off_t has 64 bits wherever we build: another name for the same. */
_Static_assert(sizeof(off_t) == 8, "mmap64 is mmap");
SHIM_EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, length, prot, flags, fd, offset);
}
