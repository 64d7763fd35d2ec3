// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_mr.h"

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

static struct mr_record *records;
static struct tree by_struct; /* those whose struct ibv_mr is known */
static struct mr_context *contexts;
static uint32_t context_numbers;
static uint64_t record_numbers;
static struct arena record_arena = ARENA_INIT(struct mr_record);
static struct arena piece_arena = ARENA_INIT(struct mr_piece);
static struct arena context_arena = ARENA_INIT(struct mr_context);

/* --- contexts -------------------------------------------------------------------------------- */

static bool context_descriptor_ours(const struct mr_context *context)
{
	struct stat st;

	return fstat(context->fd, &st) == 0 && st.st_dev == context->dev &&
	       st.st_ino == context->ino && st.st_rdev == context->rdev;
}

struct mr_context *mr_context_find(const void *verbs)
{
	for (struct mr_context *context = contexts; context; context = context->next) {
		if (context->verbs == verbs && context_descriptor_ours(context))
			return context;
	}
	return NULL;
}

struct mr_context *mr_context_add(void *verbs, int fd, bool on_demand)
{
	struct mr_context *context;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	context = arena_alloc(&context_arena);
	if (!context)
		return NULL;
	context->verbs = verbs;
	context->number = ++context_numbers;
	context->fd = fd;
	context->dev = st.st_dev;
	context->ino = st.st_ino;
	context->rdev = st.st_rdev;
	context->on_demand = on_demand;
	context->uverbs_error = uverbs_open(fd, &context->uverbs);
	context->next = contexts;
	contexts = context;
	return context;
}

/* --- records --------------------------------------------------------------------------------- */

static void give_back(struct mr_piece *piece, uint64_t except_start, uint64_t except_end)
{
	if (piece->start < except_start)
		coverage_drop(&session.coverage, piece->dev, piece->ino, piece->start,
			      piece->end < except_start ? piece->end : except_start);
	if (piece->end > except_end)
		coverage_drop(&session.coverage, piece->dev, piece->ino,
			      piece->start > except_end ? piece->start : except_end, piece->end);
}

/* All pieces end; what lies in [start, end) of the file is not given back. */
static void drop_pieces(struct mr_record *record, uint64_t dev, uint64_t ino, uint64_t start,
			uint64_t end)
{
	while (record->pieces) {
		struct mr_piece *piece = record->pieces;

		record->pieces = piece->next;
		if (piece->dev == dev && piece->ino == ino)
			give_back(piece, start, end);
		else
			coverage_drop(&session.coverage, piece->dev, piece->ino, piece->start,
				      piece->end);
		arena_free(&piece_arena, piece);
	}
}

static void unlink_record(struct mr_record *record)
{
	*record->link = record->next;
	if (record->next)
		record->next->link = record->link;
	if (record->node.end)
		tree_erase(&by_struct, &record->node);
	arena_free(&record_arena, record);
}

/* One piece on coverage; the mapping holds that range, so nothing needs to be asked for. */
static int add_piece(struct mr_record *record, const struct map_file *file, uint64_t start,
		     uint64_t end)
{
	struct coverage_take take;
	struct mr_piece *piece = arena_alloc(&piece_arena);
	int error;

	if (!piece)
		return -ENOMEM;
	error = coverage_begin(&session.coverage, &take, file->node.dev, file->node.ino, start, end,
			       0);
	if (error >= 0)
		coverage_end(&session.coverage, &take, error == 0);
	if (error != 0) {
		arena_free(&piece_arena, piece);
		return error > 0 ? -ENXIO : error;
	}
	piece->dev = file->node.dev;
	piece->ino = file->node.ino;
	piece->start = take.start;
	piece->end = take.end;
	piece->next = record->pieces;
	record->pieces = piece;
	return 0;
}

static int add_pieces(struct mr_record *record)
{
	struct mapping *mapping = table_first(record->addr, record->end);

	for (; mapping && mapping->node.start < record->end; mapping = table_next(mapping)) {
		uint64_t start = mapping->node.start, end = mapping->node.end;
		int error;

		if (mapping->state != MAP_LEASED || mapping->breaking || mapping->zombie)
			return -ENXIO;
		start = start > record->addr ? start : record->addr;
		end = end < record->end ? end : record->end;
		record->fsdax |= mapping->fsdax;
		error = add_piece(record, mapping->file, map_offset(mapping, start),
				  map_offset(mapping, start) + (end - start));
		if (error < 0)
			return error;
	}
	return 0;
}

