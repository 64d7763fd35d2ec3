/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules of the lease core, one test each; Cn is the line of doc/contract.md that it proves. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/core.h"

#define DEV 5
#define INO 77
#define ALICE 1 /* sessions; the process of session n is 100 + n */
#define BOB 2
#define BREAK_TIME 1000
#define MARGIN 100
#define FENCE 10
#define NO_EFFECT (-1)

struct world {
	struct core *core;
	uint64_t now;
	struct core_effect last; /* the effect that next() gave */
};

static int setup_limited(void **state, uint32_t max_leases)
{
	static struct world world;
	struct core_params params = {
		.margin_ns = MARGIN,
		.fence_ns = FENCE,
		.max_leases = max_leases,
		.max_ops = 100,
		.max_files = 100,
	};

	memset(&world, 0, sizeof(world));
	world.core = core_new(&params);
	world.now = 50;
	*state = &world;
	return world.core ? 0 : -1;
}

static int setup(void **state)
{
	return setup_limited(state, 100);
}

static int setup_two_leases(void **state)
{
	return setup_limited(state, 2);
}

static int teardown(void **state)
{
	struct world *world = *state;
	const char *wrong = core_check(world->core);

	if (wrong)
		print_error("core_check: %s\n", wrong);
	core_free(world->core);
	return wrong ? -1 : 0;
}

/* --- words ------------------------------------------------------------------------------------ */

static int begin(struct world *w, uint32_t session, uint64_t start, uint64_t end, uint32_t flags,
		 uint64_t *ticket)
{
	bool two_file;

	return core_grant_begin(w->core, w->now, DEV, INO, start, end, session,
				100 + (int32_t)session, flags, ticket, &two_file);
}

static int grant_flags(struct world *w, uint32_t session, uint64_t start, uint64_t end,
		       uint32_t flags)
{
	uint64_t ticket;
	int err = begin(w, session, start, end, flags, &ticket);

	return err ? err : core_grant_end(w->core, w->now, ticket, true, NULL);
}

static int grant(struct world *w, uint32_t session, uint64_t start, uint64_t end)
{
	return grant_flags(w, session, start, end, 0);
}

static int release(struct world *w, uint32_t session, uint64_t start, uint64_t end)
{
	return core_release(w->core, w->now, session, DEV, INO, start, end);
}

static int answered(struct world *w, uint32_t session, uint64_t start, uint64_t end, uint64_t epoch)
{
	return core_answered(w->core, w->now, session, DEV, INO, start, end, epoch);
}

static struct core_op_in breaker(uint64_t start, uint64_t end)
{
	return (struct core_op_in){
		.dev = DEV,
		.ino = INO,
		.start = start,
		.end = end,
		.cookie = 4711,
		.break_time_ns = BREAK_TIME,
		.tid = 9,
		.tgid = 9,
		.cause = DLP_CAUSE_TRUNCATE,
		.comm = "truncate",
	};
}

/* An operation of the session's own process that ends what it touches. */
static struct core_op_in own_truncate(uint32_t session, uint64_t start, uint64_t end)
{
	struct core_op_in in = breaker(start, end);

	in.own = CORE_OWN_DROP;
	in.tid = in.tgid = 100 + (int32_t)session;
	return in;
}

static uint32_t attempt(struct world *w, struct core_op_in in)
{
	uint64_t leases;
	uint32_t op;

	assert_int_equal(core_attempt(w->core, w->now, &in, &op, &leases), 0);
	assert_int_not_equal(op, CORE_NONE);
	return op;
}

/* The kind of the next effect, which is then w->last. */
static int next(struct world *w)
{
	return core_next_effect(w->core, &w->last) ? (int)w->last.kind : NO_EFFECT;
}

static void assert_verdict(struct world *w, int error)
{
	assert_int_equal(next(w), CORE_VERDICT);
	assert_int_equal(w->last.error, error);
	assert_int_equal(w->last.op_cookie, 4711);
}

static void assert_notice(struct world *w, enum core_effect_kind kind, uint32_t session,
			  uint64_t start, uint64_t end, uint64_t deadline_ns)
{
	assert_int_equal(next(w), kind);
	assert_int_equal(w->last.session, session);
	assert_int_equal(w->last.start, start);
	assert_int_equal(w->last.end, end);
	assert_int_equal(w->last.deadline_ns, deadline_ns);
}

/* Goes to the next deadline. */
static void wait_deadline(struct world *w)
{
	w->now = core_deadline(w->core);
	assert_int_not_equal(w->now, UINT64_MAX);
	core_tick(w->core, w->now);
}

