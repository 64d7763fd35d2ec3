// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The command prepare: makes a file what a lease needs (C5): every block allocated, written and its own. Needs no
 * daemon, and runs with the rights of who calls it.
 *
 * Nothing that is in the file is changed, whoever else writes to it meanwhile: blocks are allocated by fallocate(2), and
 * written by a fault: an atomic "or" of nothing to a byte of each page. Writing zeros over what looked unwritten would
 * destroy what somebody has written there since.
 */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ctl/table.h"
#include "daemon/pool/pool.h"
#include "proto/proto.h"

#define BATCH 256
#define WINDOW (UINT64_C(256) << 20) /* mapped and written back at a time */
#define BAR_WIDTH 40

#ifndef FALLOC_FL_UNSHARE_RANGE
#define FALLOC_FL_UNSHARE_RANGE 0x40
#endif

struct job {
	const char *text; /* the file's name, for messages */
	int fd;
	uint64_t size, page;
	uint64_t allocated, written, unshared; /* bytes */
	bool bar;
};

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void free_pointer(struct fiemap **pointer)
{
	free(*pointer);
}

static void show_bar(const struct job *job, uint64_t done)
{
	const unsigned filled = job->size ? (unsigned)(done * BAR_WIDTH / job->size) : BAR_WIDTH;

	if (!job->bar)
		return;
	fprintf(stderr, "\r[%.*s%*s] %3u%%", (int)filled,
		"########################################", (int)(BAR_WIDTH - filled), "",
		job->size ? (unsigned)(done * 100 / job->size) : 100);
	if (done >= job->size)
		fputc('\n', stderr);
}

/* Told; -errno again. The bar's line is left to it. */
static int fail(const struct job *job, uint64_t offset, int error, const char *what)
{
	if (job->bar)
		fputc('\n', stderr);
	warnx("%s: %s at offset %" PRIu64 ": %s%s", job->text, what, offset, strerror(error),
	      error == ENOSPC ? "; what is done so far stays, run it again when there is room"
			      : "");
	return -error;
}

/* --- writing ------------------------------------------------------------------------------- */

static sigjmp_buf bus;

static void on_bus(int signal)
{
	(void)signal;
	siglongjmp(bus, 1);
}

/* A write fault for each page, which changes no byte. */
static bool touch_pages(char *map, uint64_t length, uint64_t page)
{
	const struct sigaction action = {.sa_handler = on_bus};
	static volatile char
		nothing; /* not known to the compiler, which would leave the write out */
	struct sigaction before;
	volatile bool good = false;

	sigaction(SIGBUS, &action, &before);
	if (sigsetjmp(bus, 1) == 0) {
		for (uint64_t at = 0; at < length; at += page)
			__atomic_fetch_or(map + at, nothing, __ATOMIC_RELAXED);
		good = true;
	}
	sigaction(SIGBUS, &before, NULL);
	return good;
}

static int write_range(struct job *job, uint64_t start, uint64_t end)
{
	start &= ~(job->page - 1);
	while (start < end) {
		const uint64_t length = end - start < WINDOW ? end - start : WINDOW;
		char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, job->fd,
				 (off_t)start);
		bool good;
		int error = 0;

		if (map == MAP_FAILED)
			return fail(job, start, errno, "cannot be mapped");
		good = touch_pages(map, length, job->page);
		if (good && msync(map, length, MS_SYNC) != 0)
			error = errno;
		munmap(map, length);
		if (!good)
			return fail(job, start, EFAULT,
				    "cannot be written (it became shorter, or there is no room)");
		if (error)
			return fail(job, start, error, "cannot be written back");
		job->written += length;
		start += length;
		show_bar(job, start < job->size ? start : job->size);
	}
	return 0;
}

/* --- one extent ---------------------------------------------------------------------------- */

static int mend_hole(struct job *job, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	if (fallocate(job->fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start)) != 0)
		return fail(job, start, errno, "cannot be allocated");
	job->allocated += end - start;
	return write_range(job, start, end);
}

static int mend_extent(struct job *job, const struct fiemap_extent *extent, uint64_t end)
{
	const uint64_t start = extent->fe_logical;

	if (extent->fe_flags & FIEMAP_EXTENT_SHARED) {
		if (fallocate(job->fd, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)start,
			      (off_t)(end - start)) != 0) {
			const int error = errno;

			fail(job, start, error,
			     "shares blocks with another file, which cannot be undone here");
			fprintf(stderr, "Copy it with 'cp --reflink=never' and use the copy.\n");
			return -error;
		}
		job->unshared += end - start;
		return 0;
	}
	return extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN ? write_range(job, start, end) : 0;
}

/* --- the file ------------------------------------------------------------------------------ */

/* The file system cannot say how it is allocated (tmpfs): all of it. */
static int mend_blindly(struct job *job)
{
	return mend_hole(job, 0, job->size);
}

