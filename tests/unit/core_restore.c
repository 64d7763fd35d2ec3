/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A core made of saved records: what is as before, what is not, and records that no core has saved. That
 * nothing is lost in any history: core_property.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/core_store.h"

enum { ALICE = 101, BOB, CAROL };

static struct store store;
static const struct core_params params = {
	.margin_ns = 100,
	.fence_ns = 50,
	.max_leases = 100,
	.max_ops = 100,
	.max_files = 100,
	.room = store_room,
	.room_arg = &store,
};

static void drain(struct core *core)
{
	struct core_effect effect;

	while (core_next_effect(core, &effect))
		;
}

static uint64_t grant(struct core *core, uint32_t session, uint64_t start, uint64_t end)
{
	uint64_t ticket, epoch;
	bool two_file;

	assert_int_equal(core_grant_begin(core, 1, 7, 8, start, end, session, 10, 0, &ticket,
					  &two_file),
			 0);
	assert_int_equal(core_grant_end(core, 1, ticket, true, &epoch), 0);
	return epoch;
}

static uint32_t attempt(struct core *core, uint64_t now_ns, uint64_t start, uint64_t end,
			uint64_t break_time_ns)
{
	const struct core_op_in in = {.dev = 7,
				      .ino = 8,
				      .start = start,
				      .end = end,
				      .cookie = start,
				      .tid = 5,
				      .tgid = 6,
				      .break_time_ns = break_time_ns};
	uint64_t leases;
	uint32_t op;

	assert_int_equal(core_attempt(core, now_ns, &in, &op, &leases), 0);
	return op;
}

static void save(struct core *core)
{
	core_save(core, false, store_put, &store);
	assert_null(store.wrong);
}

static struct core *restored(uint64_t now_ns)
{
	struct core *core;

	assert_int_equal(core_restore(&core, &params, now_ns, store_next, &store), 0);
	assert_null(core_check(core));
	return core;
}

/*
 * Alice holds [0, 10), Bob is being broken at [20, 30), Carol is fenced at [40, 50), Alice's [60, 70) is
 * being revoked, and an operation on [80, 90) was let through. The first three have an operation waiting.
 * Everything was told but the last verdict.
 */
static uint32_t make(void)
{
	struct core *core;
	uint32_t passed;

	store_clear(&store);
	core = core_new(&params);
	assert_non_null(core);
	grant(core, ALICE, 0, 10);
	grant(core, BOB, 20, 30);
	grant(core, CAROL, 40, 50);
	grant(core, ALICE, 60, 70);
	attempt(core, 2, 20, 30, 1000);
	attempt(core, 2, 40, 50, 1);
	core_tick(core, 3);
	core_session_failed(core, 4, CAROL);
	attempt(core, 4, 60, 70, 0);
	drain(core);
	passed = attempt(core, 5, 80, 90, 0);
	save(core);
	core_free(core);
	return passed;
}

static enum core_lease_state state_at(struct core *core, uint32_t session, uint64_t at,
				      uint64_t *deadline_ns)
{
	struct core_lease_view view;

	if (!core_list_session_file(core, session, 7, 8, &at, &view))
		return (enum core_lease_state)0;
	*deadline_ns = view.deadline_ns;
	return view.state;
}

static void it_is_as_it_was(void **state)
{
	uint32_t passed = make(), cursor = 0, session = 0;
	struct core *core = restored(6);
	struct core_op_view view;
	struct core_counts counts;
	struct core_effect effect;
	uint64_t deadline_ns;

	(void)state;
	assert_int_equal(state_at(core, ALICE, 0, &deadline_ns), CORE_HELD);
	assert_int_equal(state_at(core, BOB, 20, &deadline_ns), CORE_BREAKING);
	assert_int_equal(deadline_ns, 1002);
	assert_int_equal(state_at(core, CAROL, 40, &deadline_ns), CORE_FENCING);
	assert_int_equal(state_at(core, ALICE, 60, &deadline_ns), CORE_REVOKING);
	assert_true(core_session_fenced(core, CAROL));
	assert_false(core_session_fenced(core, BOB));
	assert_true(core_list_fenced(core, &cursor, &session));
	assert_int_equal(session, CAROL);
	assert_false(core_list_fenced(core, &cursor, &session));
	core_counts(core, &counts);
	assert_int_equal(counts.waiting, 3);
	assert_int_equal(counts.passed, 1);
	assert_int_equal(counts.fenced, 1);
	/* What is being revoked is asked for again. */
	assert_true(core_next_effect(core, &effect));
	assert_int_equal(effect.kind, CORE_REVOKE);
	assert_int_equal(effect.session, ALICE);
	/* The verdict that was not taken. */
	assert_true(core_next_effect(core, &effect));
	assert_int_equal(effect.kind, CORE_VERDICT);
	assert_int_equal(effect.op_cookie, 80);
	assert_false(core_next_effect(core, &effect));
	cursor = 0;
	while (core_list_ops(core, &cursor, &view))
		assert_true(view.in.cookie != 80 ||
			    (view.op == passed && view.state == CORE_OP_PASSED));
	core_free(core);
}

