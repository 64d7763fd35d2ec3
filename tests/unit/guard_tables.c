/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guard's tables: the set of armed inodes against a naive one, and the records of events. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guard/armed.h"
#include "daemon/guard/slots.h"

static uint64_t state = 1;

static uint32_t random_number(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33);
}

enum { DEVS = 3, INOS = 400 };

static void compare(const struct armed *set, bool model[DEVS][INOS])
{
	size_t count = 0;

	for (uint64_t dev = 0; dev < DEVS; dev++) {
		for (uint64_t ino = 0; ino < INOS; ino++) {
			assert_int_equal(armed_has(set, dev, ino), model[dev][ino]);
			count += model[dev][ino];
		}
	}
	assert_int_equal(set->count, count);
}

static void armed_like_a_naive_set(void **unused)
{
	static bool model[DEVS][INOS];
	struct armed set = {0};

	(void)unused;
	assert_false(armed_has(&set, 1, 1));
	assert_false(armed_remove(&set, 1, 1));
	assert_int_equal(armed_remove_dev(&set, 1), 0);
	for (int step = 0; step < 60000; step++) {
		const uint64_t dev = random_number() % DEVS, ino = random_number() % INOS;
		/* fuller and emptier by turns */
		const bool add = random_number() % 10 < (step / 10000 % 2 ? 3 : 7);

		if (random_number() % 5000 == 0) {
			size_t count = 0;

			for (size_t i = 0; i < INOS; i++)
				count += model[dev][i];
			memset(model[dev], 0, sizeof(model[dev]));
			assert_int_equal(armed_remove_dev(&set, dev), count);
		} else if (add) {
			assert_int_equal(armed_add(&set, dev, ino), 0);
			model[dev][ino] = true;
		} else {
			assert_int_equal(armed_remove(&set, dev, ino), model[dev][ino]);
			model[dev][ino] = false;
		}
		if (step % 500 == 0)
			compare(&set, model);
	}
	compare(&set, model);
	armed_clear(&set);
	assert_false(armed_has(&set, 1, 1));
}

static void slots_come_and_go(void **unused)
{
	struct slots slots;
	uint32_t taken[8];

	(void)unused;
	assert_int_equal(slots_open(&slots, NULL, 8), 0);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 8; i++) {
			taken[i] = slots_take(&slots);
			assert_true(taken[i] < 8);
			/* what a crash before the read would find */
			assert_int_equal(slots.slot[taken[i]].event.head.fd, -1);
			assert_int_equal(slots.slot[taken[i]].state, SLOT_TAKEN);
			for (uint32_t j = 0; j < i; j++)
				assert_int_not_equal(taken[i], taken[j]);
			memset(&slots.slot[taken[i]].event, 0x55, sizeof(struct guard_event));
		}
		assert_int_equal(slots_left(&slots), 0);
		assert_true(slots_take(&slots) == SLOT_NONE);
		for (uint32_t i = 0; i < 8; i++)
			slots_put(&slots, taken[(i * 3) % 8]);
		assert_int_equal(slots_left(&slots), 8);
	}
	slots_close(&slots);
}

static void lists_keep_order(void **unused)
{
	struct slot_list list = SLOT_LIST_EMPTY;
	struct slots slots;
	uint32_t a, b, c;

	(void)unused;
	assert_int_equal(slots_open(&slots, NULL, 8), 0);
	a = slots_take(&slots);
	b = slots_take(&slots);
	c = slots_take(&slots);
	assert_true(slot_list_pop(&slots, &list) == SLOT_NONE);
	slot_list_push(&slots, &list, b);
	slot_list_push(&slots, &list, a);
	assert_int_equal(slot_list_pop(&slots, &list), b);
	slot_list_push(&slots, &list, c);
	assert_int_equal(slot_list_pop(&slots, &list), a);
	assert_int_equal(slot_list_pop(&slots, &list), c);
	assert_true(slot_list_pop(&slots, &list) == SLOT_NONE);
	slot_list_push(&slots, &list, a);
	assert_int_equal(slot_list_pop(&slots, &list), a);
	slots_close(&slots);
}

/* What is taken over: every number once, also of a second event that was not moved yet; nothing of
 * what was answered. */
static int numbers[8];
static unsigned numbers_count;

static int note_number(void *arg, struct slot *slot)
{
	assert_ptr_equal(arg, numbers);
	numbers[numbers_count++] = slot->event.head.fd;
	return 0;
}

static void short_event(void *at, int fd)
{
	struct fanotify_event_metadata event = {.event_len = sizeof(event), .fd = fd};

	memcpy(at, &event, sizeof(event));
}

