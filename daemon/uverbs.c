/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Facts, from the kernel's drivers/infiniband/core/, and tried on 6.1, 6.12 and 7.2 with rxe
 * (tests/guest/mr_destroy.c):
 *   uverbs_ioctl.c
 *	ib_uverbs_cmd_verbs() looks at the driver's id first (EINVAL), then for the method
 *	(EPROTONOSUPPORT), then at the attributes one after another, then whether mandatory ones
 *	lack. It does not compare credentials, as the older write() interface does.
 *   rdma_core.c
 *	One table of handles for all kinds of objects: no such handle ENOENT, another kind EINVAL,
 *	in use EBUSY. A handle is free only after the hardware's object is destroyed, so ENOENT
 *	proves that.
 *   uverbs_std_types_mr.c
 *	QUERY_MR: handle, lkey, rkey and length are mandatory.
 */
#include "daemon/uverbs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* Kernels know ids up to 21 or so; a vendor's own module was seen to use 242. */
#define DRIVER_IDS 256

/* No kernel has such an object: it can have 24 of the core's, and 0x1000 marks the driver's own. */
#define NO_OBJECT 0x0fff

#define BUSY_TRIES 100
#define BUSY_PAUSE_NS 1000000

#define MAX_ATTRS 4

/* Of one descriptor, that are looked at: a second's work. */
#define OBJECTS_MAX (1u << 20)

union command {
	struct ib_uverbs_ioctl_hdr head; /* ends in attrs[] */
	unsigned char bytes[sizeof(struct ib_uverbs_ioctl_hdr) +
			    MAX_ATTRS * sizeof(struct ib_uverbs_attr)];
};

static int call(const struct uverbs *uverbs, unsigned object, unsigned method,
		const struct ib_uverbs_attr *attrs, unsigned count)
{
	union command command;

	do { /* the kernel writes into it */
		memset(&command, 0, sizeof(command));
		command.head.length = (uint16_t)(sizeof(command.head) + count * sizeof(attrs[0]));
		command.head.object_id = (uint16_t)object;
		command.head.method_id = (uint16_t)method;
		command.head.num_attrs = (uint16_t)count;
		command.head.driver_id = uverbs->driver_id;
		if (count)
			memcpy(command.head.attrs, attrs, count * sizeof(attrs[0]));
		if (ioctl(uverbs->fd, RDMA_VERBS_IOCTL, &command) >= 0)
			return 0;
	} while (errno == EINTR);
	return -errno;
}

/*
 * "231 infiniband_verbs\n": devices behind the first 32 have a second number, with the same name.
 */
int uverbs_check_major(unsigned major_number)
{
	static const char name[] = "infiniband_verbs";
	char text[4096];
	size_t at = 0; /* in the name */
	uint64_t number = 0;
	bool digits = false, in_name = false, other = false, characters = true;
	ssize_t got;
	int fd = open("/proc/devices", O_RDONLY | O_CLOEXEC), rc = -ENOTTY;

	if (fd < 0)
		return -errno;
	while (rc == -ENOTTY && (got = read(fd, text, sizeof(text))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = -errno;
			break;
		}
		for (ssize_t i = 0; i < got; i++) {
			char c = text[i];

			if (c == '\n') {
				if (characters && digits && !other && at == sizeof(name) - 1 &&
				    number == major_number)
					rc = 0;
				number = at = 0;
				digits = in_name = other = false;
			} else if (!in_name && c >= '0' && c <= '9' && number < 1u << 24) {
				number = number * 10 + (uint64_t)(c - '0');
				digits = true;
			} else if (!in_name && c == ' ') {
				continue;
			} else {
				if (!in_name && !digits &&
				    c == 'B') /* "Block devices:" come second */
					characters = false;
				in_name = true;
				if (at < sizeof(name) - 1 && c == name[at])
					at++;
				else
					other = true;
			}
		}
	}
	close(fd);
	return rc;
}

int uverbs_open(int fd, struct uverbs *uverbs)
{
	struct stat st;
	int rc;

	*uverbs = (struct uverbs){ .fd = fd };
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode))
		return -ENOTTY;
	rc = uverbs_check_major(major(st.st_rdev));
	if (rc < 0)
		return rc;

	/* The right id gets as far as the missing object. */
	for (uint32_t id = 0; id < DRIVER_IDS; id++) {
		uverbs->driver_id = id;
		rc = call(uverbs, NO_OBJECT, 0, NULL, 0);
		if (rc == -EPROTONOSUPPORT)
			return 0;
		if (rc != -EINVAL)
			break;
	}
	return rc == 0 || rc == -EINVAL || rc == -ENOTTY ? -EOPNOTSUPP : rc;
}

bool uverbs_any(void)
{
	DIR *devices = opendir("/sys/class/infiniband_verbs");
	const struct dirent *entry;
	bool found = !devices && errno != ENOENT;

	while (devices && !found && (entry = readdir(devices)))
		found = strncmp(entry->d_name, "uverbs", strlen("uverbs")) == 0;
	if (devices)
		closedir(devices);
	return found;
}

static struct ib_uverbs_attr handle_attr(unsigned id, uint32_t handle)
{
	return (struct ib_uverbs_attr){ .attr_id = (uint16_t)id,
					.flags = UVERBS_ATTR_F_MANDATORY,
					.data = handle };
}

