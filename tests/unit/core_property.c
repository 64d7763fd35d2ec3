/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random histories of the lease core against a naive model, which keeps a state for each page of
 * each file and session and asks them all every time. After every step: the effects are those of
 * the model, no more and no less; the state is the model's; the invariants of core.h hold;
 * core_check() is content.
 *
 *	core_property [--seed N] [--steps N] [--break N]
 *
 * After every input what has changed is saved; now and then the core is thrown away, made anew from
 * that, and goes on: the effects that were not taken by then come again, no other do, and the state is
 * that of the model when it was saved.
 *
 * Small tables are among the parameters, so that -ENOLCK comes at every place where memory could
 * lack, and must have changed nothing. Exit status: 0, or 1 with the seed, the step, the last calls
 * and the state.
 *
 * --break, if the core was built with -DCORE_BREAKABLE: it must exit 1 (tests/unit/core_runs, which
 * lists them).
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/unit/core_store.h"

#ifdef CORE_BREAKABLE
int core_break;
#else
static int core_break;
#endif

#define FILES 3
#define SESSIONS 5
#define PAGES 14
#define MAX_OPS 14
#define MAX_PENDING 8
#define PAGE 4096u
#define STEPS_PER_WORLD 20000

static const uint64_t file_dev[FILES] = { 1, 1, 2 };
static const uint64_t file_ino[FILES] = { 7, 8, 7 };
/* Two sessions of one process: a program that was connected twice. */
static const int32_t session_tgid[SESSIONS] = { 10, 11, 11, 12, 13 };
static const uint64_t break_times[] = { 0, 3, 20, 100 };
#define LONGEST_BREAK 100

/* --- the model -------------------------------------------------------------------------------- */

struct page {
	int state; /* 0: nothing; else enum core_lease_state */
	uint32_t flags;
	uint64_t deadline;
	int32_t who; /* tid of the breaker */
	/* Of the newest notice that the holder can answer: CORE_REVOKE or (drop) CORE_DROP. 0: none. */
	uint64_t epoch;
	bool drop;
};

/* A CORE_REVOKE or CORE_DROP that its holder may still answer. */
struct told {
	int file, session, from, to;
	uint64_t epoch;
};

struct pending {
	uint64_t ticket; /* 0: free */
	int file, session, from, to;
	uint32_t flags;
};

struct model_op {
	int state; /* 0: free; else enum core_op_state */
	uint32_t handle;
	uint64_t since;
	uint64_t late; /* how late the ticks had been in all, at the attempt */
	struct core_op_in in;
	int file, from, to;
	int only_session; /* -1: any */
};

/* What a step must have as effects. */
struct expected {
	int notice[FILES][SESSIONS][PAGES]; /* 1 + kind */
	/* The same, but given back before it was taken: it comes with what is left of its lease. */
	int late_notice[FILES][SESSIONS][PAGES];
	uint64_t deadline[FILES][SESSIONS][PAGES];
	bool fence[SESSIONS];
	bool cancelled[MAX_PENDING];
	uint64_t cancelled_ticket[MAX_PENDING];
	int verdict[MAX_OPS]; /* 0: none; 1: go on; 2: refused; 3: finished */
	bool disarm[FILES];
};

static struct page pages[FILES][SESSIONS][PAGES];
static struct pending pendings[MAX_PENDING];
static struct model_op ops[MAX_OPS];
static bool fenced[SESSIONS], armed[FILES];
static struct expected expected;
static uint64_t now, late, expected_breaks, expected_fenced, expected_refused;
static uint64_t last_epoch, told_epoch; /* told_epoch: of this step's CORE_TELL */
static struct told told[16];
static unsigned told_count;
static uint64_t seen_epochs[16];
static unsigned seen_count;
/* Around a crash. epoch_floor: last_epoch when the step began. epoch_gap: epochs have jumped, and
 * the next one tells how far. */
static uint64_t epoch_floor;
static bool epoch_gap, replaying;
static struct store saved;
static uint64_t dead_ticket; /* of a grant that was ended in this world; 0: none yet */
static struct core_params params;
static struct core *core;

/* --- randomness, history, failing ------------------------------------------------------------- */

static uint64_t seed, random_state, step;
static char history[48][200];
static unsigned history_at;