static void slots_are_taken_over(void **unused)
{
	struct slots old, slots;
	uint32_t unread, two, moved, told, closing, given;
	void *region = calloc(1, slots_bytes(8));
	uint64_t serial;

	(void)unused;
	assert_int_equal(slots_open(&old, region, 8), 0);
	unread = slots_take(&old);
	given = slots_take(&old);
	slots_put(&old, given);
	two = slots_take(&old);
	moved = slots_take(&old);
	told = slots_take(&old);
	closing = slots_take(&old);
	assert_int_equal(old.slot[unread].event.head.fd, -1);
	short_event(&old.slot[two].event, 20);
	short_event((char *)&old.slot[two].event + 24, 21);
	short_event(&old.slot[moved].event, 22);
	short_event((char *)&old.slot[moved].event + 24, 23); /* in its own record already: */
	short_event(&old.slot[told].event, 23);
	old.slot[told].state = SLOT_TOLD;
	short_event(&old.slot[closing].event, 24);
	old.slot[closing].state = SLOT_CLOSING;
	serial = old.slot[told].serial;
	slots_close(&old);

	assert_int_equal(slots_highest(region, slots_bytes(8)), 24);
	numbers_count = 0;
	assert_int_equal(slots_take_over(&slots, region, 7, note_number, numbers), -EBADMSG);
	assert_int_equal(slots_take_over(&slots, region, 8, note_number, numbers), 0);
	assert_int_equal(numbers_count, 4);
	for (unsigned i = 0, seen = 0; i < 4; i++) {
		assert_in_range(numbers[i], 20, 23);
		assert_false(seen & 1u << numbers[i]);
		seen |= 1u << numbers[i];
	}
	assert_int_equal(slots.used, 4);
	assert_int_equal(slots.slot[told].serial, serial);
	for (int i = 0; i < 4; i++) {
		given = slots_take(&slots);
		assert_true(given != SLOT_NONE && given != two && given != moved && given != told);
		assert_true(slots.slot[given].serial > serial);
	}
	assert_true(slots_take(&slots) == SLOT_NONE);
	slots_close(&slots);
	free(region);
}

/* An older version's region: its records end earlier. */
static void slots_are_copied(void **unused)
{
	const size_t older = SLOT_FIRST_BYTES, bytes = sizeof(struct slots_head) + 8 * older;
	struct slots slots, taken;
	struct slots_head *old = calloc(1, bytes + 8 * sizeof(struct slot));
	void *region = calloc(1, slots_bytes(16)), *small = calloc(1, slots_bytes(2));
	uint32_t last = 0;

	(void)unused;
	assert_int_equal(slots_copy(region, 16, old, bytes), 0); /* no guard was there */
	assert_int_equal(slots_open(&slots, NULL, 8), 0);
	for (unsigned i = 0; i < 3; i++) {
		last = slots_take(&slots);
		short_event(&slots.slot[last].event, 30 + (int)i);
		slots.slot[last].state = SLOT_TOLD;
		slots.slot[last].attempt.ino = 7;
	}
	*old = *slots.head;
	old->stride = older;
	for (unsigned i = 0; i < 3; i++)
		memcpy((char *)(old + 1) + i * older, &slots.slot[i], older);
	assert_int_equal(slots_highest(old, bytes), 32);
	assert_int_equal(slots_copy(region, 16, old, bytes), 0);
	numbers_count = 0;
	assert_int_equal(slots_take_over(&taken, region, 16, note_number, numbers), 0);
	assert_int_equal(numbers_count, 3);
	assert_int_equal(taken.slot[last].serial, slots.slot[last].serial);
	assert_int_equal(taken.slot[last].attempt.ino, 7);
	assert_true(slots_take(&taken) != last);

	/* What cannot be believed, or is more than we know. */
	assert_int_equal(slots_copy(small, 2, old, bytes), -ENOTSUP);
	old->stride = sizeof(struct slot) + 8;
	assert_int_equal(slots_copy(region, 16, old, bytes + 8 * sizeof(struct slot)), -ENOTSUP);
	assert_int_equal(slots_copy(region, 16, old, bytes), -EBADMSG);
	old->stride = older - 8;
	assert_int_equal(slots_copy(region, 16, old, bytes), -EBADMSG);
	assert_int_equal(slots_highest(old, bytes), -1);
	old->stride = older;
	old->fresh = 9;
	assert_int_equal(slots_copy(region, 16, old, bytes), -EBADMSG);
	slots_close(&slots);
	free(old);
	free(region);
	free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(armed_like_a_naive_set),
		cmocka_unit_test(slots_come_and_go),
		cmocka_unit_test(slots_are_taken_over),
		cmocka_unit_test(slots_are_copied),
		cmocka_unit_test(lists_keep_order),
	};

	return cmocka_run_group_tests_name("guard_tables", tests, NULL, NULL);
}