/* The state of the byte in the session's leases; 0: not held. */
static int state_at(struct world *w, uint32_t session, uint64_t byte)
{
	struct core_lease_view view;
	uint64_t offset = byte;

	if (!core_list_session_file(w->core, session, DEV, INO, &offset, &view) ||
	    view.start > byte)
		return 0;
	return (int)view.state;
}

/* --- getting ---------------------------------------------------------------------------------- */

static void C2_any_number_share_a_range(void **state)
{
	struct world *w = *state;

	for (uint32_t session = 1; session < 20; session++)
		assert_int_equal(grant(w, session, 0, 100), 0);
	assert_int_equal(next(w), NO_EFFECT);
}

static void a_range_is_held_once(void **state)
{
	struct world *w = *state;
	struct core_counts counts;

	assert_int_equal(grant(w, ALICE, 10, 20), 0);
	assert_int_equal(grant(w, ALICE, 30, 40), 0);
	assert_int_equal(grant(w, ALICE, 0, 50), 0);
	core_counts(w->core, &counts);
	assert_int_equal(counts.leases, 5);
	assert_int_equal(grant(w, ALICE, 5, 45), 0);
	core_counts(w->core, &counts);
	assert_int_equal(counts.leases, 5);
}

static void a_mapped_part_is_no_freeze(void **state)
{
	struct world *w = *state;
	struct core_lease_view view;
	uint64_t offset = 0;

	assert_int_equal(grant_flags(w, ALICE, 0, 30, DLP_GRANT_FREEZE), 0);
	assert_int_equal(grant_flags(w, ALICE, 10, 20, DLP_GRANT_WRITE), 0);
	for (uint64_t start = 0; start < 30; start += 10) {
		assert_true(core_list_session_file(w->core, ALICE, DEV, INO, &offset, &view));
		assert_int_equal(view.start, start);
		assert_int_equal(view.flags, start == 10 ? DLP_GRANT_WRITE : DLP_GRANT_FREEZE);
	}
}

static void bad_ranges_are_refused(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(7, 7);
	uint64_t number;
	uint32_t op;

	assert_int_equal(begin(w, ALICE, 7, 7, 0, &number), -EINVAL);
	assert_int_equal(begin(w, ALICE, 8, 7, 0, &number), -EINVAL);
	assert_int_equal(begin(w, ALICE, 7, 8, 1u << 31, &number), -EINVAL);
	assert_int_equal(core_attempt(w->core, w->now, &in, &op, &number), -EINVAL);
	in = breaker(0, 1);
	in.only_lease = 3;
	assert_int_equal(core_attempt(w->core, w->now, &in, &op, &number), -EINVAL);
}

static void a_full_table_changes_nothing(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(10, 20);
	uint64_t number;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	assert_int_equal(core_attempt(w->core, w->now, &in, &op, &number), -ENOLCK);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(grant(w, BOB, 0, 30), 0);
	assert_int_equal(begin(w, BOB, 50, 60, 0, &number), -ENOLCK);
	assert_int_equal(release(w, ALICE, 10, 20), -ENOLCK);
	assert_int_equal(state_at(w, ALICE, 15), CORE_HELD);
	/* Trimming needs no record. */
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_int_equal(release(w, ALICE, 20, UINT64_MAX), 0);
}

/* --- breaking --------------------------------------------------------------------------------- */

static void an_unleased_file_lets_pass(void **state)
{
	struct world *w = *state;
	uint32_t op = attempt(w, breaker(0, 10));

	assert_verdict(w, 0);
	assert_int_equal(next(w), NO_EFFECT);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(next(w), NO_EFFECT);
}

static void C3_break_touches_only_its_range(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 100), 0);
	assert_int_equal(grant(w, BOB, 60, 70), 0);
	attempt(w, breaker(40, 60));
	assert_notice(w, CORE_TELL, ALICE, 40, 60, w->now + BREAK_TIME);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, ALICE, 39), CORE_HELD);
	assert_int_equal(state_at(w, ALICE, 40), CORE_BREAKING);
	assert_int_equal(state_at(w, ALICE, 60), CORE_HELD);
	assert_int_equal(state_at(w, BOB, 60), CORE_HELD);
}

static void C3_to_the_end_of_the_file(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, UINT64_MAX), 0);
	attempt(w, breaker(4096, UINT64_MAX));
	assert_notice(w, CORE_TELL, ALICE, 4096, UINT64_MAX, w->now + BREAK_TIME);
	assert_int_equal(release(w, ALICE, 4096, UINT64_MAX), 0);
	assert_verdict(w, 0);
	assert_int_equal(state_at(w, ALICE, 0), CORE_HELD);
}