static uint64_t random_next(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int below(int limit)
{
	return (int)(random_next() % (uint64_t)limit);
}

static bool chance(int percent)
{
	return below(100) < percent;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(history[history_at++ % 48], sizeof(history[0]), format, args);
	va_end(args);
}

static void dump_pages(void)
{
	static const char letter[] = ".phbrfu";

	for (int f = 0; f < FILES; f++) {
		for (int s = 0; s < SESSIONS; s++) {
			printf("  file %d session %d%s  ", f, s, fenced[s] ? " fenced" : "       ");
			for (int p = 0; p < PAGES; p++)
				putchar(letter[pages[f][s][p].state]);
			putchar('\n');
		}
	}
}

static void dump(void)
{
	struct core_lease_view view;
	uint32_t cursor = 0;

	printf("the last calls:\n");
	for (unsigned i = history_at < 48 ? 0 : history_at - 48; i < history_at; i++)
		printf("  %s\n", history[i % 48]);
	printf("now %" PRIu64 ", margin %" PRIu64 ", fence %" PRIu64 "\nmodel:\n", now,
	       params.margin_ns, params.fence_ns);
	dump_pages();
	for (int i = 0; i < MAX_PENDING; i++)
		if (pendings[i].ticket)
			printf("  pending %" PRIu64 ": file %d session %d pages %d-%d\n",
			       pendings[i].ticket, pendings[i].file, pendings[i].session,
			       pendings[i].from, pendings[i].to);
	for (int i = 0; i < MAX_OPS; i++)
		if (ops[i].state)
			printf("  op %d: %s file %d pages %d-%d tgid %d own %d two_file %d only %d "
			       "since %" PRIu64 "\n",
			       i, ops[i].state == CORE_OP_WAITING ? "waits" : "passed", ops[i].file,
			       ops[i].from, ops[i].to, ops[i].in.tgid, (int)ops[i].in.own,
			       ops[i].in.two_file, ops[i].only_session, ops[i].since);
	printf("core:\n");
	while (core && core_list(core, &cursor, &view))
		printf("  %" PRIu64 ": %" PRIu64 ":%" PRIu64 " session %" PRIu32
		       " state %d flags %" PRIx32 " %" PRIx64 "-%" PRIx64 " deadline %" PRIu64 "\n",
		       view.number, view.dev, view.ino, view.session, (int)view.state, view.flags,
		       view.start, view.end, view.deadline_ns);
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	printf("FAILED at step %" PRIu64 " of seed %" PRIu64 ": ", step, seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	dump();
	exit(1);
}

#define MUST(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail(__VA_ARGS__);                                                         \
	} while (0)

/* --- pages and bytes -------------------------------------------------------------------------- */

/* The last page goes to the end of everything. */
static uint64_t byte_of(int page)
{
	return page >= PAGES ? UINT64_MAX : (uint64_t)page * PAGE;
}

static int page_of(uint64_t byte)
{
	return byte == UINT64_MAX ? PAGES : (int)(byte / PAGE);
}

static void random_range(int *from, int *to)
{
	*from = below(PAGES);
	*to = chance(20) ? PAGES : *from + 1 + below(PAGES - *from < 6 ? PAGES - *from : 6);
	if (chance(8)) {
		*from = 0;
		*to = PAGES;
	}
}

static uint32_t session_id(int session)
{
	return 100 + (uint32_t)session;
}

static int file_of(uint64_t dev, uint64_t ino)
{
	for (int f = 0; f < FILES; f++)
		if (file_dev[f] == dev && file_ino[f] == ino)
			return f;
	fail("an unknown file %" PRIu64 ":%" PRIu64, dev, ino);
}

/* --- the model's rules ------------------------------------------------------------------------ */

static bool is_own(const struct model_op *op, int s)
{
	return op->in.tgid == session_tgid[s];
}

static bool is_drop_by(const struct model_op *op, int s)
{
	return op->in.own == CORE_OWN_DROP && is_own(op, s);
}

static bool page_blocks(const struct model_op *op, int s, const struct page *page)
{
	if (!page->state || (op->only_session >= 0 && op->only_session != s))
		return false;
	return op->in.own != CORE_OWN_EXEMPT || !is_own(op, s);
}

/* Any page in the way of the operation, in this state (0: any). */
static bool op_blocked(const struct model_op *op, int state)
{
	for (int s = 0; s < SESSIONS; s++)
		for (int p = op->from; p < op->to; p++)
			if (page_blocks(op, s, &pages[op->file][s][p]) &&
			    (!state || pages[op->file][s][p].state == state))
				return true;
	return false;
}

static void expect_notice(int f, int s, int p, enum core_effect_kind kind, uint64_t deadline)
{
	expected.notice[f][s][p] = 1 + (int)kind;
	expected.deadline[f][s][p] = deadline;
}

static void page_revoke(int f, int s, int p, enum core_effect_kind kind)
{
	struct page *page = &pages[f][s][p];

	if (page->flags & DLP_GRANT_FREEZE) {
		expect_notice(f, s, p, kind, 0);
		page->state = 0;
		return;
	}
	page->state = CORE_REVOKING;
	page->epoch = 0; /* until it is told */
	page->drop = kind == CORE_DROP;
	page->deadline = now + params.margin_ns;
	expect_notice(f, s, p, kind, page->deadline);
}

static void page_fence(int f, int s, int p)
{
	if (pages[f][s][p].state != CORE_REVOKING)
		pages[f][s][p].epoch = 0;
	pages[f][s][p].state = CORE_FENCING;
	pages[f][s][p].deadline = now + params.fence_ns;
	if (!fenced[s] && !expected.fence[s]) {
		expected.fence[s] = true;
		expected_fenced++;
	}
}

/* Is the file idle now? */
static void model_relax(int f)
{
	bool busy = false;

	for (int s = 0; s < SESSIONS; s++)
		for (int p = 0; p < PAGES; p++)
			busy |= pages[f][s][p].state != 0;
	for (int i = 0; i < MAX_PENDING; i++)
		busy |= pendings[i].ticket && pendings[i].file == f;
	for (int i = 0; i < MAX_OPS; i++)
		busy |= ops[i].state == CORE_OP_WAITING && ops[i].file == f;
	MUST(busy == core_file_busy(core, file_dev[f], file_ino[f]), "core_file_busy of file %d",
	     f);
	expected.disarm[f] |= armed[f] && !busy;
	armed[f] &= busy;
}

/* Who may go on, who is refused, what is idle now. */
static void model_settle(void)
{
	for (int s = 0; s < SESSIONS; s++)
		fenced[s] |= expected.fence[s];
	for (int i = 0; i < MAX_OPS; i++) {
		struct model_op *op = &ops[i];

		if (op->state != CORE_OP_WAITING)
			continue;
		if (op_blocked(op, CORE_UNPROVEN)) {
			expected.verdict[i] = 2;
			expected_refused++;
			op->state = 0;
		} else if (!op_blocked(op, 0)) {
			expected.verdict[i] = 1;
			op->state = op->in.tid ? CORE_OP_PASSED : 0;
			op->since = now;
		}
	}
	for (int f = 0; f < FILES; f++)
		model_relax(f);
}

static void model_tick(void)
{
	for (int f = 0; f < FILES; f++) {
		for (int s = 0; s < SESSIONS; s++) {
			for (int p = 0; p < PAGES; p++) {
				struct page *page = &pages[f][s][p];

				if (page->state < CORE_BREAKING || page->state > CORE_FENCING ||
				    page->deadline > now)
					continue;
				if (page->state == CORE_BREAKING)
					page_revoke(f, s, p, CORE_REVOKE);
				else if (page->state == CORE_REVOKING)
					page_fence(f, s, p);
				else
					page->state = CORE_UNPROVEN;
			}
		}
	}
}

/* What must be true before a lease may come to be. */
static bool model_may_grant(int f, int s, int from, int to, bool *two_file)
{
	bool may = !fenced[s];

	*two_file = false;
	for (int i = 0; i < MAX_OPS; i++) {
		if (!ops[i].state)
			continue;
		if (ops[i].in.two_file && file_dev[ops[i].file] == file_dev[f])
			*two_file = true;
		if (ops[i].file == f && ops[i].from < to && from < ops[i].to)
			may = false;
	}
	for (int p = from; p < to; p++)
		if (pages[f][s][p].state > CORE_HELD)
			may = false;
	return may && !*two_file;
}

static void model_cancel(const struct model_op *op)
{
	for (int i = 0; i < MAX_PENDING; i++) {
		struct pending *p = &pendings[i];
		bool there = p->file == op->file && p->from < op->to && op->from < p->to;

		if (!p->ticket || !(there || (op->in.two_file && file_dev[p->file] == op->in.dev)))
			continue;
		expected.cancelled[i] = true;
		expected.cancelled_ticket[i] = p->ticket;
		p->ticket = 0;
	}
}

static void model_break(const struct model_op *op)
{
	int f = op->file;

	for (int s = 0; s < SESSIONS; s++) {
		for (int p = op->from; p < op->to; p++) {
			struct page *page = &pages[f][s][p];
			bool drop = is_drop_by(op, s);

			if (!page_blocks(op, s, page))
				continue;
			/* Two that do not agree on the mapping: it goes. */
			if (drop ? page->state == CORE_BREAKING
				 : (page->state == CORE_REVOKING && page->drop) ||
					   (page->state == CORE_BREAKING &&
					    op->in.break_time_ns == 0)) {
				page->who = op->in.tid;
				page_revoke(f, s, p, CORE_REVOKE);
				continue;
			}
			if (!drop && page->state == CORE_FENCING && page->drop) {
				page->epoch = 0;
				page->drop = false;
			}
			if (page->state != CORE_HELD)
				continue;
			page->who = op->in.tid;
			if (drop) {
				page_revoke(f, s, p, CORE_DROP);
			} else if (op->in.break_time_ns == 0) {
				page_revoke(f, s, p, CORE_REVOKE);
			} else {
				page->state = CORE_BREAKING;
				page->deadline = now + op->in.break_time_ns;
				expect_notice(f, s, p, CORE_TELL, page->deadline);
			}
		}
	}
}

/* --- comparing -------------------------------------------------------------------------------- */

static int session_of(uint32_t id)
{
	MUST(id >= 100 && id < 100 + SESSIONS, "an effect for session %" PRIu32, id);
	return (int)id - 100;
}

static void see_epoch(uint64_t epoch)
{
	if (epoch > last_epoch)
		last_epoch = epoch;
	if (!replaying)
		epoch_gap = false;
	seen_epochs[seen_count++ % 16] = epoch;
}

static bool was_told(int f, int s, uint64_t epoch)
{
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++) {
		if (told[i].file == f && told[i].session == s && told[i].epoch == epoch)
			return true;
	}
	return false;
}

