// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the daemon keeps of each leased file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

struct file *file_lookup(struct daemon *d, uint64_t dev, uint64_t ino)
{
	struct file probe = {.key = {dev, ino}}, *file;

	HASH_FIND(hh, d->files, &probe.key, sizeof(probe.key), file);
	return file;
}

/* The handle is what a successor finds the file by: the guard's mark keeps the inode in memory, also of one that was
 * unlinked. */
void file_save(struct daemon *d, const struct file *file)
{
	struct saved_file record = {
		.dev = file->key.dev,
		.ino = file->key.ino,
		.uid = file->user->uid,
		.armed = file->armed || file->inherited,
		.lease = file->lease_fd < 0 ? 0 : file->lease_slot + 1,
	};
	struct {
		struct file_handle handle;
		unsigned char bytes[SAVED_HANDLE_BYTES];
	} name = {.handle.handle_bytes = SAVED_HANDLE_BYTES};
	int mount;

	if (file->opath_fd >= 0 && name_to_handle_at(file->opath_fd, "", &name.handle, &mount, AT_EMPTY_PATH) == 0) {
		record.handle_bytes = name.handle.handle_bytes;
		record.handle_type = name.handle.handle_type;
		memcpy(record.handle, name.handle.f_handle, record.handle_bytes);
	}
	if (file->pool)
		snprintf(record.pool, sizeof(record.pool), "%s", file->pool->config->name);
	saved_put(d, SAVED_FILE, file->saved, &record);
}

void file_set_pool(struct daemon *d, struct file *file, struct pool *pool)
{
	if (file->pool == pool)
		return;
	file->pool = pool;
	file_save(d, file);
}

void file_begin_look(struct daemon *d, struct file *file)
{
	const struct saved_unlooked record = {.dev = file->key.dev, .ino = file->key.ino};

	if (file->looks++ == 0)
		saved_put(d, SAVED_UNLOOKED, file->saved, &record);
}

void file_end_look(struct daemon *d, uint64_t dev, uint64_t ino)
{
	struct file *file = file_lookup(d, dev, ino);

	if (file && file->looks && --file->looks == 0)
		saved_drop(d, SAVED_UNLOOKED, file->saved);
}

static struct file *make(struct daemon *d, struct user *user, uint64_t dev, uint64_t ino, uint32_t saved)
{
	struct file *file = saved ? calloc(1, sizeof(*file)) : NULL;

	if (!file)
		return NULL;
	file->user = user;
	file->key.dev = dev;
	file->key.ino = ino;
	file->saved = saved;
	file->opath_fd = -1;
	file->watch = -1;
	file->lease_fd = -1;
	HASH_ADD(hh, d->files, key, sizeof(file->key), file);
	return file;
}

struct file *file_get(struct daemon *d, struct user *user, int fd, uint64_t dev, uint64_t ino)
{
	struct file *file = file_lookup(d, dev, ino);
	uint32_t saved;
	char link[32];
	int opath_fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (file && file->opath_fd < 0) { /* after a restart */
		file->opath_fd = open(link, O_PATH | O_CLOEXEC);
		file_save(d, file);
	}
	if (file)
		return file;
	if (!user_take(d, user, USER_DESCRIPTORS, 1))
		return NULL;
	opath_fd = open(link, O_PATH | O_CLOEXEC);
	saved = opath_fd < 0 ? 0 : saved_take(d, SAVED_FILE);
	if (saved && saved_reserve(d, SAVED_UNLOOKED, saved) < 0) {
		saved_give(d, SAVED_FILE, saved);
		saved = 0;
	}
	file = make(d, user, dev, ino, saved);
	if (!file) {
		saved_give(d, SAVED_FILE, saved);
		closer_close(opath_fd, 0);
		user_give(d, user, USER_DESCRIPTORS, 1);
		return NULL;
	}
	file->opath_fd = opath_fd;
	file_save(d, file);
	return file;
}

int file_arm(struct daemon *d, struct file *file, int fd)
{
	int rc;

	if (file->armed || file->pool->label != DLP_LABEL_ENFORCED)
		return 0;
	rc = d->guard->ops->arm(d->guard, fd, file->key.dev, file->key.ino);
	if (rc == 0) {
		file->armed = true;
		file->inherited = false;
		file_save(d, file);
		modified_watch(d, file);
	}
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
	modified_forget(d, file);
	/* One that could not be opened again is armed without our knowing: see arm_again(). */
	if (file->lease_fd >= 0) {
		leased_release(d, file);
	} else if (file->armed || file->inherited) {
		rc = d->guard->ops->disarm(d->guard, file->opath_fd, dev, ino);
		/* A mark that stays costs time on that file and protects nothing more. */
		if (rc < 0)
			log_warning("%s: cannot disarm: %s", file_path(file, path), strerror(-rc));
	}
	closer_close(file->opath_fd, 0); /* may free an unlinked file's blocks */
	user_give(d, file->user, USER_DESCRIPTORS, 1);
	user_put(d, file->user);
	if (file->looks)
		saved_drop(d, SAVED_UNLOOKED, file->saved);
	saved_give(d, SAVED_FILE, file->saved);
	HASH_DEL(d->files, file);
	free(file);
}

/* --- restart ---------------------------------------------------------------------------------------------- */

static struct pool *pool_by_name(struct daemon *d, const char *name)
{
	for (unsigned i = 0; i < d->pools_count; i++) {
		if (strncmp(d->pools[i].config->name, name, DLP_NAME_SIZE - 1) == 0)
			return &d->pools[i];
	}
	return NULL;
}

