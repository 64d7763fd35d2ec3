/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way to the file: other mounts, namespaces and names, descriptors older than the guard, and
 * parts of the kernel that stand between. Mounts are made in a namespace of the breaker's own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

static const char *base_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int own_mounts(int more_flags)
{
	if (unshare(CLONE_NEWNS | more_flags) < 0)
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* From now on the breaker's path leads through `mount_point`. */
static void go_through(struct breaker *b, const char *mount_point)
{
	char path[256];

	if (snprintf(path, sizeof(path), "%s/%s", mount_point, base_name(b->path)) >= 256)
		_exit(3);
	memcpy(b->path, path, sizeof(path));
}

static long bind_mount(struct breaker *b, int more_flags)
{
	char point[300];

	snprintf(point, sizeof(point), "%s/bound", bench.dir);
	if (own_mounts(more_flags) < 0 || (mkdir(point, 0755) < 0 && errno != EEXIST) ||
	    mount(bench.dir, point, NULL, MS_BIND, NULL) < 0)
		return -1;
	go_through(b, point);
	return prepare_open(b);
}

long prepare_bind_mount(struct breaker *b)
{
	return bind_mount(b, 0);
}

long prepare_pid_namespace(struct breaker *b)
{
	return bind_mount(b, CLONE_NEWPID);
}

/* The first child is the namespace's process 1. */
long act_in_pid_namespace(struct breaker *b)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(getpid() == 1 && act_pwrite(b) == 1 ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

long prepare_hard_link(struct breaker *b)
{
	char name[300], dir[280];

	snprintf(dir, sizeof(dir), "%s/links", bench.dir);
	snprintf(name, sizeof(name), "%s/leased", dir);
	unlink(name);
	if ((mkdir(dir, 0755) < 0 && errno != EEXIST) || link(b->path, name) < 0)
		return -1;
	go_through(b, dir);
	return prepare_open(b);
}

long prepare_unlinked(struct breaker *b)
{
	return prepare_open(b) < 0 ? -1 : unlink(b->path);
}

long prepare_old_descriptor(struct breaker *b)
{
	b->fd = dup(bench.old_fd);
	return b->fd;
}

/* The file is in the upper directory. */
long prepare_overlay(struct breaker *b)
{
	char options[1024], point[300];

	snprintf(point, sizeof(point), "%s/merged", bench.dir);
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 bench.dir, bench.dir, bench.dir);
	if (own_mounts(0) < 0 || mount("overlay", point, "overlay", 0, options) < 0)
		return -1;
	go_through(b, point);
	return prepare_open(b);
}

/* By this machine's own NFS server and client. */
long prepare_nfs(struct breaker *b)
{
	go_through(b, bench.nfs);
	return prepare_open(b);
}

/* As the server sees it: the client alone would keep it for itself. */
long act_nfs_write(struct breaker *b)
{
	return act_pwrite(b) < 0 ? -1 : fsync(b->fd);
}

/* other_fd: a loop device on the file, which ends with us. */
long prepare_loop(struct breaker *b)
{
	struct loop_config config = {.block_size = PAGE, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR);

	if (prepare_open(b) < 0 || control < 0)
		return -1;
	config.fd = (uint32_t)b->fd;
	for (int tries = 0; tries < 20; tries++) { /* others take free ones, too */
		char path[32];
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		snprintf(path, sizeof(path), "/dev/loop%d", number);
		b->other_fd = open(path, O_RDWR | O_EXCL);
		if (b->other_fd >= 0 && ioctl(b->other_fd, LOOP_CONFIGURE, &config) == 0)
			return 0;
		close(b->other_fd);
	}
	return -1;
}

long act_loop_write(struct breaker *b)
{
	char page[PAGE];

	memset(page, 'l', sizeof(page));
	if (pwrite(b->other_fd, page, PAGE, (off_t)b->argument) != (ssize_t)PAGE)
		return -1;
	return fsync(b->other_fd);
}

long act_loop_discard(struct breaker *b)
{
	uint64_t range[2] = {b->argument, 2 * PAGE};

	return ioctl(b->other_fd, BLKDISCARD, range);
}