/* A revocation comes after all that was granted or revoked before. (A part that was cut off before its
 * notice was taken comes behind those of the same call, by the epoch of what it was cut from.) */
static void take_epoch(const struct core_effect *effect, int f, int s)
{
	if (effect->kind == CORE_TELL) {
		MUST(!told_epoch || told_epoch == effect->epoch, "two epochs for one attempt");
		told_epoch = effect->epoch;
		return;
	}
	/* What comes again may have been told before, and in another order. */
	MUST(replaying || effect->epoch > last_epoch || was_told(f, s, effect->epoch),
	     "a revocation's epoch is %" PRIu64, effect->epoch);
	see_epoch(effect->epoch);
	told[told_count++ % 16] = (struct told){ f, s, page_of(effect->start), page_of(effect->end),
						 effect->epoch };
}

/* Adjoining notices come as one, with the newest epoch. Coming again, it can be others that do; the
 * answer to what was told before, of this revocation, is as good. */
static uint64_t epoch_of_page(const struct core_effect *effect, int f, int s, int p)
{
	static uint64_t of_step[FILES][SESSIONS][PAGES], epoch[FILES][SESSIONS][PAGES];
	uint64_t before = pages[f][s][p].epoch;

	if (!before && replaying && of_step[f][s][p] == step)
		before = epoch[f][s][p];
	MUST(before || effect->epoch > epoch_floor, "an old epoch: %" PRIu64, effect->epoch);
	of_step[f][s][p] = step;
	epoch[f][s][p] = before && before < effect->epoch ? before : effect->epoch;
	return epoch[f][s][p];
}

static void take_notice(const struct core_effect *effect)
{
	int f = file_of(effect->dev, effect->ino), s = session_of(effect->session);

	MUST(effect->start < effect->end, "an empty notice");
	take_epoch(effect, f, s);
	for (int p = page_of(effect->start); p < page_of(effect->end); p++) {
		if (expected.late_notice[f][s][p] == 1 + (int)effect->kind) {
			expected.late_notice[f][s][p] = 0;
			continue;
		}
		MUST(expected.notice[f][s][p] == 1 + (int)effect->kind,
		     "notice %d for file %d session %d page %d, expected %d", (int)effect->kind, f,
		     s, p, expected.notice[f][s][p] - 1);
		MUST(expected.deadline[f][s][p] == effect->deadline_ns,
		     "a notice's deadline is wrong");
		MUST(pages[f][s][p].who == effect->tid, "a notice blames the wrong thread");
		expected.notice[f][s][p] = 0;
		if (effect->kind != CORE_TELL)
			pages[f][s][p].epoch = epoch_of_page(effect, f, s, p);
	}
}

/* Invariant 1, by looking at the core alone. */
static void check_may_go_on(const struct model_op *op)
{
	struct core_lease_view view;
	uint32_t cursor = 0;

	while (core_list(core, &cursor, &view)) {
		int s = session_of(view.session);

		if (view.dev != op->in.dev || view.ino != op->in.ino ||
		    view.start >= byte_of(op->to) || view.end <= byte_of(op->from) ||
		    (op->only_session >= 0 && op->only_session != s))
			continue;
		MUST(op->in.own == CORE_OWN_EXEMPT && is_own(op, s),
		     "invariant 1: go on, while lease %" PRIu64 " exists", view.number);
	}
}