static void who_was_away_long_gives_time_again(void **state)
{
	struct core *core;
	uint64_t deadline_ns;

	(void)state;
	make();
	core = restored(1000000);
	core_tick(core, 1000000);
	assert_int_equal(state_at(core, ALICE, 60, &deadline_ns), CORE_REVOKING);
	assert_int_equal(deadline_ns, 1000000 + params.margin_ns);
	assert_int_equal(state_at(core, CAROL, 40, &deadline_ns), CORE_FENCING);
	assert_int_equal(deadline_ns, 1000000 + params.fence_ns);
	/* The break time was over, and nothing was asked of it yet. */
	assert_int_equal(state_at(core, BOB, 20, &deadline_ns), CORE_REVOKING);
	assert_int_equal(deadline_ns, 1000000 + params.margin_ns);
	core_free(core);
}

static void nothing_is_given_twice(void **state)
{
	struct core *core;
	uint64_t ticket, lost, epoch, old_epoch;
	bool two_file;

	(void)state;
	store_clear(&store);
	core = core_new(&params);
	assert_int_equal(core_grant_begin(core, 1, 7, 8, 0, 10, ALICE, 10, 0, &ticket, &two_file),
			 0);
	save(core);
	/* From here on nothing was committed. */
	old_epoch = grant(core, ALICE, 20, 30);
	assert_int_equal(core_grant_begin(core, 1, 7, 8, 40, 50, BOB, 10, 0, &lost, &two_file), 0);
	core_free(core);
	core = restored(2);
	assert_int_equal(core_grant_end(core, 3, ticket, true, &epoch), -EAGAIN);
	assert_int_equal(core_grant_begin(core, 3, 7, 8, 0, 10, ALICE, 10, 0, &ticket, &two_file),
			 0);
	assert_true(ticket > lost);
	assert_int_equal(core_grant_end(core, 3, lost, true, &epoch), -EAGAIN);
	assert_int_equal(core_grant_end(core, 3, ticket, true, &epoch), 0);
	assert_true(epoch > old_epoch);
	core_free(core);
}

/* The file that only a pending grant armed. */
static void a_pending_grant_leaves_nothing(void **state)
{
	struct core *core;
	struct core_effect effect;
	uint64_t ticket;
	bool two_file;

	(void)state;
	store_clear(&store);
	core = core_new(&params);
	assert_int_equal(core_grant_begin(core, 1, 7, 8, 0, 10, ALICE, 10, 0, &ticket, &two_file),
			 0);
	save(core);
	core_free(core);
	core = restored(2);
	assert_false(core_session_holds(core, ALICE));
	assert_true(core_next_effect(core, &effect));
	assert_int_equal(effect.kind, CORE_DISARM);
	assert_false(core_next_effect(core, &effect));
	assert_null(core_check(core));
	core_free(core);
}

static void smaller_limits_lose_nothing(void **state)
{
	struct core_params tight = params;
	struct core_counts counts;
	struct core *core;
	uint64_t ticket;
	bool two_file;

	(void)state;
	make();
	tight.max_leases = 2;
	tight.max_ops = tight.max_files = 1;
	assert_int_equal(core_restore(&core, &tight, 6, store_next, &store), 0);
	assert_null(core_check(core));
	core_counts(core, &counts);
	assert_int_equal(counts.leases, 4);
	assert_int_equal(counts.waiting, 3);
	drain(core);
	assert_int_equal(core_grant_begin(core, 7, 7, 8, 90, 95, ALICE, 10, 0, &ticket, &two_file),
			 -ENOLCK);
	assert_int_equal(core_release(core, 7, ALICE, 7, 8, 0, 10), 0);
	assert_int_equal(core_release(core, 7, BOB, 7, 8, 20, 30), 0);
	assert_int_equal(core_release(core, 7, ALICE, 7, 8, 60, 70), 0);
	assert_int_equal(core_grant_begin(core, 7, 7, 8, 95, 99, ALICE, 10, 0, &ticket, &two_file),
			 0);
	core_free(core);
}

static int no_room(void *arg, unsigned kind, uint32_t index)
{
	const unsigned *full = arg;

	(void)index;
	return kind == *full ? -ENOSPC : 0;
}

/* Where nothing can be saved, nothing is promised. */
static void without_room_no_grant(void **state)
{
	struct core_params full = params;
	unsigned kind = CORE_SAVED_HEAD;
	struct core *core;
	uint64_t ticket;
	bool two_file;

	(void)state;
	full.room = no_room;
	full.room_arg = &kind;
	assert_null(core_new(&full));
	kind = CORE_SAVED_LEASE;
	core = core_new(&full);
	assert_int_equal(core_grant_begin(core, 1, 7, 8, 0, 10, ALICE, 10, 0, &ticket, &two_file),
			 -ENOSPC);
	assert_false(core_session_holds(core, ALICE));
	assert_null(core_check(core));
	core_free(core);
	make();
	assert_int_equal(core_restore(&core, &full, 6, store_next, &store), -ENOSPC);
	assert_null(core);
}