static int mend(struct job *job)
{
	__attribute__((cleanup(free_pointer))) struct fiemap *map =
		calloc(1, sizeof(*map) + BATCH * sizeof(map->fm_extents[0]));
	uint64_t pos = 0;
	int error = 0;

	if (!map)
		errx(EXIT_FAILURE, "out of memory");
	while (!error && pos < job->size) {
		*map = (struct fiemap){.fm_start = pos,
				       .fm_length = job->size - pos,
				       .fm_flags = FIEMAP_FLAG_SYNC,
				       .fm_extent_count = BATCH};
		if (ioctl(job->fd, FS_IOC_FIEMAP, map) != 0)
			return errno == EOPNOTSUPP || errno == ENOTTY
				       ? mend_blindly(job)
				       : fail(job, pos, errno, "cannot be asked for its blocks");
		for (unsigned i = 0; !error && i < map->fm_mapped_extents; i++) {
			struct fiemap_extent *extent = &map->fm_extents[i];
			const uint64_t behind = extent->fe_logical + extent->fe_length;

			error = mend_hole(job, pos,
					  extent->fe_logical < job->size ? extent->fe_logical
									 : job->size);
			if (extent->fe_logical < pos)
				extent->fe_logical = pos;
			pos = behind < job->size ? behind : job->size;
			if (!error && extent->fe_logical < pos)
				error = mend_extent(job, extent, pos);
			if (!error)
				show_bar(job, pos);
		}
		if (!error && map->fm_mapped_extents == 0) {
			error = mend_hole(job, pos, job->size);
			pos = job->size;
		}
	}
	return error;
}

/* As the daemon would look. */
static int look_again(const struct job *job)
{
	struct pool_refusal refusal = {0};
	int error;

	if (fsync(job->fd) != 0)
		return fail(job, 0, errno, "cannot be written back");
	error = pool_check_range(job->fd, 0, job->size, false, true, &refusal);
	if (!error)
		return 0;
	if (!refusal.reason)
		return fail(job, 0, -error, "cannot be looked at");
	warnx("%s: it still cannot be leased: at offset %" PRIu64 ": %s", job->text, refusal.offset,
	      dlp_reason_text(refusal.reason));
	return error;
}

static int grow(struct job *job, const struct options *options)
{
	if (!options->size || options->size == job->size)
		return 0;
	if (options->size < job->size) {
		warnx("%s has %" PRIu64 " bytes: --size %" PRIu64
		      " would cut off what is in it; nothing done",
		      job->text, job->size, options->size);
		return -EINVAL;
	}
	if (fallocate(job->fd, 0, (off_t)job->size, (off_t)(options->size - job->size)) != 0)
		return fail(job, job->size, errno, "cannot be allocated");
	job->allocated += options->size - job->size;
	job->size = options->size;
	return 0;
}

static void tell(const struct job *job, const struct options *options)
{
	json_object *object, *prepare;

	if (!options->json) {
		printf("%s: ready: of %" PRIu64 " bytes %" PRIu64 " were allocated, %" PRIu64
		       " written, %" PRIu64 " unshared\n",
		       job->text, job->size, job->allocated, job->written, job->unshared);
		return;
	}
	object = json_object_new_object();
	prepare = json_object_new_object();
	if (!object || !prepare ||
	    json_object_object_add(prepare, "size", json_object_new_uint64(job->size)) ||
	    json_object_object_add(prepare, "allocated", json_object_new_uint64(job->allocated)) ||
	    json_object_object_add(prepare, "written", json_object_new_uint64(job->written)) ||
	    json_object_object_add(prepare, "unshared", json_object_new_uint64(job->unshared)) ||
	    json_object_object_add(object, "prepare", prepare))
		errx(EXIT_FAILURE, "out of memory");
	json_print(object);
}

/* Before anything is done: a file system that is filled to its end is no help to anybody. */
static int look_for_room(const struct job *job, const struct stat *st,
			 const struct options *options)
{
	const uint64_t wanted = options->size > job->size ? options->size : job->size;
	const uint64_t has = (uint64_t)st->st_blocks * 512;
	struct statvfs fs;
	uint64_t room;

	if (wanted <= has || fstatvfs(job->fd, &fs) != 0)
		return 0;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (wanted - has <= room)
		return 0;
	warnx("%s needs %" PRIu64 " bytes more, and the file system has %" PRIu64
	      ": %s; nothing done",
	      job->text, wanted - has, room, strerror(ENOSPC));
	return -ENOSPC;
}

static int prepare(struct job *job, const struct options *options)
{
	struct stat st;
	int error;

	if (fstat(job->fd, &st) != 0) {
		warn("%s", job->text);
		return -EIO;
	}
	if (!S_ISREG(st.st_mode)) {
		warnx("%s is not a regular file", job->text);
		return -EINVAL;
	}
	job->size = (uint64_t)st.st_size;
	if (!job->size && !options->size) {
		warnx("%s is empty: name the size it is to have with --size", job->text);
		return -EINVAL;
	}
	error = look_for_room(job, &st, options);
	if (!error)
		error = grow(job, options);
	if (!error)
		error = mend(job);
	return error ? error : look_again(job);
}

int command_prepare(const struct options *options)
{
	char text[4 * DLP_MAX_PATH + 1];
	__attribute__((cleanup(close_fd))) int fd = open(options->argument,
							 O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	const bool create = fd < 0 && errno == ENOENT && options->size;
	struct job job = {
		.text = text,
		.page = (uint64_t)sysconf(_SC_PAGESIZE),
		.bar = isatty(STDERR_FILENO) && !options->json,
	};

	format_escaped(text, sizeof(text), options->argument);
	if (create)
		fd = open(options->argument, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0666);
	if (fd < 0) {
		warn("%s", text);
		return EXIT_FAILURE;
	}
	job.fd = fd;
	if (prepare(&job, options)) {
		/* Empty still, so nobody's. */
		if (create && fstat(fd, &st) == 0 && st.st_size == 0)
			unlink(options->argument);
		return EXIT_FAILURE;
	}
	tell(&job, options);
	return EXIT_SUCCESS;
}