static void take_verdict(const struct core_effect *effect)
{
	int i = (int)effect->op_cookie, want;

	want = effect->error == -EAGAIN ? 4 : effect->error ? 2 : effect->finished ? 3 : 1;

	MUST(i >= 0 && i < MAX_OPS, "a verdict for nobody");
	MUST(effect->error == 0 || effect->error == -EBUSY || effect->error == -EAGAIN,
	     "a verdict of %d", effect->error);
	MUST(expected.verdict[i] == want, "verdict %d for operation %d, expected %d", want, i,
	     expected.verdict[i]);
	MUST(effect->tid == ops[i].in.tid && effect->cause == ops[i].in.cause,
	     "a verdict names another");
	if (want == 1)
		check_may_go_on(&ops[i]);
	expected.verdict[i] = 0;
}

static void take_cancelled(const struct core_effect *effect)
{
	for (int i = 0; i < MAX_PENDING; i++) {
		if (expected.cancelled[i] && expected.cancelled_ticket[i] == effect->grant) {
			expected.cancelled[i] = false;
			return;
		}
	}
	fail("grant %" PRIu64 " cancelled without need", effect->grant);
}

static void take_disarm(const struct core_effect *effect)
{
	int f = file_of(effect->dev, effect->ino);

	MUST(expected.disarm[f], "file %d disarmed without need", f);
	expected.disarm[f] = false;
	/* While an unanswered event is behind it, disarming would let others through. */
	for (int i = 0; i < MAX_OPS; i++)
		MUST(!expected.verdict[i] || ops[i].file != f, "file %d disarmed before a verdict",
		     f);
}

/* At most so many. */
static void take_effects(int most)
{
	struct core_effect effect;

	while (most-- > 0 && core_next_effect(core, &effect)) {
		switch (effect.kind) {
		case CORE_TELL:
		case CORE_REVOKE:
		case CORE_DROP:
			take_notice(&effect);
			break;
		case CORE_FENCE:
			MUST(expected.fence[session_of(effect.session)],
			     "session %" PRIu32 " fenced", effect.session);
			expected.fence[session_of(effect.session)] = false;
			break;
		case CORE_VERDICT:
			take_verdict(&effect);
			break;
		case CORE_DISARM:
			take_disarm(&effect);
			break;
		case CORE_CANCELLED:
			take_cancelled(&effect);
			break;
		}
	}
	if (most < 0) /* there may be newer ones to come */
		return;
	MUST(!told_epoch || told_epoch == last_epoch || (epoch_gap && told_epoch > last_epoch),
	     "a notice's epoch is %" PRIu64, told_epoch);
	if (told_epoch) {
		last_epoch = told_epoch;
		epoch_gap = false;
		told_epoch = 0;
	}
}

static void check_nothing_missing(void)
{
	for (int f = 0; f < FILES; f++) {
		MUST(!expected.disarm[f], "file %d was not disarmed", f);
		for (int s = 0; s < SESSIONS; s++)
			for (int p = 0; p < PAGES; p++)
				MUST(!expected.notice[f][s][p],
				     "file %d session %d page %d was not told", f, s, p);
	}
	for (int s = 0; s < SESSIONS; s++)
		MUST(!expected.fence[s], "session %d was not fenced", s);
	for (int i = 0; i < MAX_OPS; i++)
		MUST(!expected.verdict[i], "operation %d has no verdict", i);
	for (int i = 0; i < MAX_PENDING; i++)
		MUST(!expected.cancelled[i], "grant %" PRIu64 " was not cancelled",
		     expected.cancelled_ticket[i]);
}

static void compare_view(const struct core_lease_view *view, int f, int s, int *next)
{
	int from = page_of(view->start), to = page_of(view->end);

	MUST(from < to && from >= *next, "leases of one session overlap");
	for (int p = *next; p < from; p++)
		MUST(!pages[f][s][p].state, "file %d session %d page %d is lost", f, s, p);
	for (int p = from; p < to; p++) {
		const struct page *page = &pages[f][s][p];

		MUST((int)view->state == page->state,
		     "file %d session %d page %d: state %d, expected %d", f, s, p, (int)view->state,
		     page->state);
		MUST(view->flags == page->flags, "file %d session %d page %d: flags", f, s, p);
		MUST(page->state < CORE_BREAKING || page->state > CORE_FENCING ||
			     view->deadline_ns == page->deadline,
		     "file %d session %d page %d: deadline %" PRIu64 ", expected %" PRIu64, f, s, p,
		     view->deadline_ns, page->deadline);
	}
	*next = to;
}

/* Each of the session's leases once, and no other. */
static void compare_list(int s, int leases, uint64_t numbers)
{
	struct core_lease_view view, same;
	uint32_t cursor = 0;

	for (; core_list_session(core, session_id(s), &cursor, &view); leases--) {
		MUST(view.session == session_id(s) && view.state != CORE_PENDING &&
			     core_lease_by_number(core, view.number, &same) &&
			     same.start == view.start && same.state == view.state,
		     "session %d: lease %" PRIu64 " is not its", s, view.number);
		numbers -= view.number;
	}
	MUST(leases == 0 && numbers == 0, "session %d: %d leases too few are listed", s, leases);
}

static void compare_leases(void)
{
	struct core_lease_view view;

	for (int s = 0; s < SESSIONS; s++) {
		bool holds = false;
		uint64_t numbers = 0;
		int leases = 0;

		for (int f = 0; f < FILES; f++) {
			uint64_t offset = 0;
			int next = 0;

			while (core_list_session_file(core, session_id(s), file_dev[f], file_ino[f],
						      &offset, &view)) {
				compare_view(&view, f, s, &next);
				holds = true;
				leases++;
				numbers += view.number;
			}
			for (int p = next; p < PAGES; p++)
				MUST(!pages[f][s][p].state, "file %d session %d page %d is lost", f,
				     s, p);
		}
		compare_list(s, leases, numbers);
		for (int i = 0; i < MAX_PENDING; i++)
			holds |= pendings[i].ticket && pendings[i].session == s;
		MUST(holds == core_session_holds(core, session_id(s)), "core_session_holds of %d",
		     s);
	}
}

/* Only a drop may have to wait for a second margin. */
static uint64_t longest_wait(const struct model_op *op)
{
	uint64_t before = LONGEST_BREAK;

	if (op->in.own == CORE_OWN_DROP && before < params.margin_ns)
		before = params.margin_ns;
	return before + params.margin_ns + params.fence_ns;
}

