// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Mappings of a device-dax device that are not whole multiples of its alignment, and MRs on them, in a program that
 * knows nothing of leases: run it under daxlease-run --mode require in the guest.
 *
 *   devdax_map DEVICE ALIGNMENT
 */
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "tests/unit/shim_check.h"

#define RW (PROT_READ | PROT_WRITE)
#define LENGTH (128u << 10)

static const char *path;
static size_t alignment;
static int fd;
static struct ibv_pd *pd;

static bool is_mapped(const char *at)
{
	return msync((void *)at, 4096, MS_ASYNC) == 0;
}

static int leases(void)
{
	FILE *list = popen("daxleasectl list --output path 2>/dev/null", "r");
	char line[4096];
	int count = 0;

	CHECK(list);
	while (fgets(line, sizeof(line), list))
		count += strncmp(line, path, strlen(path)) == 0;
	CHECK(pclose(list) == 0);
	return count;
}

static bool leases_are(int wanted)
{
	int count = -1;

	for (int try = 0; try < 500 && count != wanted; try++) {
		if (try > 0)
			usleep(20000);
		count = leases();
	}
	if (count != wanted)
		fprintf(stderr, "there are %d leases instead of %d\n", count, wanted);
	return count == wanted;
}

static void rounded_up(void)
{
	char *map = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED && leases_are(1));
	memset(map, 'a', LENGTH);
	CHECK(alignment <= LENGTH || (munmap(map, 4096) < 0 && errno == EINVAL && is_mapped(map)));
	CHECK(is_mapped(map + (alignment > LENGTH ? alignment - 4096 : LENGTH - 4096)));
	CHECK(munmap(map, LENGTH) == 0 && !is_mapped(map) && leases_are(0));
	CHECK(alignment <= LENGTH || !is_mapped(map + alignment - 4096));
}

/* The MR is pinned: it goes on without its mapping, and so does its lease (C22). */
static void registered(void)
{
	char *map = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
	struct ibv_mr *mr = ibv_reg_mr(pd, map, LENGTH, IBV_ACCESS_LOCAL_WRITE);

	CHECK(mr && munmap(map, LENGTH) == 0 && !is_mapped(map) && leases_are(1));
	CHECK(ibv_dereg_mr(mr) == 0 && leases_are(0));
}

/* At an address of the program's choice, over something else, which a refusal leaves there. */
static void placed(void)
{
	size_t whole = alignment > LENGTH ? alignment : LENGTH;
	char *room = mmap(NULL, 3 * whole, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *place, *map;

	CHECK(room != MAP_FAILED);
	place = room + (whole - (uintptr_t)room % whole) % whole;
	memset(place, 'p', whole);
	if (alignment > LENGTH) { /* what lies behind it is not ours to map over */
		CHECK(mmap(place, LENGTH, RW, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED &&
		      errno == EINVAL);
		CHECK(place[0] == 'p' && place[whole - 1] == 'p');
	}
	map = mmap(place, whole, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	CHECK(map == place && leases_are(1));
	map[0] = 'q';
	CHECK(munmap(map, whole) == 0 && !is_mapped(map) && leases_are(0));
}

/* No rounding helps: the pages at that offset are not aligned. */
static void offset_refused(void)
{
	CHECK(mmap(NULL, alignment, RW, MAP_SHARED, fd, 4096) == MAP_FAILED || alignment == 4096);
	CHECK(leases_are(alignment == 4096));
}

static void behind_its_end(void)
{
	CHECK(mmap(NULL, alignment, RW, MAP_SHARED, fd, (off_t)alignment << 30) == MAP_FAILED);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{"C7 less than the alignment is mapped, leased and unmapped whole", rounded_up},
		{"C7, C22 an MR on it is pinned, and keeps its lease", registered},
		{"C7 MAP_FIXED of the alignment, and refused of less", placed},
		{"C7 an offset between two multiples: refused", offset_refused},
		{"C7 behind the end of the device: refused", behind_its_end},
		{0},
	};
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_context *context;

	CHECK(argc == 3 && devices && devices[0]);
	path = argv[1];
	alignment = strtoul(argv[2], NULL, 10);
	fd = open(path, O_RDWR | O_CLOEXEC);
	context = ibv_open_device(devices[0]);
	CHECK(fd >= 0 && context && (pd = ibv_alloc_pd(context)));
	return check_all(tests);
}
