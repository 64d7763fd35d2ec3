// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Device-dax pools (C7): what the device of one is. Nothing tells of a change: the node in /dev stays while a device
 * changes its driver, and uevents come by the network's namespace, which the daemon has none of. So it is looked at each
 * second: what such a look asks the kernel takes no lock that a driver holds which waits for pinned pages. Size and
 * alignment (libdaxctl), which may, are asked for once, when the device has come.
 */
#include <daxctl/libdaxctl.h>
#include <errno.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/daemon.h"

#define LOOK_NS NS_PER_S
#define DRIVER "device_dax"

/* The last part of where a link of the device in sysfs leads; "" if there is none. */
static void sysfs_link(uint64_t device, const char *link, char *name, size_t size)
{
	char path[64], target[256];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/%s", major(device), minor(device), link);
	length = readlink(path, target, sizeof(target) - 1);
	target[length > 0 ? length : 0] = 0;
	snprintf(name, size, "%s", length > 0 ? basename(target) : "");
}

/* 0, or -errno: what libdaxctl could not tell. */
static int ask_size(uint64_t device, struct pool *pool)
{
	struct daxctl_region *region;
	struct daxctl_ctx *ctx;
	struct daxctl_dev *dev;
	uint64_t size = 0, alignment = 0;
	int rc = daxctl_new(&ctx);

	if (rc < 0)
		return rc;
	daxctl_region_foreach(ctx, region)
	{
		daxctl_dev_foreach(region, dev)
		{
			if ((unsigned)daxctl_dev_get_major(dev) != major(device) ||
			    (unsigned)daxctl_dev_get_minor(dev) != minor(device))
				continue;
			size = daxctl_dev_get_size(dev);
			alignment = daxctl_dev_get_align(dev);
		}
	}
	daxctl_unref(ctx);
	if (!size || !alignment)
		return -ENODATA;
	pool->node.size = size;
	pool->node.alignment = alignment;
	return 0;
}

enum dlp_pool_state device_look(struct pool *pool)
{
	const char *path = pool->config->path;
	char subsystem[64], driver[64];
	bool before = pool->state == DLP_POOL_READY;
	struct statfs fs;
	struct stat st;
	int rc;

	pool->reason[0] = 0;
	if (stat(path, &st) < 0) {
		snprintf(pool->reason, sizeof(pool->reason), "%s", strerror(errno));
		return DLP_POOL_ABSENT;
	}
	sysfs_link(st.st_rdev, "subsystem", subsystem, sizeof(subsystem));
	if (!S_ISCHR(st.st_mode) || strcmp(subsystem, "dax") != 0) {
		snprintf(pool->reason, sizeof(pool->reason), "it is no device-dax device");
		return DLP_POOL_REFUSED;
	}
	sysfs_link(st.st_rdev, "driver", driver, sizeof(driver));
	if (strcmp(driver, DRIVER) != 0) {
		snprintf(pool->reason, sizeof(pool->reason),
			 driver[0] ? "its driver is %s: 'daxctl reconfigure-device -m devdax' "
				     "gives it back"
				   : "no driver has it%s: 'daxctl reconfigure-device -m devdax' "
				     "gives it one",
			 driver);
		return DLP_POOL_ABSENT;
	}
	/* Elsewhere /proc/PID/maps may name the node by other numbers, and nothing could be proven of a holder. */
	if (statfs(path, &fs) < 0 || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)) {
		snprintf(pool->reason, sizeof(pool->reason),
			 "its node is not on devtmpfs or tmpfs");
		return DLP_POOL_REFUSED;
	}
	if (before && pool->dev == st.st_rdev && pool->node.dev == st.st_dev &&
	    pool->node.ino == st.st_ino)
		return DLP_POOL_READY;
	rc = ask_size(st.st_rdev, pool);
	if (rc < 0) {
		snprintf(pool->reason, sizeof(pool->reason),
			 "its size and alignment cannot be told: %s", strerror(-rc));
		return DLP_POOL_REFUSED;
	}
	pool->dev = st.st_rdev;
	pool->node.dev = st.st_dev;
	pool->node.ino = st.st_ino;
	snprintf(pool->fstype, sizeof(pool->fstype), "devdax");
	pool->label = DLP_LABEL_ADVISORY;
	return DLP_POOL_READY;
}

struct pool *device_pool(struct daemon *d, uint64_t dev, uint64_t ino)
{
	for (unsigned i = 0; i < d->pools_count; i++) {
		struct pool *pool = &d->pools[i];

		if (pool->config->type == DLP_POOL_DEVDAX && pool->state == DLP_POOL_READY &&
		    pool->node.dev == dev && pool->node.ino == ino)
			return pool;
	}
	return NULL;
}

uint32_t device_refuses(const struct pool *pool, uint64_t start, uint64_t end, uint64_t *offset)
{
	uint64_t alignment = pool->node.alignment;

	*offset = start % alignment ? start : end;
	if (*offset % alignment)
		return DLP_REASON_ALIGNMENT;
	*offset = pool->node.size;
	return end > pool->node.size ? DLP_REASON_BEYOND_DEVICE : DLP_REASON_NONE;
}

void device_round(const struct pool *pool, uint64_t *start, uint64_t *end)
{
	uint64_t alignment = pool->node.alignment;

	if (!alignment) { /* it was not ready since the start: all of it */
		*start = 0;
		*end = UINT64_MAX;
		return;
	}
	*start -= *start % alignment;
	if (*end < pool->node.size)
		*end += (alignment - *end % alignment) % alignment;
}

static void look_again(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	pools_look(d);
	timer_arm(d->devices_timer, LOOK_NS);
}

int devices_start(struct daemon *d)
{
	bool any = false;

	for (unsigned i = 0; i < d->pools_count; i++)
		any |= d->pools[i].config->type == DLP_POOL_DEVDAX;
	if (!any)
		return 0;
	d->devices_timer = evtimer_new(d->base, look_again, d);
	if (!d->devices_timer)
		return -ENOMEM;
	timer_arm(d->devices_timer, LOOK_NS);
	return 0;
}

void devices_stop(struct daemon *d)
{
	if (d->devices_timer)
		event_free(d->devices_timer);
}