static void compare_ops(void)
{
	struct core_op_view views[MAX_OPS];
	struct core_counts counts;
	unsigned waiting = 0, passed = 0, got;

	for (int i = 0; i < MAX_OPS; i++) {
		waiting += ops[i].state == CORE_OP_WAITING;
		passed += ops[i].state == CORE_OP_PASSED;
		/* Invariant 3. */
		MUST(ops[i].state != CORE_OP_WAITING ||
			     now - ops[i].since <= longest_wait(&ops[i]) + late - ops[i].late,
		     "invariant 3: operation %d waits since %" PRIu64, i, ops[i].since);
	}
	got = core_ops_passed(core, 0, views, MAX_OPS);
	MUST(got == passed, "%u operations passed, expected %u", got, passed);
	for (unsigned i = 0; i < got; i++) {
		const struct model_op *op = &ops[views[i].in.cookie];

		MUST(op->handle == views[i].op && op->state == CORE_OP_PASSED &&
			     op->since == views[i].since_ns &&
			     page_of(views[i].in.start) == op->from &&
			     page_of(views[i].in.end) == op->to,
		     "a passed operation is another");
	}
	core_counts(core, &counts);
	MUST(counts.waiting == waiting && counts.passed == passed, "operations are miscounted");
	MUST(counts.breaks == expected_breaks && counts.fenced == expected_fenced &&
		     counts.refused == expected_refused,
	     "the counts since start are wrong");
}

static void compare(void)
{
	const char *wrong;
	uint64_t next = UINT64_MAX;

	take_effects(INT_MAX);
	check_nothing_missing();
	wrong = core_check(core);
	MUST(!wrong, "core_check: %s", wrong);
	compare_leases();
	compare_ops();
	for (int f = 0; f < FILES; f++)
		for (int s = 0; s < SESSIONS; s++)
			for (int p = 0; p < PAGES; p++)
				if (pages[f][s][p].state >= CORE_BREAKING &&
				    pages[f][s][p].state <= CORE_FENCING &&
				    pages[f][s][p].deadline < next)
					next = pages[f][s][p].deadline;
	MUST(core_deadline(core) == next, "core_deadline is %" PRIu64 ", expected %" PRIu64,
	     core_deadline(core), next);
}

/* --- steps ------------------------------------------------------------------------------------ */

static void step_grant_begin(void)
{
	int f = below(FILES), s = below(SESSIONS), from, to, slot = 0, err;
	uint32_t flags = (uint32_t)below(4);
	bool two_file = true, want_two_file;
	uint64_t ticket = 1;
	bool may;

	random_range(&from, &to);
	while (slot < MAX_PENDING && pendings[slot].ticket)
		slot++;
	if (slot == MAX_PENDING)
		return;
	may = model_may_grant(f, s, from, to, &want_two_file);
	err = core_grant_begin(core, now, file_dev[f], file_ino[f], byte_of(from), byte_of(to),
			       session_id(s), session_tgid[s], flags, &ticket, &two_file);
	note("grant_begin file %d session %d pages %d-%d flags %" PRIu32 ": %d, ticket %" PRIu64, f,
	     s, from, to, flags, err, ticket);
	MUST(two_file == want_two_file, "two_file is %d", two_file);
	if (!may) {
		/* Invariant 2. */
		MUST(err == -EAGAIN && ticket == 0, "a grant must not be: %d", err);
		return;
	}
	MUST((err == 0) == (ticket != 0) && (err == 0 || err == -ENOLCK), "a grant failed: %d",
	     err);
	if (err)
		return;
	armed[f] = true;
	pendings[slot] = (struct pending){ ticket, f, s, from, to, flags };
}

static void model_hold(const struct pending *grant)
{
	for (int p = grant->from; p < grant->to; p++) {
		struct page *page = &pages[grant->file][grant->session][p];
		bool freeze = grant->flags & DLP_GRANT_FREEZE;

		if (page->state) {
			MUST(page->state == CORE_HELD, "a pending grant of what is being broken");
			freeze = freeze && (page->flags & DLP_GRANT_FREEZE);
			page->flags |= grant->flags;
			page->flags &= ~(uint32_t)DLP_GRANT_FREEZE;
			page->flags |= freeze ? DLP_GRANT_FREEZE : 0;
		} else {
			*page = (struct page){ .state = CORE_HELD, .flags = grant->flags };
		}
	}
}

static void step_grant_end(void)
{
	int slot = below(MAX_PENDING), err;
	bool ok = chance(90);
	uint64_t epoch = 99;
	struct pending grant = pendings[slot];

	if (!grant.ticket && !chance(5))
		return;
	err = core_grant_end(core, now, grant.ticket ? grant.ticket : dead_ticket, ok, &epoch);
	note("grant_end %" PRIu64 " %d: %d", grant.ticket, ok, err);
	if (!grant.ticket) {
		MUST(err == -EAGAIN, "a dead ticket was accepted: %d", err);
		return;
	}
	dead_ticket = grant.ticket;
	pendings[slot].ticket = 0;
	if (!ok)
		MUST(err == 0, "dropping a grant: %d", err);
	else if (fenced[grant.session])
		MUST(err == -EAGAIN, "a fenced session got a lease: %d", err);
	else
		MUST(err == 0 || err == -ENOLCK, "a grant failed at its end: %d", err);
	if (ok && !err)
		model_hold(&grant);
	MUST(epoch == (ok && !err ? last_epoch + 1 : 0) ||
		     (ok && !err && epoch_gap && epoch > last_epoch),
	     "the epoch is %" PRIu64, epoch);
	if (epoch)
		see_epoch(epoch);
}

/* A range to release: often all of what is being broken there. */
static void answer_range(int f, int s, int *from, int *to)
{
	random_range(from, to);
	if (chance(40))
		return;
	for (int p = 0; p < PAGES; p++) {
		if (pages[f][s][p].state < CORE_BREAKING)
			continue;
		*from = p;
		*to = p;
		while (*to < PAGES && pages[f][s][*to].state >= CORE_BREAKING)
			(*to)++;
		return;
	}
}

/* Only the lease that sticks out on both sides can need a record. */
static void check_given_back(int f, int s, int from, int to, int err)
{
	MUST(err == 0 || (err == -ENOLCK && from > 0 && to < PAGES && pages[f][s][from - 1].state &&
			  pages[f][s][to].state),
	     "a release failed: %d", err);
}

