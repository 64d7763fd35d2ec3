/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/slots.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

size_t slots_bytes(uint32_t capacity)
{
	return sizeof(struct slots_head) + capacity * sizeof(struct slot);
}

static void use_region(struct slots *slots, void *region, uint32_t capacity)
{
	*slots = (struct slots){
		.head = region,
		.slot = (struct slot *)((char *)region + sizeof(struct slots_head)),
		.capacity = capacity,
		.free = SLOT_NONE,
	};
}

int slots_open(struct slots *slots, void *region, uint32_t capacity)
{
	void *own = NULL;

	if (!region) {
		own = mmap(NULL, slots_bytes(capacity), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (own == MAP_FAILED)
			return -errno;
	}
	use_region(slots, own ? own : region, capacity);
	slots->own = own != NULL;
	*slots->head = (struct slots_head){.stride = sizeof(struct slot), .capacity = capacity};
	return 0;
}

void slots_close(struct slots *slots)
{
	if (slots->own)
		munmap(slots->head, slots_bytes(slots->capacity));
	*slots = (struct slots){.free = SLOT_NONE};
}

uint32_t slots_take(struct slots *slots)
{
	uint32_t index = slots->free;
	struct slot *slot;

	if (index != SLOT_NONE)
		slots->free = slots->slot[index].next;
	else if (slots->head->fresh < slots->capacity)
		index = (uint32_t)slots->head->fresh;
	else
		return SLOT_NONE;
	slots->used++;
	slot = &slots->slot[index];
	memset(slot, 0, sizeof(*slot));
	slot->event.head.fd = -1;
	slot->next = SLOT_NONE;
	slot->serial = ++slots->head->serial;
	/* Whoever takes over sees what was stored in the order of the program. */
	atomic_signal_fence(memory_order_seq_cst);
	slot->state = SLOT_TAKEN;
	atomic_signal_fence(memory_order_seq_cst);
	if (index == slots->head->fresh) /* now that it says that it has no descriptor */
		slots->head->fresh++;
	return index;
}

void slots_put(struct slots *slots, uint32_t index)
{
	struct slot *slot = &slots->slot[index];

	slot->state = SLOT_FREE;
	slot->event.head.fd = -1;
	slot->next = slots->free;
	slots->free = index;
	slots->used--;
}

/* --- taking over ------------------------------------------------------------------------------ */

/* A read gave two events and the second was not moved yet, or is in its own record already and not cleared in the
 * first: the number tells. */
static bool second_of(const struct slots *slots, const struct slot *slot,
		      struct fanotify_event_metadata *second)
{
	const size_t first = slot->event.head.event_len;

	if (first != sizeof(*second) || slot->state != SLOT_TAKEN)
		return false;
	memcpy(second, (const char *)&slot->event + first, sizeof(*second));
	if (second->event_len != sizeof(*second) || second->fd < 0)
		return false;
	for (uint32_t i = 0; i < slots->head->fresh; i++) {
		const struct slot *other = &slots->slot[i];

		if (other->state != SLOT_FREE && other->event.head.fd == second->fd)
			return false;
	}
	return true;
}

static int split(struct slots *slots, uint32_t index)
{
	struct slot *slot = &slots->slot[index];
	struct fanotify_event_metadata second;
	uint32_t taken;

	if (!second_of(slots, slot, &second))
		return 0;
	taken = slots_take(slots);
	if (taken == SLOT_NONE)
		return -EBADMSG; /* there is always one spare */
	slots->slot[taken].event.head = second;
	return 0;
}

/* How many records of whose length it has; false: that makes no sense. Those of version 1 were the shortest. */
static bool has_records(const struct slots_head *head, size_t bytes)
{
	return head->stride >= SLOT_FIRST_BYTES && head->stride % 8 == 0 &&
	       bytes >= sizeof(*head) && head->capacity <= (bytes - sizeof(*head)) / head->stride &&
	       head->fresh <= head->capacity;
}

static const struct slot *record_of(const struct slots_head *head, uint64_t index)
{
	return (const struct slot *)((const char *)(head + 1) + index * head->stride);
}

int slots_highest(const void *region, size_t bytes)
{
	const struct slots_head *head = region;
	int highest = -1;

	if (!has_records(head, bytes))
		return -1;
	for (uint64_t i = 0; i < head->fresh; i++) {
		const struct slot *slot = record_of(head, i);
		struct fanotify_event_metadata second;

		if (slot->state == SLOT_FREE)
			continue;
		if (slot->event.head.fd > highest)
			highest = slot->event.head.fd;
		if (slot->event.head.event_len != sizeof(second))
			continue;
		memcpy(&second, (const char *)&slot->event + sizeof(second), sizeof(second));
		if (second.fd > highest)
			highest = second.fd;
	}
	return highest;
}

int slots_copy(void *region, uint32_t capacity, const void *from, size_t bytes)
{
	const struct slots_head *old = from;
	struct slots_head *head = region;
	struct slot *slot = (struct slot *)(head + 1);

	if (old->stride == 0) /* no guard was there */
		return 0;
	if (!has_records(old, bytes))
		return -EBADMSG;
	if (old->stride > sizeof(*slot) || old->fresh > capacity)
		return -ENOTSUP;
	for (uint64_t i = 0; i < old->fresh; i++)
		memcpy(&slot[i], record_of(old, i), old->stride);
	*head = (struct slots_head){
		.stride = sizeof(*slot),
		.serial = old->serial,
		.capacity = capacity,
		.fresh = old->fresh,
	};
	return 0;
}

int slots_take_over(struct slots *slots, void *region, uint32_t capacity,
		    int (*each)(void *arg, struct slot *slot), void *arg)
{
	const struct slots_head *head = region;
	uint32_t fresh = (uint32_t)head->fresh;
	int ret = 0;

	if (head->stride != sizeof(struct slot) || head->capacity != capacity ||
	    head->fresh > capacity)
		return -EBADMSG;
	use_region(slots, region, capacity);
	for (uint32_t i = 0; i < fresh; i++)
		slots->used += slots->slot[i].state != SLOT_FREE;
	/* Free records first, so that there is room for the second events. */
	for (uint32_t i = fresh; i-- > 0;) {
		struct slot *slot = &slots->slot[i];

		slot->next = SLOT_NONE;
		/* Taken and not read, or answered: what its event was owed it has had. */
		if (slot->state == SLOT_FREE || slot->state == SLOT_CLOSING ||
		    (slot->state == SLOT_TAKEN && slot->event.head.fd < 0)) {
			slots->used += slot->state == SLOT_FREE;
			slots_put(slots, i);
		}
	}
	for (uint32_t i = 0; !ret && i < fresh; i++)
		ret = split(slots, i);
	for (uint32_t i = 0; !ret && i < slots->head->fresh; i++) {
		if (slots->slot[i].state != SLOT_FREE && slots->slot[i].event.head.fd >= 0)
			ret = each(arg, &slots->slot[i]);
	}
	return ret;
}

void slot_list_push(struct slots *slots, struct slot_list *list, uint32_t index)
{
	slots->slot[index].next = SLOT_NONE;
	if (list->tail == SLOT_NONE)
		list->head = index;
	else
		slots->slot[list->tail].next = index;
	list->tail = index;
}

uint32_t slot_list_pop(struct slots *slots, struct slot_list *list)
{
	uint32_t index = list->head;

	if (index == SLOT_NONE)
		return index;
	list->head = slots->slot[index].next;
	if (list->head == SLOT_NONE)
		list->tail = SLOT_NONE;
	slots->slot[index].next = SLOT_NONE;
	return index;
}
