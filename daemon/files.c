// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the daemon keeps of each leased file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

struct file *file_lookup(struct daemon *d, uint64_t dev, uint64_t ino)
{
	struct file probe = {.key = {dev, ino}}, *file;

	HASH_FIND(hh, d->files, &probe.key, sizeof(probe.key), file);
	return file;
}

struct file *file_get(struct daemon *d, struct user *user, int fd, uint64_t dev, uint64_t ino)
{
	struct file *file = file_lookup(d, dev, ino);
	char link[32];

	if (file)
		return file;
	if (!user_take(d, user, USER_DESCRIPTORS, 1))
		return NULL;
	file = calloc(1, sizeof(*file));
	if (!file) {
		user_give(d, user, USER_DESCRIPTORS, 1);
		return NULL;
	}
	file->user = user;
	file->key.dev = dev;
	file->key.ino = ino;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	file->opath_fd = open(link, O_PATH | O_CLOEXEC);
	if (file->opath_fd < 0) {
		user_give(d, user, USER_DESCRIPTORS, 1);
		free(file);
		return NULL;
	}
	HASH_ADD(hh, d->files, key, sizeof(file->key), file);
	return file;
}

int file_arm(struct daemon *d, struct file *file, int fd)
{
	int rc;

	if (file->armed || file->pool->label != DLP_LABEL_ENFORCED)
		return 0;
	rc = d->guard->ops->arm(d->guard, fd, file->key.dev, file->key.ino);
	if (rc == 0)
		file->armed = true;
	return rc;
}

void file_drop(struct daemon *d, uint64_t dev, uint64_t ino)
{
	struct file *file = file_lookup(d, dev, ino);
	char path[DLP_MAX_PATH];
	int rc;

	if (!file)
		return;
	grants_forget(d, dev, ino);
	if (file->armed) {
		rc = d->guard->ops->disarm(d->guard, file->opath_fd, dev, ino);
		/* A mark that stays costs time on that file and protects nothing more. */
		if (rc < 0)
			log_warning("%s: cannot disarm: %s", file_path(file, path), strerror(-rc));
	}
	closer_close(file->opath_fd, 0); /* may free an unlinked file's blocks */
	user_give(d, file->user, USER_DESCRIPTORS, 1);
	user_put(d, file->user);
	HASH_DEL(d->files, file);
	free(file);
}

void files_free(struct daemon *d)
{
	struct file *file, *next;

	HASH_ITER(hh, d->files, file, next)
		file_drop(d, file->key.dev, file->key.ino);
}

bool files_on(const struct daemon *d, uint64_t dev)
{
	for (const struct file *file = d->files; file; file = file->hh.next) {
		if (file->key.dev == dev)
			return true;
	}
	return false;
}

const char *fd_path(int fd, char *buffer)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buffer, DLP_MAX_PATH - 1);
	if (n < 0)
		return "?";
	buffer[n] = 0;
	return buffer;
}

const char *file_path(const struct file *file, char *buffer)
{
	return fd_path(file->opath_fd, buffer);
}