static struct dlp_mr end_of(const struct mr_record *record)
{
	return (struct dlp_mr){
		.head.opcode = DLP_MR_DEL,
		.id = record->number,
		.context = record->context->number,
		.handle = record->id.handle,
		.lkey = record->id.lkey,
		.rkey = record->id.rkey,
		.length = record->id.length,
	};
}

static void report_end(struct mr_record *record)
{
	struct dlp_mr message = end_of(record);

	if (!record->reported)
		return;
	record->reported = false;
	record->context->reported--;
	(void)client_tell(&session.client, &message.head, sizeof(message), -1, false);
}

/* `flags`: DLP_MR_BEGIN or 0. */
static void report(struct mr_record *record, uint32_t flags)
{
	struct mr_context *context = record->context;

	for (struct mr_piece *piece = record->pieces; piece; piece = piece->next) {
		bool first = context->reported == 0 && !record->reported;
		struct dlp_mr message = {
			.head.opcode = DLP_MR_ADD,
			.id = record->number,
			.context = context->number,
			.handle = record->id.handle,
			.lkey = record->id.lkey,
			.rkey = record->id.rkey,
			.length = record->id.length,
			.dev = piece->dev,
			.ino = piece->ino,
			.start = piece->start,
			.end = piece->end,
			.flags = flags | (record->pinned ? (uint32_t)DLP_MR_PINNED : 0),
		};

		(void)client_tell(&session.client, &message.head, sizeof(message),
				  first ? context->fd : -1, false);
		if (!record->reported) {
			record->reported = true;
			context->reported++;
		}
	}
}

int mr_begin(uint64_t addr, uint64_t length, struct mr_context *context, bool on_demand,
	     struct mr_record **record)
{
	struct mr_record *fresh = arena_alloc(&record_arena);
	int error;

	if (!fresh)
		return -ENOMEM;
	fresh->context = context;
	fresh->state = MR_REGISTERING;
	fresh->number = ++record_numbers;
	fresh->addr = coverage_floor(addr);
	fresh->end = coverage_ceil(addr + length);
	fresh->link = &records;
	fresh->next = records;
	if (records)
		records->link = &fresh->next;
	records = fresh;
	error = add_pieces(fresh);
	if (error < 0) {
		drop_pieces(fresh, 0, 0, 0, 0);
		unlink_record(fresh);
		return error;
	}
	fresh->pinned = !on_demand && !(fresh->fsdax && context->on_demand);
	/* Should we be killed in the middle, a child with the descriptor would keep the MR alive. */
	fresh->id.length = length;
	if (session.client.features & DLP_FEATURE_MR_BEGIN)
		report(fresh, DLP_MR_BEGIN);
	*record = fresh;
	return 0;
}

static void make_live(struct mr_record *record, const void *mr, const struct uverbs_mr *id)
{
	record->id = *id;
	record->node.start = (uintptr_t)mr;
	record->node.end = record->node.start + 1;
	record->state = MR_LIVE;
	tree_insert(&by_struct, &record->node);
	report(record, 0);
	table_wake();
}

int mr_registered(struct mr_record *record, const void *mr, const struct uverbs_mr *id)
{
	if (record->doomed)
		return -ENXIO;
	make_live(record, mr, id);
	return 0;
}

struct mr_record *mr_find(const void *mr)
{
	struct tree_node *node = tree_find(&by_struct, 0, 0, (uintptr_t)mr);

	return node && node->start == (uintptr_t)mr ? (struct mr_record *)node : NULL;
}

/* --- what stays mapped for an MR ------------------------------------------------------------- */

/* On demand, and not known to be gone: its memory must stay what it is. */
static bool needs_addresses(const struct mr_record *record, uint64_t start, uint64_t end)
{
	return !record->pinned && record->state != MR_DESTROYED && record->addr < end &&
	       start < record->end;
}