static void C12_own_write_leaves_its_own_lease(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);

	in.own = CORE_OWN_EXEMPT;
	in.tgid = 100 + ALICE;
	assert_int_equal(grant(w, ALICE, 0, 100), 0);
	attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(state_at(w, ALICE, 0), CORE_HELD);
}

static void C12_own_write_breaks_others(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);

	in.own = CORE_OWN_EXEMPT;
	in.tgid = 100 + ALICE;
	assert_int_equal(grant(w, ALICE, 0, 100), 0);
	assert_int_equal(grant(w, BOB, 0, 100), 0);
	attempt(w, in);
	assert_notice(w, CORE_TELL, BOB, 0, 10, w->now + BREAK_TIME);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, BOB, 0, 10), 0);
	assert_verdict(w, 0);
}

static void C12_own_truncate_drops_the_touched_part(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 100), 0);
	attempt(w, own_truncate(ALICE, 50, UINT64_MAX));
	assert_notice(w, CORE_DROP, ALICE, 50, 100, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(answered(w, ALICE, 50, 100, w->last.epoch), 0);
	assert_verdict(w, 0);
	assert_int_equal(state_at(w, ALICE, 49), CORE_HELD);
}

static void C12_nobody_else_goes_on_with_the_answer_to_a_drop(void **state)
{
	struct world *w = *state;
	uint64_t drop, revoke;

	assert_int_equal(grant(w, ALICE, 0, 100), 0);
	attempt(w, own_truncate(ALICE, 0, 100));
	assert_notice(w, CORE_DROP, ALICE, 0, 100, w->now + MARGIN);
	drop = w->last.epoch;
	w->now += MARGIN - 1;
	attempt(w, breaker(40, 60));
	assert_notice(w, CORE_REVOKE, ALICE, 40, 60, w->now + MARGIN);
	assert_int_equal(w->last.tid, 9);
	revoke = w->last.epoch;
	assert_true(revoke > drop);
	/* Once is enough. */
	attempt(w, breaker(40, 60));
	attempt(w, own_truncate(ALICE, 40, 60));
	assert_int_equal(next(w), NO_EFFECT);
	/* The mapping is still there. */
	assert_int_equal(answered(w, ALICE, 0, 100, drop), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, ALICE, 39), 0);
	assert_int_equal(state_at(w, ALICE, 40), CORE_REVOKING);
	assert_int_equal(state_at(w, ALICE, 60), 0);
	assert_int_equal(answered(w, ALICE, 40, 60, revoke), 0);
	for (int op = 0; op < 4; op++)
		assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
}

static void C12_only_its_own_drops_go_on_with_a_drop(void **state)
{
	struct world *w = *state;
	struct core_op_in in = own_truncate(ALICE, 0, 10);

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, in);
	assert_int_equal(next(w), CORE_DROP);
	/* Another drop changes nothing, nor does what leaves its own leases alone. */
	attempt(w, in);
	assert_int_equal(next(w), NO_EFFECT);
	in.own = CORE_OWN_EXEMPT;
	attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(next(w), NO_EFFECT);
	/* But an opaque one of its own process is like any. */
	in.own = CORE_OWN_LIKE_ANY;
	attempt(w, in);
	assert_notice(w, CORE_REVOKE, ALICE, 0, 10, w->now + MARGIN);
}

static void C12_a_drop_not_yet_sent_becomes_a_revoke(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	attempt(w, own_truncate(ALICE, 0, 30));
	attempt(w, breaker(10, 20));
	assert_notice(w, CORE_DROP, ALICE, 0, 10, w->now + MARGIN);
	assert_notice(w, CORE_REVOKE, ALICE, 10, 20, w->now + MARGIN);
	assert_notice(w, CORE_DROP, ALICE, 20, 30, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
}

static void C12_a_drop_being_fenced_is_answered_too_late_for_others(void **state)
{
	struct world *w = *state;
	uint64_t drop;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	attempt(w, own_truncate(ALICE, 0, 30));
	assert_int_equal(next(w), CORE_DROP);
	drop = w->last.epoch;
	wait_deadline(w);
	/* Not even taken: it stays one, though the lease is split. */
	attempt(w, breaker(10, 20));
	assert_notice(w, CORE_FENCE, ALICE, 0, 10, w->now + FENCE);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(answered(w, ALICE, 0, 30, drop), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, ALICE, 0), 0);
	assert_int_equal(state_at(w, ALICE, 10), CORE_FENCING);
	core_session_gone(w->core, w->now, ALICE);
	assert_verdict(w, 0);
	assert_verdict(w, 0);
}