/* The pool's path is the device's; another node may be there by now. */
static int open_node(const struct saved_file *record, const struct pool *pool)
{
	int fd = open(pool->config->path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_dev != record->dev || st.st_ino != record->ino)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Only to name it and to disarm it; without it the lease is guarded all the same. */
static int open_again(const struct saved_file *record, const struct pool *pool)
{
	struct {
		struct file_handle handle;
		unsigned char bytes[SAVED_HANDLE_BYTES];
	} name = {.handle.handle_bytes = record->handle_bytes, .handle.handle_type = record->handle_type};
	struct stat st;
	int mount, fd = -1;

	if (pool && pool->config->type == DLP_POOL_DEVDAX)
		return open_node(record, pool);
	if (!pool || !record->handle_bytes || record->handle_bytes > SAVED_HANDLE_BYTES)
		return -1;
	memcpy(name.handle.f_handle, record->handle, record->handle_bytes);
	mount = open(pool->config->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount >= 0)
		fd = open_by_handle_at(mount, &name.handle, O_PATH | O_CLOEXEC);
	if (mount >= 0)
		close(mount);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_dev != record->dev || st.st_ino != record->ino)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Its mark may have gone: what was done after the last commit is not known. */
static int arm_again(struct daemon *d, struct file *file)
{
	int rc;

	if (!d->guard)
		return -ENODEV;
	if (file->opath_fd < 0 && d->guard_lost)
		return -ESTALE; /* a new group has no mark for it */
	if (file->opath_fd < 0) {
		file->inherited = true;
		return d->guard->ops->rearm(d->guard, file->key.dev, file->key.ino);
	}
	rc = d->guard->ops->arm(d->guard, file->opath_fd, file->key.dev, file->key.ino);
	file->armed = rc == 0;
	return rc;
}

/* Those whose leases the daemon before had not looked at twice. */
static int restore_looks(struct daemon *d)
{
	const struct saved_unlooked *record;
	uint32_t cursor = 0;

	while ((record = saved_next(d, SAVED_UNLOOKED, &cursor))) {
		struct file *file = file_lookup(d, record->dev, record->ino);

		if (!file || file->saved != cursor)
			return -EBADMSG;
		file->looks = 1;
	}
	return 0;
}

/* The descriptions that have kernel leases, by their slots. */
static void collect(struct daemon *d, int fds[STORE_SLOTS])
{
	uint32_t slot;
	int fd;

	for (slot = 0; slot < STORE_SLOTS; slot++)
		fds[slot] = -1;
	while ((fd = store_take(d->store, STORE_LEASED, &slot)) >= 0)
		fds[slot] = fd;
}

/* Nobody's: taken when the daemon before died. */
static void discard(struct daemon *d, const int fds[STORE_SLOTS])
{
	for (uint32_t slot = 0; slot < STORE_SLOTS; slot++) {
		if (fds[slot] < 0)
			continue;
		fcntl(fds[slot], F_SETLEASE, F_UNLCK);
		store_drop(d->store, STORE_LEASED, slot, fds[slot], 0);
	}
}

/* In its pool as it is configured now, by the description that was kept. Else whoever wanted it has gone on, or will. */
static void lease_again(struct daemon *d, struct file *file, uint32_t slot, int *fd)
{
	const bool wanted = d->leases && file->pool && file->pool->config->guard == CONFIG_GUARD_KERNEL_LEASE;

	if (wanted && *fd >= 0) {
		file->lost = leased_restore(d, file, slot, *fd) < 0;
		*fd = -1;
	} else {
		file->lost = true;
	}
	if (file->lost)
		log_error("inode %llu of device %llu was not guarded while no daemon was there: its leases are revoked",
			  (unsigned long long)file->key.ino, (unsigned long long)file->key.dev);
}

static int restore(struct daemon *d, int fds[STORE_SLOTS])
{
	const struct saved_file *record;
	uint32_t cursor = 0;

	while ((record = saved_next(d, SAVED_FILE, &cursor))) {
		struct user *user = user_get(d, record->uid);
		struct file *file = user ? make(d, user, record->dev, record->ino, cursor) : NULL;
		int rc;

		/* An older version had no such records. */
		if (!file || saved_reserve(d, SAVED_UNLOOKED, cursor) < 0)
			return -ENOMEM;
		user_take_back(d, user, USER_DESCRIPTORS, 1);
		if (record->pool[0])
			file->pool = pool_by_name(d, record->pool);
		if (!file->pool && record->armed) /* it has another name now */
			file->pool = pool_by_dev(d, record->dev);
		file->opath_fd = open_again(record, file->pool);
		if (file->opath_fd < 0)
			log_warning("inode %llu of device %llu is leased, but cannot be opened again: it has no name now",
				    (unsigned long long)record->ino, (unsigned long long)record->dev);
		if (record->lease && record->lease <= STORE_SLOTS)
			lease_again(d, file, record->lease - 1, &fds[record->lease - 1]);
		if (!record->armed || record->lease)
			continue;
		rc = arm_again(d, file);
		if (rc < 0 && !d->guard_lost)
			return rc;
		modified_watch(d, file);
	}
	return restore_looks(d);
}

int files_restore(struct daemon *d)
{
	int *fds = malloc(STORE_SLOTS * sizeof(*fds));
	int rc = fds ? 0 : -ENOMEM;

	if (fds) {
		collect(d, fds);
		rc = restore(d, fds);
		if (rc == 0)
			discard(d, fds);
	}
	free(fds);
	return rc;
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