/* --- what no core has saved ------------------------------------------------------------------- */

static struct core_saved_lease *lease_at(uint32_t index)
{
	assert_true(store.records[CORE_SAVED_LEASE][index].used);
	return (struct core_saved_lease *)(void *)store.records[CORE_SAVED_LEASE][index].bytes;
}

static struct core_saved_op *op_at(uint32_t index)
{
	assert_true(store.records[CORE_SAVED_OP][index].used);
	return (struct core_saved_op *)(void *)store.records[CORE_SAVED_OP][index].bytes;
}

static struct core_saved_head *head(void)
{
	return (struct core_saved_head *)(void *)store.records[CORE_SAVED_HEAD][1].bytes;
}

static void the_head_is_missing(void)
{
	store.records[CORE_SAVED_HEAD][1].used = false;
}

static void an_empty_lease(void)
{
	lease_at(1)->end = lease_at(1)->start;
}

static void a_lease_in_no_state(void)
{
	lease_at(1)->state = 9;
}

static void a_pending_lease(void)
{
	lease_at(1)->state = CORE_PENDING;
}

static void unknown_flags(void)
{
	lease_at(1)->flags = 0x80;
}

static void an_unknown_effect(void)
{
	lease_at(1)->effect = 1 + CORE_CANCELLED;
}

static void a_later_number(void)
{
	lease_at(1)->number = head()->last_number + 1;
}

static void a_number_twice(void)
{
	lease_at(1)->number = lease_at(2)->number;
}

static void a_later_epoch(void)
{
	lease_at(4)->revoked_epoch = head()->epoch + 1;
}

static void a_revocation_without_epoch(void)
{
	lease_at(4)->revoked_epoch = 0;
}

static void leases_of_one_session_overlap(void)
{
	lease_at(1)->end = 61;
}

static void a_lease_gone_for_nothing(void)
{
	lease_at(1)->state = 7;
}

static void an_empty_operation(void)
{
	op_at(1)->start = op_at(1)->end;
}

static void an_operation_in_no_state(void)
{
	op_at(1)->state = 0;
}

static void an_unknown_own(void)
{
	op_at(1)->own = 3;
}

static void a_file_twice(void)
{
	store.records[CORE_SAVED_FILE][2] = store.records[CORE_SAVED_FILE][1];
	store.high[CORE_SAVED_FILE] = 2;
}

static void a_session_fenced_twice(void)
{
	for (uint32_t index = 1; index < 9; index++)
		store.records[CORE_SAVED_FENCED][index] = store.records[CORE_SAVED_FENCED][3];
	store.high[CORE_SAVED_FENCED] = 9;
}

static void an_epoch_at_its_end(void)
{
	head()->epoch = UINT64_MAX - 1;
}

static void nonsense_is_refused(void **state)
{
	static void (*const nonsense[])(void) = {
		the_head_is_missing,
		an_empty_lease,
		a_lease_in_no_state,
		a_pending_lease,
		unknown_flags,
		an_unknown_effect,
		a_later_number,
		a_number_twice,
		a_later_epoch,
		a_revocation_without_epoch,
		leases_of_one_session_overlap,
		a_lease_gone_for_nothing,
		an_empty_operation,
		an_operation_in_no_state,
		an_unknown_own,
		a_file_twice,
		a_session_fenced_twice,
		an_epoch_at_its_end,
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
		struct core *core;
		int err;

		make();
		nonsense[i]();
		err = core_restore(&core, &params, 6, store_next, &store);
		if (err != -EBADMSG || core)
			fail_msg("nonsense %u: %d", i, err);
	}
}

/* Whatever a byte says: refused, or a core that can live with it. */
static void any_byte(void **state)
{
	(void)state;
	srandom(1);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned kind = (unsigned)random() % CORE_SAVED_KINDS;
		struct core *core;
		uint32_t index;

		if (round % 10 == 0)
			make();
		index = 1 + (uint32_t)random() % store.high[kind];
		store.records[kind][index].bytes[(uint32_t)random() % store_size[kind]] =
			(char)random();
		if (core_restore(&core, &params, 6, store_next, &store) != 0)
			continue;
		drain(core);
		core_tick(core, UINT64_MAX);
		drain(core);
		core_session_gone(core, 7, ALICE);
		core_session_gone(core, 7, BOB);
		core_session_gone(core, 7, CAROL);
		drain(core);
		core_free(core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_as_it_was),
		cmocka_unit_test(who_was_away_long_gives_time_again),
		cmocka_unit_test(nothing_is_given_twice),
		cmocka_unit_test(a_pending_grant_leaves_nothing),
		cmocka_unit_test(smaller_limits_lose_nothing),
		cmocka_unit_test(without_room_no_grant),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(any_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
