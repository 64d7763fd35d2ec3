// SPDX-License-Identifier: LGPL-2.1-or-later
/* Registering memory of a DAX file: in the emulated machine, which has the device for it. */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/subject.h"

#define LENGTH (1u << 20)

static struct ibv_pd *pd;
static void *mapped;
static int flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;

static void start(char **argument)
{
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_context *context = devices && devices[0] ? ibv_open_device(devices[0]) : NULL;
	int fd = open(argument[0], O_RDWR | O_CLOEXEC);

	pd = context ? ibv_alloc_pd(context) : NULL;
	if (!pd)
		subject_fail("no RDMA device");
	mapped = fd < 0 ? MAP_FAILED
			: mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		subject_fail(argument[0]);
	memset(mapped, 'a', LENGTH);
}

static void start_on_demand(char **argument)
{
	start(argument);
	flags |= IBV_ACCESS_ON_DEMAND;
}

static void make_mr(void)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, mapped, LENGTH, flags);

	if (!mr || ibv_dereg_mr(mr) != 0)
		subject_fail("ibv_reg_mr");
}

const struct subject subjects[] = {
	{"register", "FILE",
	 "ibv_reg_mr and ibv_dereg_mr, as a program does that knows nothing of leases", start, NULL,
	 make_mr, NULL},
	{"register-on-demand", "FILE", "the same with on-demand access", start_on_demand, NULL,
	 make_mr, NULL},
	{0},
};