static void C12_own_truncate_revokes_what_others_wait_for(void **state)
{
	struct world *w = *state;
	uint64_t revoke;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	attempt(w, breaker(10, 20));
	assert_int_equal(next(w), CORE_TELL);
	attempt(w, own_truncate(ALICE, 15, 30));
	assert_notice(w, CORE_REVOKE, ALICE, 15, 20, w->now + MARGIN);
	revoke = w->last.epoch;
	assert_notice(w, CORE_DROP, ALICE, 20, 30, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(answered(w, ALICE, 20, 30, w->last.epoch), 0);
	assert_int_equal(answered(w, ALICE, 15, 20, revoke), 0);
	assert_verdict(w, 0);
	assert_int_equal(w->last.tid, 100 + ALICE);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, ALICE, 14), CORE_BREAKING);
}

static void C12_a_second_margin_is_the_last(void **state)
{
	struct world *w = *state;
	uint64_t first = w->now;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, own_truncate(ALICE, 0, 10));
	assert_int_equal(next(w), CORE_DROP);
	w->now += MARGIN;
	attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_REVOKE);
	wait_deadline(w);
	assert_int_equal(next(w), CORE_FENCE);
	wait_deadline(w);
	assert_int_equal(w->now, first + 2 * MARGIN + FENCE);
	assert_verdict(w, -EBUSY);
	assert_verdict(w, -EBUSY);
}

static void C12_an_unknown_process_owns_nothing(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	bool two_file;
	uint64_t ticket;

	assert_int_equal(core_grant_begin(w->core, w->now, DEV, INO, 0, 10, ALICE, 0, 0, &ticket,
					  &two_file),
			 0);
	assert_int_equal(core_grant_end(w->core, w->now, ticket, true, NULL), 0);
	in.own = CORE_OWN_EXEMPT;
	in.tgid = 0;
	attempt(w, in);
	assert_notice(w, CORE_TELL, ALICE, 0, 10, w->now + BREAK_TIME);
}

static void C14_every_holder_is_told_who_breaks(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	assert_int_equal(grant(w, BOB, 5, 20), 0);
	attempt(w, breaker(0, 100));
	assert_notice(w, CORE_TELL, ALICE, 0, 10, w->now + BREAK_TIME);
	assert_int_equal(w->last.tid, 9);
	assert_int_equal(w->last.cause, DLP_CAUSE_TRUNCATE);
	assert_string_equal(w->last.comm, "truncate");
	assert_notice(w, CORE_TELL, BOB, 5, 20, w->now + BREAK_TIME);
}

static void C14_one_notice_for_adjoining_parts(void **state)
{
	struct world *w = *state;

	for (uint64_t start = 0; start < 100; start += 10)
		assert_int_equal(grant(w, ALICE, start, start + 10), 0);
	attempt(w, breaker(5, 95));
	assert_notice(w, CORE_TELL, ALICE, 5, 95, w->now + BREAK_TIME);
	assert_int_equal(next(w), NO_EFFECT);
}

static void C15_letting_go_early_ends_the_wait(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	assert_int_equal(grant(w, BOB, 0, 10), 0);
	attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	assert_int_equal(next(w), CORE_TELL);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, BOB, 0, 5), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, BOB, 5, 10), 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(next(w), NO_EFFECT);
}

static void C15_a_hole_in_the_middle_keeps_the_wait(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	attempt(w, breaker(20, 30));
	attempt(w, breaker(0, 30));
	while (next(w) != NO_EFFECT)
		assert_int_equal(w->last.kind, CORE_TELL);
	assert_int_equal(release(w, ALICE, 5, 25), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, ALICE, 25, 30), 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, ALICE, 0, 5), 0);
	assert_verdict(w, 0);
}

static void C16_no_lease_until_the_operation_has_finished(void **state)
{
	struct world *w = *state;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	op = attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	assert_int_equal(grant(w, BOB, 0, 10), -EAGAIN);
	assert_int_equal(grant(w, BOB, 10, 20), 0);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_verdict(w, 0);
	assert_int_equal(grant(w, BOB, 9, 20), -EAGAIN);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(grant(w, BOB, 9, 20), 0);
}

static void C16_let_through_before_it_was_leased(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	uint64_t ticket;
	uint32_t op;

	assert_int_equal(begin(w, ALICE, 0, 10, 0, &ticket), 0);
	in.answered = true;
	op = attempt(w, in);
	assert_int_equal(next(w), CORE_CANCELLED);
	assert_int_equal(w->last.grant, ticket);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(core_grant_end(w->core, w->now, ticket, true, NULL), -EAGAIN);
	assert_int_equal(grant(w, ALICE, 0, 10), -EAGAIN);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
}