static void step_release(void)
{
	int f = below(FILES), s = below(SESSIONS), from, to, err;

	answer_range(f, s, &from, &to);
	err = core_release(core, now, session_id(s), file_dev[f], file_ino[f], byte_of(from),
			   byte_of(to));
	note("release file %d session %d pages %d-%d: %d", f, s, from, to, err);
	check_given_back(f, s, from, to, err);
	for (int p = from; !err && p < to; p++) {
		pages[f][s][p].state = 0;
		if (expected.notice[f][s][p])
			expected.late_notice[f][s][p] = expected.notice[f][s][p];
		expected.notice[f][s][p] = 0;
	}
}

/* Invariant 5: an operation that waits for this page must not go on by its answer, since the
 * mapping is still there. */
static void check_dropped(int f, int s, int p)
{
	for (int i = 0; i < MAX_OPS; i++)
		MUST(ops[i].state != CORE_OP_WAITING || ops[i].file != f || p < ops[i].from ||
			     p >= ops[i].to || !page_blocks(&ops[i], s, &pages[f][s][p]) ||
			     is_drop_by(&ops[i], s),
		     "invariant 5: file %d session %d page %d ends for operation %d", f, s, p, i);
}

/* Mostly as told, and soon; or late, in part, twice, or what nobody asked. */
static struct told random_answer(void)
{
	unsigned count = told_count < 16 ? told_count : 16;
	struct told answer = { .file = below(FILES), .session = below(SESSIONS) };

	if (count && chance(80)) {
		answer = told[(told_count - 1 - (unsigned)below((int)count)) % 16];
		if (chance(30))
			answer.to = answer.from + 1 + below(answer.to - answer.from);
		return answer;
	}
	answer_range(answer.file, answer.session, &answer.from, &answer.to);
	/* Parts revoked together have epochs of their own, of which the newest is seen. */
	if (seen_count && chance(90))
		answer.epoch = seen_epochs[(unsigned)below(seen_count < 16 ? (int)seen_count : 16)];
	else
		answer.epoch = chance(50) ? UINT64_MAX : 0;
	return answer;
}

static void step_answer(void)
{
	struct told a = random_answer();
	int err = core_answered(core, now, session_id(a.session), file_dev[a.file],
				file_ino[a.file], byte_of(a.from), byte_of(a.to), a.epoch);

	note("answer file %d session %d pages %d-%d epoch %" PRIu64 ": %d", a.file, a.session,
	     a.from, a.to, a.epoch, err);
	check_given_back(a.file, a.session, a.from, a.to, err);
	for (int p = a.from; !err && p < a.to; p++) {
		struct page *page = &pages[a.file][a.session][p];

		if (page->state < CORE_REVOKING || !page->epoch || page->epoch > a.epoch)
			continue;
		if (page->drop)
			check_dropped(a.file, a.session, p);
		page->state = 0;
	}
}

/* Names one lease instead of all; false: there is none to name. */
static bool choose_only_lease(struct model_op *op)
{
	struct core_lease_view view;
	uint32_t cursor = (uint32_t)below(30);

	if (!core_list(core, &cursor, &view))
		return false;
	op->in.only_lease = view.number;
	op->in.dev = view.dev;
	op->in.ino = view.ino;
	op->file = file_of(view.dev, view.ino);
	op->only_session = session_of(view.session);
	if (op->from < page_of(view.start))
		op->from = page_of(view.start);
	if (op->to > page_of(view.end))
		op->to = page_of(view.end);
	return op->from < op->to;
}

static struct model_op random_op(int slot)
{
	static int32_t last_tid;
	struct model_op op = {
		.only_session = -1, .since = now, .late = late, .state = CORE_OP_WAITING
	};

	op.file = below(FILES);
	random_range(&op.from, &op.to);
	op.in = (struct core_op_in){
		.dev = file_dev[op.file],
		.ino = file_ino[op.file],
		.start = byte_of(op.from),
		.end = byte_of(op.to),
		.cookie = (uint64_t)slot,
		.break_time_ns = break_times[below(4)],
		.tid = chance(85) ? 1000 + (last_tid++ & 0xffffff) : 0,
		.cause = (uint32_t)below(DLP_CAUSE_COUNT),
	};
	if (op.in.tid && chance(5))
		op.in.tid = -1;
	if (op.in.tid > 0) {
		op.in.tgid = 9 + below(5);
		op.in.own = (enum core_own)below(3);
		op.in.two_file = chance(8);
		op.in.answered = chance(5);
		op.in.deny = chance(10) ? -EAGAIN : 0;
	}
	return op;
}

/* It does not wait for others. */
static void model_deny(int slot)
{
	struct model_op *op = &ops[slot];

	for (int s = 0; op->in.deny && s < SESSIONS; s++) {
		for (int p = op->from; p < op->to; p++) {
			if (!page_blocks(op, s, &pages[op->file][s][p]) || is_drop_by(op, s))
				continue;
			expected.verdict[slot] = 4;
			expected_refused++;
			op->state = 0;
			return;
		}
	}
}

static void step_attempt(void)
{
	int slot = 0, err;
	struct model_op op;
	uint64_t leases;

	while (slot < MAX_OPS && ops[slot].state)
		slot++;
	if (slot == MAX_OPS)
		return;
	op = random_op(slot);
	if (op.in.tid == 0 && chance(50) && !choose_only_lease(&op))
		return;
	err = core_attempt(core, now, &op.in, &op.handle, &leases);
	note("attempt %d: file %d pages %d-%d tid %d tgid %d own %d two_file %d answered %d only "
	     "%" PRIu64 " time %" PRIu64 ": %d, leases %" PRIu64,
	     slot, op.file, op.from, op.to, op.in.tid, op.in.tgid, (int)op.in.own, op.in.two_file,
	     op.in.answered, op.in.only_lease, op.in.break_time_ns, err, leases);
	MUST(err == 0 || err == -ENOLCK, "an attempt failed: %d", err);
	if (err)
		return;
	ops[slot] = op;
	if (op.in.answered) {
		ops[slot].state = CORE_OP_PASSED;
		model_cancel(&ops[slot]);
		MUST(leases == 0, "an answered operation breaks leases");
	} else if (op_blocked(&op, CORE_UNPROVEN)) {
		MUST(leases == 0, "a refused operation breaks leases");
	} else {
		MUST((leases > 0) == op_blocked(&op, 0), "%" PRIu64 " leases are in the way",
		     leases);
		expected_breaks += leases > 0;
		model_cancel(&ops[slot]);
		model_break(&ops[slot]);
		model_deny(slot);
	}
}