void mr_notice_gone(uint64_t start, uint64_t end)
{
	bool any = false;

	for (struct mr_record *record = records; record; record = record->next) {
		if (record->state != MR_LIVE || !needs_addresses(record, start, end) ||
		    record->context->uverbs_error || !context_descriptor_ours(record->context) ||
		    uverbs_look(&record->context->uverbs, &record->id) != -ENOENT)
			continue;
		record->state = MR_DESTROYED;
		report_end(record);
		any = true;
	}
	if (!any)
		return;
	mr_reap(0, 0, 0, 0);
	if (say_first(SAY_TAKEN, 0, 0))
		say("an MR is gone that was not deregistered here: the daemon has destroyed it, or "
		    "the "
		    "program has taken ibv_dereg_mr from libibverbs by itself (dlsym); then leases "
		    "last "
		    "until their memory is unmapped, and deregistering a revoked MR fails");
}

bool mr_needs(uint64_t start, uint64_t end)
{
	for (struct mr_record *record = records; record; record = record->next) {
		if (needs_addresses(record, start, end))
			return true;
	}
	return false;
}

int mr_cut(uint64_t start, uint64_t end)
{
	for (struct mr_record *record = records; record; record = record->next) {
		int error;

		if (!needs_addresses(record, start, end))
			continue;
		error = table_cut(record->addr, record->end);
		if (error < 0)
			return error;
	}
	return 0;
}

/* What the program unmapped under [start, end) and no other MR needs. */
static void unmap_zombies(uint64_t start, uint64_t end)
{
	struct mapping *mapping, *next;

	/* without memory to cut, a little more stays mapped until the other MR goes */
	(void)mr_cut(start, end);
	for (mapping = table_first(start, end); mapping && mapping->node.start < end;
	     mapping = next) {
		next = table_next(mapping);
		if (!mapping->zombie || mr_needs(mapping->node.start, mapping->node.end))
			continue;
		real_munmap((void *)(uintptr_t)mapping->node.start,
			    mapping->node.end - mapping->node.start);
		table_remove(mapping, true);
	}
}

void mr_end(struct mr_record *record)
{
	uint64_t addr = record->addr, end = record->end;

	report_end(record);
	drop_pieces(record, 0, 0, 0, 0);
	unlink_record(record);
	unmap_zombies(addr, end);
	table_wake();
}

/* --- revocation ------------------------------------------------------------------------------ */

static int destroy(struct mr_record *record)
{
	int error = record->context->uverbs_error;

	if (error == 0 && !context_descriptor_ours(record->context))
		error = -EBADF;
	if (error == 0)
		error = uverbs_destroy_mr(&record->context->uverbs, &record->id);
	if (error < 0)
		return error;
	record->state = MR_DESTROYED;
	report_end(record);
	return 0;
}

bool mr_is_gone(const struct mr_record *record, uint32_t lkey, uint32_t rkey, uint64_t length)
{
	const struct uverbs_mr now = {.handle = record->id.handle,
				      .lkey = lkey,
				      .rkey = rkey,
				      .length = length};
	int error;

	if (record->state != MR_LIVE || record->context->uverbs_error ||
	    !context_descriptor_ours(record->context))
		return false;
	error = uverbs_look(&record->context->uverbs, &now);
	return error == -ENOENT || error == -ESTALE;
}

void mr_reap(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end)
{
	for (struct mr_record *record = records; record; record = record->next) {
		if (record->state != MR_DESTROYED || !record->pieces)
			continue;
		drop_pieces(record, dev, ino, start, end);
		unmap_zombies(record->addr, record->end);
	}
}

static bool stands_on(const struct mr_record *record, uint64_t dev, uint64_t ino, uint64_t start,
		      uint64_t end)
{
	for (const struct mr_piece *piece = record->pieces; piece; piece = piece->next) {
		if (piece->dev == dev && piece->ino == ino && piece->start < end &&
		    start < piece->end)
			return true;
	}
	return false;
}

int mr_destroy_over(uint64_t start, uint64_t end)
{
	for (struct mr_record *record = records; record; record = record->next) {
		int error;

		if (record->addr >= end || start >= record->end)
			continue;
		if (record->state == MR_REGISTERING)
			record->doomed = true;
		if (record->state != MR_LIVE)
			continue;
		error = destroy(record);
		if (error < 0)
			return error;
	}
	mr_reap(0, 0, 0, 0);
	return 0;
}

