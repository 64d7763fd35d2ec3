/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A binary heap of the leases that have a deadline; each knows its place in it. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/core/records.h"

static uint64_t due(const struct core *core, uint32_t pos)
{
	return lease_at(core, core->heap[pos])->deadline_ns;
}

static void place(struct core *core, uint32_t pos, uint32_t lease)
{
	core->heap[pos] = lease;
	lease_at(core, lease)->heap_pos = pos;
}

static void swap(struct core *core, uint32_t a, uint32_t b)
{
	uint32_t lease = core->heap[a];

	place(core, a, core->heap[b]);
	place(core, b, lease);
}

/* Moves the entry at `pos` up or down to where it belongs. */
static void sift(struct core *core, uint32_t pos)
{
	while (pos > 1 && due(core, pos) < due(core, pos / 2)) {
		swap(core, pos, pos / 2);
		pos /= 2;
	}
	for (;;) {
		uint64_t child = (uint64_t)pos * 2;

		if (child > core->heap_used)
			return;
		if (child < core->heap_used &&
		    due(core, (uint32_t)child + 1) < due(core, (uint32_t)child))
			child++;
		if (due(core, pos) <= due(core, (uint32_t)child))
			return;
		swap(core, pos, (uint32_t)child);
		pos = (uint32_t)child;
	}
}

int deadlines_reserve(struct core *core, uint32_t capacity)
{
	uint32_t *grown;

	if (capacity <= core->heap_capacity)
		return 0;
	grown = reallocarray(core->heap, capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	core->heap = grown;
	core->heap_capacity = capacity;
	return 0;
}

void deadline_set(struct core *core, uint32_t index, uint64_t deadline_ns)
{
	struct core_lease *lease = lease_at(core, index);

	lease->deadline_ns = deadline_ns;
	if (!lease->heap_pos)
		place(core, ++core->heap_used, index);
	sift(core, lease->heap_pos);
}

void deadline_clear(struct core *core, uint32_t index)
{
	struct core_lease *lease = lease_at(core, index);
	uint32_t pos = lease->heap_pos;

	lease->deadline_ns = 0;
	if (!pos)
		return;
	lease->heap_pos = 0;
	if (pos < core->heap_used) {
		place(core, pos, core->heap[core->heap_used]);
		core->heap_used--;
		sift(core, pos);
	} else {
		core->heap_used--;
	}
}

uint32_t deadline_first(const struct core *core)
{
	return core->heap_used ? core->heap[1] : CORE_NONE;
}