static void step_op_finished(void)
{
	int i = below(MAX_OPS);

	/* A thread that dies while it waits is rarer. */
	if (!ops[i].state || (ops[i].state == CORE_OP_WAITING && !chance(10)))
		return;
	if (chance(20)) {
		note("op_one_file %d", i);
		core_op_one_file(core, ops[i].handle);
		if (ops[i].state == CORE_OP_PASSED)
			ops[i].in.two_file = false;
		return;
	}
	note("op_finished %d", i);
	core_op_finished(core, now, ops[i].handle);
	if (ops[i].state == CORE_OP_WAITING || expected.verdict[i])
		expected.verdict[i] = 3;
	ops[i].state = 0;
}

static void step_session_gone(void)
{
	int s = below(SESSIONS);

	if (!fenced[s] && !chance(8))
		return;
	note("session_gone %d", s);
	core_session_gone(core, now, session_id(s));
	for (int f = 0; f < FILES; f++)
		for (int p = 0; p < PAGES; p++)
			pages[f][s][p].state = 0;
	for (int i = 0; i < MAX_PENDING; i++)
		if (pendings[i].session == s)
			pendings[i].ticket = 0;
	fenced[s] = false;
}

/* What the caller has found out about a range that it fenced; the range of a lease, or any. */
static void step_fenced(void)
{
	int s = below(SESSIONS), f = below(FILES), from, to;
	struct core_lease_view view;
	bool proven = chance(70);
	uint64_t offset = 0;

	answer_range(f, s, &from, &to);
	/* Leases that lie in the range as a whole. */
	while (core_list_session_file(core, session_id(s), file_dev[f], file_ino[f], &offset,
				      &view)) {
		if (page_of(view.start) < from || page_of(view.end) > to ||
		    (view.state != CORE_FENCING && !(proven && view.state == CORE_UNPROVEN)))
			continue;
		for (int p = page_of(view.start); p < page_of(view.end); p++)
			pages[f][s][p].state = proven ? 0 : CORE_UNPROVEN;
	}
	note("fenced file %d session %d pages %d-%d: %s", f, s, from, to,
	     proven ? "proven" : "not proven");
	core_fenced(core, now, session_id(s), file_dev[f], file_ino[f], byte_of(from),
		    byte_of(to), proven);
	if (chance(50))
		return;
	note("fence_over %d", s);
	core_fence_over(core, session_id(s));
	fenced[s] = false;
}

static void step_session_failed(void)
{
	int s = below(SESSIONS);

	note("session_failed %d", s);
	core_session_failed(core, now, session_id(s));
	for (int f = 0; f < FILES; f++)
		for (int p = 0; p < PAGES; p++)
			if (pages[f][s][p].state == CORE_REVOKING ||
			    (pages[f][s][p].state == CORE_BREAKING &&
			     !(pages[f][s][p].flags & DLP_GRANT_FREEZE)))
				page_fence(f, s, p);
}

/* Mostly to the next deadline at most. A busy loop comes late, or does other things before it looks
 * at the clock again: what it was late is added to what invariant 3 allows. */
static void step_time(void)
{
	uint64_t next = core_deadline(core), by = 1 + (uint64_t)below(30), then = now + by;

	if (then > next) {
		if (chance(10))
			late += then - (next > now ? next : now);
		else
			then = next > now ? next : now;
	}
	now = then;
	if (now > next && chance(30)) {
		note("late at %" PRIu64, now);
		return;
	}
	note("tick at %" PRIu64, now);
	core_tick(core, now);
	model_tick();
}

/* --- crashes ---------------------------------------------------------------------------------- */

/* The model as it was when the core was saved. What clients know goes on instead: told, epochs, time. */
static struct {
	struct page pages[FILES][SESSIONS][PAGES];
	struct pending pendings[MAX_PENDING];
	struct model_op ops[MAX_OPS];
	bool fenced[SESSIONS], armed[FILES];
	struct expected expected;
	uint64_t breaks, fences, refusals;
} kept;

static void keep_model(void)
{
	memcpy(kept.pages, pages, sizeof(pages));
	memcpy(kept.pendings, pendings, sizeof(pendings));
	memcpy(kept.ops, ops, sizeof(ops));
	memcpy(kept.fenced, fenced, sizeof(fenced));
	memcpy(kept.armed, armed, sizeof(armed));
	kept.expected = expected;
	kept.breaks = expected_breaks;
	kept.fences = expected_fenced;
	kept.refusals = expected_refused;
}

static void model_back(void)
{
	memcpy(pages, kept.pages, sizeof(pages));
	memcpy(pendings, kept.pendings, sizeof(pendings));
	memcpy(ops, kept.ops, sizeof(ops));
	memcpy(fenced, kept.fenced, sizeof(fenced));
	memcpy(armed, kept.armed, sizeof(armed));
	expected = kept.expected;
	expected_breaks = kept.breaks;
	expected_fenced = kept.fences;
	expected_refused = kept.refusals;
}

static void save(void)
{
	core_save(core, false, store_put, &saved);
	MUST(!saved.wrong, "%s", saved.wrong);
}

static const char *const kind_names[] = { "head", "files", "fenced sessions", "leases",
					  "operations" };

/* What was saved bit by bit is what there is. */
static void compare_saved(void)
{
	static struct store whole;
	unsigned kind;

	store_clear(&whole);
	memcpy(whole.room, saved.room, sizeof(whole.room));
	core_save(core, true, store_put, &whole);
	kind = store_differ(&saved, &whole);
	MUST(kind == CORE_SAVED_KINDS, "saved %s are not what there is", kind_names[kind]);
}