static void C16_a_pending_grant_loses(void **state)
{
	struct world *w = *state;
	uint64_t ticket;

	assert_int_equal(begin(w, ALICE, 0, 10, 0, &ticket), 0);
	attempt(w, breaker(9, 20));
	assert_int_equal(next(w), CORE_CANCELLED);
	assert_int_equal(w->last.grant, ticket);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(core_grant_end(w->core, w->now, ticket, true, NULL), -EAGAIN);
}

static void C16_not_while_ones_own_part_is_broken(void **state)
{
	struct world *w = *state;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	op = attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(grant(w, ALICE, 5, 15), -EAGAIN);
	assert_int_equal(grant(w, ALICE, 10, 15), 0);
	assert_int_equal(grant(w, BOB, 0, 10), 0);
}

static void C16_an_administrator_holds_nothing_off(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);

	in.tid = in.tgid = 0;
	attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	/* But a thread that cannot be named does. */
	in.tid = in.tgid = -1;
	in.start = 20;
	in.end = 30;
	attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(grant(w, ALICE, 20, 30), -EAGAIN);
}

static void two_file_operations_stop_grants_of_the_file_system(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	struct core_op_view view;
	uint64_t ticket, pending;
	bool two_file;
	uint32_t op;

	assert_int_equal(begin(w, ALICE, 0, 10, 0, &pending), 0);
	in.ino = INO + 1;
	in.two_file = true;
	op = attempt(w, in);
	assert_int_equal(next(w), CORE_CANCELLED);
	assert_int_equal(w->last.grant, pending);
	assert_int_equal(next(w), CORE_DISARM);
	assert_verdict(w, 0);
	assert_int_equal(core_grant_begin(w->core, w->now, DEV, INO, 0, 10, ALICE, 1, 0, &ticket,
					  &two_file),
			 -EAGAIN);
	assert_true(two_file);
	assert_int_equal(core_ops_in_the_way(w->core, DEV, INO, 0, 10, &view, 1), 1);
	assert_int_equal(view.op, op);
	assert_int_equal(core_grant_begin(w->core, w->now, DEV + 1, INO, 0, 10, ALICE, 1, 0,
					  &ticket, &two_file),
			 0);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void C6_a_freeze_ends_without_an_answer(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant_flags(w, ALICE, 0, 10, DLP_GRANT_FREEZE), 0);
	attempt(w, breaker(0, 10));
	assert_notice(w, CORE_TELL, ALICE, 0, 10, w->now + BREAK_TIME);
	wait_deadline(w);
	assert_notice(w, CORE_REVOKE, ALICE, 0, 10, 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(core_deadline(w->core), UINT64_MAX);
}

static void C17_revoked_then_let_go(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	wait_deadline(w);
	assert_int_equal(w->now, 50 + BREAK_TIME);
	assert_notice(w, CORE_REVOKE, ALICE, 0, 10, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_verdict(w, 0);
}

static void a_late_answer_ends_no_later_grant(void **state)
{
	struct world *w = *state;
	uint64_t late, ticket, epoch;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	op = attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	late = w->last.epoch;
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(begin(w, ALICE, 0, 10, 0, &ticket), 0);
	assert_int_equal(core_grant_end(w->core, w->now, ticket, true, &epoch), 0);
	assert_true(epoch > late);
	assert_int_equal(answered(w, ALICE, 0, 10, late), 0);
	assert_int_equal(state_at(w, ALICE, 0), CORE_HELD);
}

static void an_answer_ends_only_what_was_revoked(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	in.break_time_ns = 0;
	attempt(w, in);
	assert_int_equal(next(w), CORE_REVOKE);
	attempt(w, breaker(10, 20));
	assert_int_equal(next(w), CORE_TELL);
	assert_int_equal(answered(w, ALICE, 0, 30, UINT64_MAX), 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, ALICE, 0), 0);
	assert_int_equal(state_at(w, ALICE, 10), CORE_BREAKING);
	assert_int_equal(state_at(w, ALICE, 20), CORE_HELD);
	/* Never told to take it away: no answer can mean that. */
	core_session_failed(w->core, w->now, ALICE);
	assert_int_equal(answered(w, ALICE, 0, 30, UINT64_MAX), 0);
	assert_int_equal(state_at(w, ALICE, 10), CORE_FENCING);
	assert_int_equal(release(w, ALICE, 0, 30), 0);
	assert_int_equal(state_at(w, ALICE, 10), 0);
}

static void a_late_answer_ends_no_later_revocation(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	uint64_t first;

	in.break_time_ns = 0;
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	core_op_finished(w->core, w->now, attempt(w, in));
	assert_int_equal(next(w), CORE_REVOKE);
	first = w->last.epoch;
	assert_verdict(w, 0);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, in);
	assert_notice(w, CORE_REVOKE, ALICE, 0, 10, w->now + MARGIN);
	assert_int_equal(answered(w, ALICE, 0, 10, first), 0);
	assert_int_equal(state_at(w, ALICE, 0), CORE_REVOKING);
	/* The right one counts, even while it is being fenced. */
	first = w->last.epoch;
	wait_deadline(w);
	assert_int_equal(next(w), CORE_FENCE);
	assert_int_equal(answered(w, ALICE, 0, 10, first), 0);
	assert_verdict(w, 0);
}