int mr_settle(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, uint64_t deadline_ns)
{
	for (;;) {
		bool busy = false;

		for (struct mr_record *record = records; record; record = record->next) {
			if (!stands_on(record, dev, ino, start, end))
				continue;
			if (record->state == MR_REGISTERING)
				record->doomed = true;
			if (record->state == MR_REGISTERING || record->state == MR_DEREGISTERING)
				busy = true;
		}
		if (!busy)
			return 0;
		if (!table_wait(deadline_ns))
			return -ETIMEDOUT;
	}
}

int mr_destroy_on(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, bool pinned)
{
	int first = 0;

	for (struct mr_record *record = records; record; record = record->next) {
		int error;

		if (record->state != MR_LIVE || record->pinned != pinned ||
		    !stands_on(record, dev, ino, start, end))
			continue;
		error = destroy(record);
		if (error < 0 && first == 0)
			first = error;
	}
	return first;
}

/* --- re-registration ------------------------------------------------------------------------- */

/* Other keys: to the daemon another MR, told before the first is taken back. */
static void report_changed(struct mr_record *record, const struct uverbs_mr *id)
{
	struct dlp_mr before = end_of(record);

	record->number = ++record_numbers;
	record->id = *id;
	report(record, 0);
	(void)client_tell(&session.client, &before.head, sizeof(before), -1, false);
}

void mr_reregistered(struct mr_record *old, struct mr_record *fresh, bool moved, const void *mr,
		     const struct uverbs_mr *id)
{
	if (old && !moved) {
		if (old->id.lkey != id->lkey || old->id.rkey != id->rkey ||
		    old->id.handle != id->handle)
			report_changed(old, id);
		old->state = MR_LIVE;
		table_wake();
		return;
	}
	if (old)
		mr_end(old);
	if (!fresh)
		return;
	make_live(fresh, mr, id);
	/* if that fails, whoever revokes tries it again, and says so */
	if (fresh->doomed && destroy(fresh) == 0)
		mr_reap(0, 0, 0, 0);
}

void mr_rereg_failed(struct mr_record *old, struct mr_record *fresh, bool valid, const void *mr,
		     const struct uverbs_mr *id)
{
	struct mr_piece **last;

	if (fresh && valid)
		mr_end(fresh);
	else if (fresh && !old)
		make_live(fresh, mr, id);
	if (!old)
		return;
	old->state = MR_LIVE;
	if (fresh && !valid) {
		for (last = &old->pieces; *last; last = &(*last)->next)
			;
		*last = fresh->pieces;
		fresh->pieces = NULL;
		old->addr = old->addr < fresh->addr ? old->addr : fresh->addr;
		old->end = old->end > fresh->end ? old->end : fresh->end;
		old->fsdax |= fresh->fsdax;
		old->pinned = true; /* so it ends first */
		mr_end(fresh);
		report(old, 0);
	}
	table_wake();
}

/* --- the end of a context -------------------------------------------------------------------- */

void mr_context_closing(struct mr_context *context)
{
	for (struct mr_record *record = records; record; record = record->next) {
		/* What cannot be destroyed so goes with the descriptor; its lease is kept until
		 * then. */
		if (record->context == context && record->state == MR_LIVE && destroy(record) < 0)
			record->state = MR_DEREGISTERING;
	}
	mr_reap(0, 0, 0, 0);
}

void mr_context_closed(struct mr_context *context)
{
	struct mr_context **link = &contexts;
	struct mr_record *record, *next;

	for (record = records; record; record = next) {
		next = record->next;
		if (record->context == context)
			mr_end(record);
	}
	while (*link != context)
		link = &(*link)->next;
	*link = context->next;
	arena_free(&context_arena, context);
}

void mr_forget_all(void)
{
	struct mr_context *context;

	while (records) {
		while (records->pieces) {
			struct mr_piece *piece = records->pieces;

			records->pieces = piece->next;
			arena_free(&piece_arena, piece);
		}
		unlink_record(records);
	}
	while ((context = contexts)) {
		contexts = context->next;
		arena_free(&context_arena, context);
	}
}

void mr_abandon(void)
{
	records = NULL;
	by_struct = (struct tree){0};
	contexts = NULL;
	record_arena = (struct arena)ARENA_INIT(struct mr_record);
	piece_arena = (struct arena)ARENA_INIT(struct mr_piece);
	context_arena = (struct arena)ARENA_INIT(struct mr_context);
}