/* What was asked is asked again, with time to answer. */
static void model_ask_again(int f, int s, int p)
{
	struct page *page = &pages[f][s][p];
	uint64_t more = page->state == CORE_REVOKING ? params.margin_ns : params.fence_ns;

	if (page->state != CORE_REVOKING && page->state != CORE_FENCING)
		return;
	if (page->deadline < now + more)
		page->deadline = now + more;
	if (page->state == CORE_REVOKING)
		expect_notice(f, s, p, page->drop ? CORE_DROP : CORE_REVOKE, page->deadline);
}

/* Pending grants are gone, and nobody need be told; what was armed for them alone is disarmed. */
static void model_crash(void)
{
	model_back();
	for (int f = 0; f < FILES; f++)
		for (int s = 0; s < SESSIONS; s++)
			for (int p = 0; p < PAGES; p++)
				model_ask_again(f, s, p);
	memset(pendings, 0, sizeof(pendings));
	memset(expected.cancelled, 0, sizeof(expected.cancelled));
	for (int f = 0; f < FILES; f++)
		model_relax(f);
	epoch_gap = true;
	told_epoch = 0;
}

static void crash(void)
{
	int away = chance(50) ? 0 : below(40);
	int err;

	now += (uint64_t)away;
	late += (uint64_t)away + params.margin_ns + params.fence_ns;
	core_free(core);
	core = NULL;
	err = core_restore(&core, &params, now, store_next, &saved);
	note("crash, %d away: %d", away, err);
	MUST(err == 0, "restored: %d", err);
	model_crash();
	save();
	compare_saved();
}

/* After an input, by the daemon's rule: first it is saved, then its effects are carried out; some of
 * what that led to in the core can be lost. Returns with effects not taken yet. */
static void crash_turn(void)
{
	static void (*const led_to[])(void) = { step_answer, step_release, step_time,
						step_session_failed, step_session_gone };
	int twice = below(3);

	keep_model();
	take_effects(chance(30) ? 0 : chance(30) ? INT_MAX : below(4));
	if (chance(40)) {
		chance(50) ? step_release() : step_op_finished();
		model_settle();
		save();
		keep_model();
	}
	if (chance(30)) {
		save();
		keep_model();
		take_effects(below(4));
	} else if (chance(50)) {
		take_effects(INT_MAX);
		check_nothing_missing();
		memset(&expected, 0, sizeof(expected));
		led_to[below(sizeof(led_to) / sizeof(*led_to))]();
		model_settle();
		take_effects(chance(50) ? INT_MAX : below(4));
	}
	replaying = true;
	for (crash(); twice == 0; twice++) {
		keep_model();
		take_effects(chance(50) ? 0 : below(4));
		crash();
	}
}

static void take_turn(void (*step_run)(void))
{
	epoch_floor = last_epoch;
	memset(&expected, 0, sizeof(expected));
	step_run();
	model_settle();
	save();
	if (chance(5))
		compare_saved();
	if (chance(3))
		crash_turn();
	compare();
	replaying = false;
}

/* --- choosing --------------------------------------------------------------------------------- */

struct step_kind {
	void (*run)(void);
	int weight;
};
static const struct step_kind step_kinds[] = {
	{ step_grant_begin, 24 }, { step_grant_end, 26 },     { step_release, 7 },
	{ step_attempt, 8 },	  { step_op_finished, 30 },   { step_time, 10 },
	{ step_session_gone, 3 }, { step_session_failed, 1 }, { step_answer, 12 },
	{ step_fenced, 3 },
};
#define STEP_KINDS (sizeof(step_kinds) / sizeof(*step_kinds))

static void one_step(void)
{
	int total = 0, at;
	unsigned i = 0;

	for (unsigned k = 0; k < STEP_KINDS; k++)
		total += step_kinds[k].weight;
	for (at = below(total); at >= step_kinds[i].weight; i++)
		at -= step_kinds[i].weight;
	take_turn(step_kinds[i].run);
}

/* --- worlds ----------------------------------------------------------------------------------- */

static void new_world(void)
{
	static const uint64_t times[] = { 1, 2, 10, 50, 200 };

	core_free(core);
	memset(pages, 0, sizeof(pages));
	memset(pendings, 0, sizeof(pendings));
	memset(ops, 0, sizeof(ops));
	memset(fenced, 0, sizeof(fenced));
	memset(armed, 0, sizeof(armed));
	expected_breaks = expected_fenced = expected_refused = 0;
	dead_ticket = last_epoch = 0;
	told_count = seen_count = 0;
	now = chance(50) ? 0 : random_next() >> 2;
	params = (struct core_params){
		.margin_ns = times[below(5)],
		.fence_ns = times[below(5)],
		.max_leases = chance(60) ? 100000 : 8 + (uint32_t)below(30),
		.max_ops = chance(80) ? 1000 : 4 + (uint32_t)below(8),
		.max_files = chance(90) ? 1000 : 2,
		.room = store_room,
		.room_arg = &saved,
	};
	store_clear(&saved);
	epoch_gap = false;
	note("new core: leases %" PRIu32 ", ops %" PRIu32 ", files %" PRIu32, params.max_leases,
	     params.max_ops, params.max_files);
	core = core_new(&params);
	MUST(core, "no memory");
}

static uint64_t number_of(const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || *end || end == text) {
		fprintf(stderr, "core_property: not a number: %s\n", text);
		exit(2);
	}
	return number;
}

int main(int argc, char **argv)
{
	uint64_t steps = 1000000;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 2;
	for (int i = 1; i < argc; i += 2) {
		uint64_t value = i + 1 < argc ? number_of(argv[i + 1]) : 0;

		if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
			seed = value;
		} else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0) {
			steps = value;
		} else if (i + 1 < argc && strcmp(argv[i], "--break") == 0) {
			core_break = (int)value;
		} else {
			fprintf(stderr, "usage: core_property [--seed N] [--steps N] [--break N]\n");
			return 2;
		}
	}
	random_state = seed;
	printf("core_property: --seed %" PRIu64 " --steps %" PRIu64 "\n", seed, steps);
	fflush(stdout);
	for (step = 0; step < steps; step++) {
		if (step % STEPS_PER_WORLD == 0)
			new_world();
		one_step();
	}
	core_free(core);
	printf("core_property: %" PRIu64 " steps, no violation\n", steps);
	return 0;
}