static void one_answer_for_one_notice_of_many_parts(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(5, 95);

	in.break_time_ns = 0;
	for (uint64_t start = 0; start < 100; start += 10)
		assert_int_equal(grant(w, ALICE, start, start + 10), 0);
	attempt(w, in);
	assert_notice(w, CORE_REVOKE, ALICE, 5, 95, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(answered(w, ALICE, 5, 95, w->last.epoch), 0);
	assert_verdict(w, 0);
}

static void C18_who_does_not_answer_is_fenced(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	wait_deadline(w);
	assert_int_equal(next(w), CORE_REVOKE);
	wait_deadline(w);
	assert_notice(w, CORE_FENCE, ALICE, 0, 10, w->now + FENCE);
	core_session_gone(w->core, w->now, ALICE);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
}

static void C18_an_unproven_end_refuses(void **state)
{
	struct world *w = *state;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	assert_int_equal(grant(w, BOB, 5, 10), 0);
	attempt(w, breaker(0, 10));
	core_session_failed(w->core, w->now, ALICE);
	while (next(w) != NO_EFFECT)
		assert_true(w->last.kind == CORE_TELL || w->last.kind == CORE_FENCE);
	wait_deadline(w);
	assert_int_equal(w->now, 50 + FENCE);
	assert_verdict(w, -EBUSY);
	assert_int_equal(next(w), NO_EFFECT);
	/* The next is refused at once, and nobody is told for nothing. */
	assert_int_equal(grant(w, BOB, 0, 5), 0);
	attempt(w, breaker(0, 10));
	assert_verdict(w, -EBUSY);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(state_at(w, BOB, 0), CORE_HELD);
	core_session_gone(w->core, w->now, ALICE);
	assert_int_equal(next(w), NO_EFFECT);
	attempt(w, breaker(0, 5));
	assert_int_equal(next(w), CORE_TELL);
}

static void C18_a_session_is_fenced_once(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	uint64_t ticket;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	assert_int_equal(grant(w, ALICE, 20, 30), 0);
	assert_int_equal(begin(w, ALICE, 50, 60, 0, &ticket), 0);
	in.break_time_ns = 0;
	attempt(w, in);
	assert_notice(w, CORE_REVOKE, ALICE, 0, 10, w->now + MARGIN);
	core_session_failed(w->core, w->now, ALICE);
	assert_int_equal(next(w), CORE_FENCE);
	assert_int_equal(core_grant_end(w->core, w->now, ticket, true, NULL), -EAGAIN);
	assert_int_equal(grant(w, ALICE, 50, 60), -EAGAIN);
	in.start = 20;
	in.end = 30;
	attempt(w, in);
	assert_int_equal(next(w), CORE_REVOKE);
	core_session_failed(w->core, w->now, ALICE);
	assert_int_equal(next(w), NO_EFFECT);
	core_session_gone(w->core, w->now, ALICE);
	assert_verdict(w, 0);
	assert_verdict(w, 0);
	assert_int_equal(next(w), CORE_DISARM);
	assert_int_equal(grant(w, ALICE, 50, 60), 0);
}

static void C18_two_that_break_each_other_end(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	assert_int_equal(grant(w, BOB, 0, 10), 0);
	for (int32_t session = ALICE; session <= BOB; session++) {
		in.own = CORE_OWN_EXEMPT;
		in.tid = in.tgid = 100 + session;
		attempt(w, in);
		assert_int_equal(next(w), CORE_TELL);
	}
	assert_int_equal(next(w), NO_EFFECT);
	wait_deadline(w);
	assert_int_equal(next(w), CORE_REVOKE);
	assert_int_equal(next(w), CORE_REVOKE);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_verdict(w, 0);
	assert_int_equal(w->last.tid, 100 + BOB);
	assert_int_equal(release(w, BOB, 0, 10), 0);
	assert_verdict(w, 0);
}

static void a_thread_that_dies_waiting_is_answered_once(void **state)
{
	struct world *w = *state;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	op = attempt(w, breaker(0, 10));
	assert_int_equal(next(w), CORE_TELL);
	core_op_finished(w->core, w->now, op);
	assert_verdict(w, 0);
	assert_true(w->last.finished);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(next(w), NO_EFFECT);
	/* C16: the break goes on, and ends. */
	assert_int_equal(state_at(w, ALICE, 0), CORE_BREAKING);
	assert_int_equal(release(w, ALICE, 0, 10), 0);
	assert_int_equal(next(w), CORE_DISARM);
}

static void C20_an_administrator_revokes_one_lease(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, UINT64_MAX);
	struct core_lease_view view;
	uint32_t cursor = 0;
	uint64_t leases;
	uint32_t op;

	assert_int_equal(grant(w, ALICE, 0, 30), 0);
	assert_int_equal(grant(w, BOB, 0, 30), 0);
	assert_true(core_list(w->core, &cursor, &view));
	in.tid = in.tgid = 0;
	in.break_time_ns = 0;
	in.only_lease = view.number;
	assert_int_equal(core_attempt(w->core, w->now, &in, &op, &leases), 0);
	assert_int_equal(leases, 1);
	assert_notice(w, CORE_REVOKE, view.session, 0, 30, w->now + MARGIN);
	assert_int_equal(next(w), NO_EFFECT);
	/* All of its parts, whatever their numbers. */
	assert_int_equal(release(w, view.session, 10, 20), 0);
	assert_int_equal(release(w, view.session, 0, 10), 0);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(release(w, view.session, 20, 30), 0);
	assert_verdict(w, 0);
	/* One that is gone is in nobody's way. */
	attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(next(w), NO_EFFECT);
}

