// SPDX-License-Identifier: LGPL-2.1-or-later
/* What of doctor needs no daemon: the kernel, the RDMA devices. */
#include "ctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/guard/fanotify_abi.h"

/* --- the kernel ---------------------------------------------------------------------------- */

int try_guard(const char *path)
{
	/* Of the directory itself, without its children: nobody is stopped by that. */
	const int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC,
					O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	int error = group < 0 ? -errno : 0;

	if (!error && fanotify_mark(group, FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD, path) != 0)
		error = -errno;
	if (group >= 0)
		close(group);
	return error;
}

/* A memory file: a kernel that has the events refuses them there by another errno than one that has not. */
static int try_kernel(void)
{
	const int fd = memfd_create("daxleasectl", MFD_CLOEXEC);
	char path[32];
	int error;

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	error = try_guard(path);
	close(fd);
	return error == -EOPNOTSUPP ? 0 : error;
}

/* The guard's decoder tells from a thread's stack what it is doing. */
static int try_stack(void)
{
	const int fd = open("/proc/self/stack", O_RDONLY | O_CLOEXEC);
	char byte;
	int error = fd < 0 ? -errno : 0;

	if (!error && read(fd, &byte, 1) != 1)
		error = errno ? -errno : -EOPNOTSUPP;
	if (fd >= 0)
		close(fd);
	return error;
}

void look_at_kernel(struct findings *findings)
{
	struct utsname name = {.release = "?"};
	int error;

	uname(&name);
	error = try_kernel();
	if (error == -EPERM)
		finding(findings, VERDICT_NOTE, "kernel",
			"run it as root, in the initial user namespace",
			"Linux %s: whether it can guard files, only root can try", name.release);
	else if (error)
		finding(findings, VERDICT_NOTE, "kernel",
			"use Linux 6.14 or later (with CONFIG_FANOTIFY_ACCESS_PERMISSIONS); until "
			"then guard = kernel-lease in each pool",
			"Linux %s has no pre-content events: %s", name.release,
			strerror(-error));
	else
		finding(findings, VERDICT_GOOD, "kernel", NULL,
			"Linux %s can guard files (pre-content events of fanotify)", name.release);
	if (error != -EPERM && try_stack() != 0)
		finding(findings, VERDICT_WRONG, "kernel stacks",
			"use a kernel with CONFIG_STACKTRACE; without it the daemon has no guard",
			"/proc/PID/stack cannot be read: what a stopped thread does cannot be "
			"told");
}

/* --- RDMA ---------------------------------------------------------------------------------- */

static void look_at_device(struct findings *findings, struct ibv_device *device)
{
	const char *name = ibv_get_device_name(device);
	struct ibv_context *context = ibv_open_device(device);
	struct ibv_device_attr_ex attr = {.comp_mask = 0};
	uint32_t rc;

	if (!context) {
		finding(findings, VERDICT_WRONG, "rdma",
			"as root look into dmesg; as another user see the permissions of "
			"/dev/infiniband",
			"%s cannot be opened: %s", name, strerror(errno));
		return;
	}
	if (ibv_query_device_ex(context, NULL, &attr) != 0) {
		finding(findings, VERDICT_WRONG, "rdma",
			"install the device's provider (ibverbs-providers)",
			"%s does not say what it can: %s", name, strerror(errno));
		ibv_close_device(context);
		return;
	}
	rc = attr.odp_caps.per_transport_caps.rc_odp_caps;
	if (!(attr.odp_caps.general_caps & IBV_ODP_SUPPORT))
		finding(findings, VERDICT_WRONG, "rdma",
			"use a device with ODP (mlx5; rxe of Linux 6.15 or later), or device-dax, "
			"which can be pinned",
			"%s registers nothing on demand (no ODP): file-system DAX cannot be "
			"registered with it",
			name);
	else if ((rc & (IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ)) !=
		 (IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ))
		finding(findings, VERDICT_WRONG, "rdma", NULL,
			"%s has ODP, but no remote %s through it on reliable connections "
			"(capabilities 0x%x)",
			name, rc & IBV_ODP_SUPPORT_WRITE ? "reads" : "writes", rc);
	else
		finding(findings, VERDICT_GOOD, "rdma", NULL,
			"%s registers on demand (ODP): file-system DAX works with it (reliable "
			"connections: 0x%x)",
			name, rc);
	ibv_close_device(context);
}

void look_at_rdma(struct findings *findings)
{
	int count = 0;
	struct ibv_device **devices = ibv_get_device_list(&count);

	if (count == 0)
		finding(findings, VERDICT_NOTE, "rdma",
			"for soft RoCE: modprobe rdma_rxe && rdma link add rxe0 type rxe netdev "
			"ETH; the packages "
			"rdma-core and ibverbs-providers have what hardware needs",
			"there is no RDMA device: leases work, but there is nothing to register "
			"memory with");
	for (int i = 0; i < count; i++)
		look_at_device(findings, devices[i]);
	if (devices)
		ibv_free_device_list(devices);
}
