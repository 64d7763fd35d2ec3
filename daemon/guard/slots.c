/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/slots.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int slots_open(struct slots *slots, uint32_t capacity)
{
	void *table = mmap(NULL, capacity * sizeof(struct slot), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table == MAP_FAILED)
		return -errno;
	*slots = (struct slots){.slot = table, .capacity = capacity, .free = SLOT_NONE};
	return 0;
}

void slots_close(struct slots *slots)
{
	if (slots->slot)
		munmap(slots->slot, slots->capacity * sizeof(struct slot));
	*slots = (struct slots){.free = SLOT_NONE};
}

uint32_t slots_take(struct slots *slots)
{
	uint32_t index = slots->free;
	struct slot *slot;

	if (index != SLOT_NONE)
		slots->free = slots->slot[index].next;
	else if (slots->fresh < slots->capacity)
		index = slots->fresh++;
	else
		return SLOT_NONE;
	slots->used++;
	slot = &slots->slot[index];
	memset(slot, 0, sizeof(*slot));
	slot->event.head.fd = -1;
	slot->next = SLOT_NONE;
	slot->state = SLOT_TAKEN;
	return index;
}

void slots_put(struct slots *slots, uint32_t index)
{
	struct slot *slot = &slots->slot[index];

	slot->event.head.fd = -1;
	slot->state = SLOT_FREE;
	slot->next = slots->free;
	slots->free = index;
	slots->used--;
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