static void a_session_lists_its_own_leases(void **state)
{
	struct world *w = *state;
	struct core_lease_view view;
	uint64_t ticket, starts = 0;
	uint32_t cursor = 0;

	assert_false(core_list_session(w->core, ALICE, &cursor, &view));
	assert_int_equal(grant(w, BOB, 0, 30), 0);
	assert_int_equal(grant(w, ALICE, 1, 2), 0);
	assert_int_equal(begin(w, ALICE, 70, 80, 0, &ticket), 0);
	assert_int_equal(grant(w, ALICE, 20, 30), 0);
	assert_int_equal(grant(w, ALICE, 300, 400), 0);
	assert_int_equal(begin(w, ALICE, 80, 90, 0, &ticket), 0);
	for (cursor = 0; core_list_session(w->core, ALICE, &cursor, &view);) {
		assert_int_equal(view.session, ALICE);
		starts += view.start;
	}
	assert_int_equal(starts, 321);
	assert_false(core_list_session(w->core, ALICE, &cursor, &view));
	cursor = 0;
	assert_true(core_list_session(w->core, BOB, &cursor, &view));
	assert_int_equal(view.end, 30);
	assert_false(core_list_session(w->core, BOB, &cursor, &view));
}

static void a_two_file_operation_can_become_one_of_its_own_range(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, 10);
	uint32_t op;

	in.two_file = true;
	op = attempt(w, in);
	assert_verdict(w, 0);
	assert_int_equal(grant(w, ALICE, 20, 30), -EAGAIN);
	core_op_one_file(w->core, op);
	core_op_one_file(w->core, op);
	assert_int_equal(grant(w, ALICE, 20, 30), 0);
	assert_int_equal(grant(w, ALICE, 9, 20), -EAGAIN);
	core_op_finished(w->core, w->now, op);
	assert_int_equal(grant(w, ALICE, 9, 20), 0);
}

static void what_is_leased_of_a_file(void **state)
{
	struct world *w = *state;
	struct core_lease_view view;
	uint64_t offset = 0, ticket;

	assert_false(core_list_file(w->core, DEV, INO, &offset, &view));
	assert_int_equal(grant(w, ALICE, 10, 100), 0);
	assert_int_equal(grant(w, BOB, 20, 30), 0);
	assert_int_equal(grant(w, BOB, 90, 120), 0);
	assert_int_equal(grant(w, BOB, 200, 210), 0);
	assert_int_equal(begin(w, ALICE, 300, 310, 0, &ticket), 0);
	assert_true(core_list_file(w->core, DEV, INO, &offset, &view));
	assert_true(view.start == 10 && view.end == 100);
	assert_true(core_list_file(w->core, DEV, INO, &offset, &view));
	assert_true(view.start == 100 && view.end == 120);
	assert_true(core_list_file(w->core, DEV, INO, &offset, &view));
	assert_true(view.start == 200 && view.end == 210);
	assert_false(core_list_file(w->core, DEV, INO, &offset, &view));
}