static struct ib_uverbs_attr out_attr(unsigned id, void *to, size_t size)
{
	return (struct ib_uverbs_attr){ .attr_id = (uint16_t)id,
					.flags = UVERBS_ATTR_F_MANDATORY,
					.len = (uint16_t)size,
					.data = (uintptr_t)to };
}

/* What MR has the handle. 0, -ENOENT: no object has; -EINVAL: one of another kind. */
static int query(const struct uverbs *uverbs, uint32_t handle, struct uverbs_mr *found)
{
	const struct ib_uverbs_attr attrs[] = {
		handle_attr(UVERBS_ATTR_QUERY_MR_HANDLE, handle),
		out_attr(UVERBS_ATTR_QUERY_MR_RESP_LKEY, &found->lkey, sizeof(found->lkey)),
		out_attr(UVERBS_ATTR_QUERY_MR_RESP_RKEY, &found->rkey, sizeof(found->rkey)),
		out_attr(UVERBS_ATTR_QUERY_MR_RESP_LENGTH, &found->length, sizeof(found->length)),
	};

	_Static_assert(sizeof(attrs) / sizeof(attrs[0]) == MAX_ATTRS,
		       "union command has room for these");
	found->handle = handle;
	return call(uverbs, UVERBS_OBJECT_MR, UVERBS_METHOD_QUERY_MR, attrs, MAX_ATTRS);
}

int uverbs_look(const struct uverbs *uverbs, const struct uverbs_mr *mr)
{
	struct uverbs_mr found = { 0 };
	int rc = query(uverbs, mr->handle, &found);

	/* The driver's id is right and so are the sizes: another kind of object has the handle. */
	if (rc == -EINVAL)
		return -ENOENT;
	if (rc < 0)
		return rc;
	/* A kernel that does not note the length of an MR (before 6.1 some drivers') says 0. */
	if (found.lkey != mr->lkey || found.rkey != mr->rkey ||
	    (found.length && found.length != mr->length))
		return -ESTALE;
	return 0;
}

static int look_and_destroy(const struct uverbs *uverbs, const struct uverbs_mr *mr)
{
	const struct ib_uverbs_attr attr = handle_attr(UVERBS_ATTR_DESTROY_MR_HANDLE, mr->handle);
	int rc = uverbs_look(uverbs, mr);

	if (!rc)
		rc = call(uverbs, UVERBS_OBJECT_MR, UVERBS_METHOD_MR_DESTROY, &attr, 1);
	return rc == -ENOENT ? 0 : rc;
}

int uverbs_destroy_mr(const struct uverbs *uverbs, const struct uverbs_mr *mr)
{
	int rc = look_and_destroy(uverbs, mr);

	/* Somebody else looks at it or destroys it just now; a bound memory window stays. */
	for (int try = 0; rc == -EBUSY && try < BUSY_TRIES; try++) {
		nanosleep(&(struct timespec){ .tv_nsec = BUSY_PAUSE_NS }, NULL);
		rc = look_and_destroy(uverbs, mr);
	}
	return rc;
}

/* Calls `visit` for each handle; it says -ENOENT where there is no object. 0, or its first other error. */
static int each_handle(const struct uverbs *uverbs, uint32_t highest,
		       int (*visit)(const struct uverbs *uverbs, uint32_t handle, uint64_t arg),
		       uint64_t arg)
{
	uint32_t end = highest + UVERBS_GAP;

	if (highest >= OBJECTS_MAX) /* the client's word: not to be counted up to */
		return -EOVERFLOW;
	for (uint32_t handle = 0; handle < end; handle++) {
		int rc = visit(uverbs, handle, arg);

		if (rc == -ENOENT)
			continue;
		if (rc < 0)
			return rc;
		if (handle >= OBJECTS_MAX)
			return -EOVERFLOW;
		if (end - handle < UVERBS_GAP)
			end = handle + UVERBS_GAP;
	}
	return 0;
}

static int visit_window(const struct uverbs *uverbs, uint32_t handle, uint64_t unused)
{
	const struct ib_uverbs_attr attr = handle_attr(UVERBS_ATTR_DESTROY_MW_HANDLE, handle);
	int rc = call(uverbs, UVERBS_OBJECT_MW, UVERBS_METHOD_MW_DESTROY, &attr, 1);

	(void)unused;
	return rc == -EINVAL ? 0 : rc; /* an object of another kind */
}

static int visit_mr(const struct uverbs *uverbs, uint32_t handle, uint64_t length)
{
	struct uverbs_mr found = { 0 };
	int rc = query(uverbs, handle, &found);

	if (rc == -EINVAL)
		return 0;
	/* a kernel that notes no length: every one may be it */
	if (rc < 0 || (found.length && found.length != length))
		return rc;
	return uverbs_destroy_mr(uverbs, &found);
}

int uverbs_destroy_windows(const struct uverbs *uverbs, uint32_t highest)
{
	return each_handle(uverbs, highest, visit_window, 0);
}

int uverbs_destroy_length(const struct uverbs *uverbs, uint64_t length, uint32_t highest)
{
	return each_handle(uverbs, highest, visit_mr, length);
}