/* Who shall not wait is refused, and breaks all the same; later it gets on. */
static void a_denied_operation_breaks_and_does_not_wait(void **state)
{
	struct world *w = *state;
	struct core_op_in in = breaker(0, UINT64_MAX);
	struct core_counts counts;

	in.deny = -EAGAIN;
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, in);
	assert_notice(w, CORE_TELL, ALICE, 0, 10, w->now + BREAK_TIME);
	assert_verdict(w, -EAGAIN);
	core_counts(w->core, &counts);
	assert_int_equal(counts.waiting, 0);
	attempt(w, in);
	assert_verdict(w, -EAGAIN);
	assert_int_equal(next(w), NO_EFFECT);
	wait_deadline(w);
	assert_int_equal(next(w), CORE_REVOKE);
	assert_int_equal(answered(w, ALICE, 0, 10, w->last.epoch), 0);
	assert_int_equal(next(w), CORE_DISARM);
	attempt(w, in);
	assert_verdict(w, 0);
}

/* It would wait for its own process only. */
static void an_own_truncate_is_not_denied(void **state)
{
	struct world *w = *state;
	struct core_op_in in = own_truncate(ALICE, 0, UINT64_MAX);

	in.deny = -EAGAIN;
	assert_int_equal(grant(w, ALICE, 0, 10), 0);
	attempt(w, in);
	assert_int_equal(next(w), CORE_DROP);
	assert_int_equal(next(w), NO_EFFECT);
	assert_int_equal(answered(w, ALICE, 0, 10, w->last.epoch), 0);
	assert_verdict(w, 0);
}

#define RULE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest rules[] = {
		RULE(C2_any_number_share_a_range),
		RULE(a_range_is_held_once),
		RULE(a_mapped_part_is_no_freeze),
		RULE(bad_ranges_are_refused),
		cmocka_unit_test_setup_teardown(a_full_table_changes_nothing, setup_two_leases,
						teardown),
		RULE(an_unleased_file_lets_pass),
		RULE(C3_break_touches_only_its_range),
		RULE(C3_to_the_end_of_the_file),
		RULE(C12_own_write_leaves_its_own_lease),
		RULE(C12_own_write_breaks_others),
		RULE(C12_own_truncate_drops_the_touched_part),
		RULE(C12_nobody_else_goes_on_with_the_answer_to_a_drop),
		RULE(C12_only_its_own_drops_go_on_with_a_drop),
		RULE(C12_a_drop_not_yet_sent_becomes_a_revoke),
		RULE(C12_a_drop_being_fenced_is_answered_too_late_for_others),
		RULE(C12_own_truncate_revokes_what_others_wait_for),
		RULE(C12_a_second_margin_is_the_last),
		RULE(C12_an_unknown_process_owns_nothing),
		RULE(C14_every_holder_is_told_who_breaks),
		RULE(C14_one_notice_for_adjoining_parts),
		RULE(C15_letting_go_early_ends_the_wait),
		RULE(C15_a_hole_in_the_middle_keeps_the_wait),
		RULE(C16_no_lease_until_the_operation_has_finished),
		RULE(C16_let_through_before_it_was_leased),
		RULE(C16_a_pending_grant_loses),
		RULE(C16_not_while_ones_own_part_is_broken),
		RULE(C16_an_administrator_holds_nothing_off),
		RULE(two_file_operations_stop_grants_of_the_file_system),
		RULE(C6_a_freeze_ends_without_an_answer),
		RULE(C17_revoked_then_let_go),
		RULE(a_late_answer_ends_no_later_grant),
		RULE(an_answer_ends_only_what_was_revoked),
		RULE(a_late_answer_ends_no_later_revocation),
		RULE(one_answer_for_one_notice_of_many_parts),
		RULE(C18_who_does_not_answer_is_fenced),
		RULE(C18_an_unproven_end_refuses),
		RULE(C18_a_session_is_fenced_once),
		RULE(C18_two_that_break_each_other_end),
		RULE(a_thread_that_dies_waiting_is_answered_once),
		RULE(C20_an_administrator_revokes_one_lease),
		RULE(a_session_lists_its_own_leases),
		RULE(a_two_file_operation_can_become_one_of_its_own_range),
		RULE(what_is_leased_of_a_file),
		RULE(a_denied_operation_breaks_and_does_not_wait),
		RULE(an_own_truncate_is_not_denied),
	};

	return cmocka_run_group_tests_name("core", rules, NULL, NULL);
}
