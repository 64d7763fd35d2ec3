// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which MRs depend on a session's leases. The shim reports each; the daemon keeps a copy of the uverbs descriptor as
 * long as one is reported on it, and can so destroy them when the holder cannot or does not. It does not
 * believe handles blindly: a worker compares lkey, rkey and length first (daemon/uverbs.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

#define CONTEXTS_MAX 64 /* of one session: each costs us a descriptor */
#define DESTROY_LIMIT_NS (2 * NS_PER_S)

/* What an MR covers of one file. */
struct mr_part {
	struct mr_part *next;
	uint32_t saved; /* its record */
	uint64_t dev, ino, start, end;
};

struct mr {
	uint64_t id; /* key */
	uint32_t handle, lkey, rkey;
	uint64_t length;
	bool pinned;
	bool begun; /* DLP_MR_BEGIN: may exist, its handle is not known */
	struct mr_part *parts;
	UT_hash_handle hh;
};

struct mr_context {
	uint32_t number; /* key; the client's */
	int uverbs_fd;
	uint32_t slot;	  /* in the store */
	uint32_t highest; /* handle that was reported */
	struct mr *mrs;
	UT_hash_handle hh;
};

static struct mr_context *context_find(const struct session *s, uint32_t number)
{
	struct mr_context *context;

	HASH_FIND(hh, s->contexts, &number, sizeof(number), context);
	return context;
}

static struct mr_part *part_new(struct session *s, const struct dlp_mr *m)
{
	struct mr_part *part;

	if (!user_take(s->daemon, s->user, USER_MR_PARTS, 1))
		return NULL;
	part = malloc(sizeof(*part));
	if (part)
		*part = (struct mr_part){.dev = m->dev, .ino = m->ino, .start = m->start, .end = m->end};
	if (part)
		part->saved = saved_take(s->daemon, SAVED_MR);
	if (part && part->saved)
		return part;
	free(part);
	user_give(s->daemon, s->user, USER_MR_PARTS, 1);
	return NULL;
}

static void part_free(struct session *s, struct mr_part *part)
{
	if (!part)
		return;
	user_give(s->daemon, s->user, USER_MR_PARTS, 1);
	saved_give(s->daemon, SAVED_MR, part->saved);
	free(part);
}

static void mr_free(struct session *s, struct mr_context *context, struct mr *mr)
{
	HASH_DEL(context->mrs, mr);
	while (mr->parts) {
		struct mr_part *next = mr->parts->next;

		part_free(s, mr->parts);
		mr->parts = next;
	}
	free(mr);
}

static void context_free(struct session *s, struct mr_context *context)
{
	struct mr *mr, *next;

	HASH_ITER(hh, context->mrs, mr, next)
		mr_free(s, context, mr);
	HASH_DEL(s->contexts, context);
	/* The last copy may be ours: a worker that destroys has one too, and is then the one that waits. */
	saved_drop(s->daemon, SAVED_CONTEXT, context->slot + 1);
	store_drop(s->daemon->store, STORE_UVERBS, context->slot, context->uverbs_fd, s->uid);
	user_give(s->daemon, s->user, USER_DESCRIPTORS, 1);
	free(context);
}

/* An open device. Anything else could keep a worker busy for its whole time (a FUSE server's file), and breakers
 * wait for these workers. Whether it is the right device is for the worker to see. */
static bool is_device(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx stx;

	return flags >= 0 && !(flags & O_PATH) &&
	       statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 && S_ISCHR(stx.stx_mode);
}

static struct mr_context *context_make(struct session *s, uint32_t number, int fd, uint32_t slot)
{
	struct mr_context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	context->number = number;
	context->uverbs_fd = fd;
	context->slot = slot;
	HASH_ADD(hh, s->contexts, number, sizeof(number), context);
	return context;
}

/* Takes fd over if it is 0. */
static int context_new(struct session *s, uint32_t number, int fd, struct mr_context **out)
{
	struct saved_context record = {.session = s->id, .number = number};
	struct daemon *d = s->daemon;
	uint32_t slot = STORE_NO_SLOT;
	int rc;

	if (fd < 0)
		return -EBADMSG;
	if (!is_device(fd))
		return -ENOTTY;
	if (HASH_COUNT(s->contexts) >= CONTEXTS_MAX || !user_take(d, s->user, USER_DESCRIPTORS, 1))
		return -EMFILE;
	rc = store_put(d->store, STORE_UVERBS, fd, &slot);
	if (rc == 0)
		rc = saved_reserve(d, SAVED_CONTEXT, slot + 1);
	*out = rc == 0 ? context_make(s, number, fd, slot) : NULL;
	if (!*out) {
		store_remove(d->store, STORE_UVERBS, slot);
		user_give(d, s->user, USER_DESCRIPTORS, 1);
		return rc ? rc : -ENOMEM;
	}
	saved_put(d, SAVED_CONTEXT, slot + 1, &record);
	return 0;
}

static struct mr *mr_get(struct mr_context *context, const struct dlp_mr *m)
{
	struct mr *mr;

	HASH_FIND(hh, context->mrs, &m->id, sizeof(m->id), mr);
	if (mr && !mr->begun)
		return mr;
	if (!mr) {
		mr = calloc(1, sizeof(*mr));
		if (!mr)
			return NULL;
		mr->id = m->id;
		HASH_ADD(hh, context->mrs, id, sizeof(mr->id), mr);
	}
	mr->begun = m->flags & DLP_MR_BEGIN;
	mr->handle = m->handle;
	mr->lkey = m->lkey;
	mr->rkey = m->rkey;
	mr->length = m->length;
	mr->pinned = m->flags & DLP_MR_PINNED;
	if (m->handle > context->highest)
		context->highest = m->handle;
	return mr;
}

static void save(struct session *s, const struct mr_context *context, const struct mr *mr, const struct mr_part *part)
{
	struct saved_mr record = {
		.id = mr->id,
		.length = mr->length,
		.dev = part->dev,
		.ino = part->ino,
		.start = part->start,
		.end = part->end,
		.session = s->id,
		.context = context->number,
		.handle = mr->handle,
		.lkey = mr->lkey,
		.rkey = mr->rkey,
		.flags = (mr->pinned ? DLP_MR_PINNED : 0) | (mr->begun ? DLP_MR_BEGIN : 0),
	};

	saved_put(s->daemon, SAVED_MR, part->saved, &record);
}

/* The MR, if this part of it was reported before: when its registration began, or to a daemon that died before it had
 * consumed that. */
static struct mr *known(struct mr_context *context, const struct dlp_mr *m)
{
	struct mr *mr;

	HASH_FIND(hh, context->mrs, &m->id, sizeof(m->id), mr);
	for (const struct mr_part *part = mr ? mr->parts : NULL; part; part = part->next) {
		if (part->dev == m->dev && part->ino == m->ino && part->start == m->start && part->end == m->end)
			return mr;
	}
	return NULL;
}

int mr_add(struct session *s, const struct dlp_mr *m, int *fd)
{
	struct mr_context *context = context_find(s, m->context);
	struct mr_part *part;
	struct mr *mr;
	int rc;

	mr = context ? known(context, m) : NULL;
	if (mr && mr->begun && !(m->flags & DLP_MR_BEGIN)) { /* now it is registered */
		mr_get(context, m);
		for (part = mr->parts; part; part = part->next)
			save(s, context, mr, part);
	}
	if (mr)
		return 0;
	if (!context) {
		rc = context_new(s, m->context, *fd, &context);
		if (rc < 0)
			return rc;
		*fd = -1;
	}
	part = part_new(s, m);
	mr = part ? mr_get(context, m) : NULL;
	if (!mr) {
		part_free(s, part);
		if (!context->mrs)
			context_free(s, context);
		return -ENOMEM;
	}
	part->next = mr->parts;
	mr->parts = part;
	save(s, context, mr, part);
	return 0;
}

void mr_del(struct session *s, uint32_t number, uint64_t id)
{
	struct mr_context *context = context_find(s, number);
	struct mr *mr = NULL;

	if (context)
		HASH_FIND(hh, context->mrs, &id, sizeof(id), mr);
	if (!mr)
		return;
	mr_free(s, context, mr);
	if (!context->mrs)
		context_free(s, context);
}

static bool mr_touches(const struct mr *mr, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end)
{
	for (const struct mr_part *part = mr->parts; part; part = part->next) {
		if (part->dev == dev && part->ino == ino && part->start < end && start < part->end)
			return true;
	}
	return false;
}

unsigned mr_count(const struct session *s, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end)
{
	unsigned count = 0;

	for (const struct mr_context *c = s->contexts; c; c = c->hh.next) {
		for (const struct mr *mr = c->mrs; mr; mr = mr->hh.next)
			count += mr_touches(mr, dev, ino, start, end);
	}
	return count;
}

bool mr_any(const struct session *s)
{
	return s->contexts != NULL;
}

void mr_forget_all(struct session *s)
{
	struct mr_context *context, *next;

	HASH_ITER(hh, s->contexts, context, next)
		context_free(s, context);
}

/* --- destroying ---------------------------------------------------------------------------------------- */

/* One worker job: up to WORKER_MAX_ITEMS MRs of one context. Sessions are named by id: they may be gone. */
struct destroy {
	struct daemon *daemon;
	uint32_t session, context;
	unsigned items;
	uint64_t ids[WORKER_MAX_ITEMS];
	void (*done)(struct session *s);
};

static void destroyed(void *arg, const struct worker_result *result)
{
	struct destroy *job = arg;
	struct session *s = session_find(job->daemon, job->session);
	void (*done)(struct session *s) = job->done;

	for (unsigned i = 0; s && i < job->items; i++) {
		if (result->error || (result->failed & (1ull << i)))
			continue;
		mr_del(s, job->context, job->ids[i]);
		job->daemon->counters.daemon.mrs_destroyed++;
	}
	if (s && result->error && s->retries == 0)
		log_error("pid %d (%s): its MRs could not be destroyed: %s", s->pid, s->comm,
			  strerror(-result->error));
	free(job);
	if (s && --s->destroying == 0)
		done(s);
}

static void submit(struct session *s, const struct mr_context *context, const struct worker_job *work,
		   uint64_t limit_ns, struct destroy *job)
{
	struct daemon *d = s->daemon;
	uint64_t id;
	int rc = workers_submit(d->workers, work, context->uverbs_fd, (uint64_t)s->id << 32 | context->number,
				limit_ns, destroyed, job, &id);

	if (rc == 0) {
		s->destroying++;
		return;
	}
	if (s->retries == 0)
		log_error("pid %d (%s): its MRs cannot be destroyed: %s", s->pid, s->comm, strerror(-rc));
	free(job);
}

/* ranges NULL: all of them. */
static bool is_wanted(const struct mr *mr, const struct worker_job *ranges, enum mr_sort sort)
{
	if (!(sort & (mr->pinned ? MR_PINNED : MR_ON_DEMAND)))
		return false;
	for (unsigned i = 0; ranges && i < ranges->items; i++) {
		if (mr_touches(mr, ranges->range[i].dev, ranges->range[i].ino, ranges->range[i].start,
			       ranges->range[i].end))
			return true;
	}
	return !ranges;
}

bool mr_any_on(const struct session *s, const struct worker_job *ranges, enum mr_sort sort)
{
	for (const struct mr_context *c = s->contexts; c; c = c->hh.next) {
		for (const struct mr *mr = c->mrs; mr; mr = mr->hh.next) {
			if (is_wanted(mr, ranges, sort))
				return true;
		}
	}
	return false;
}

/* What is to be destroyed of a context's MRs. Those that have begun are jobs of their own: they are known by their length
 * only. */
struct wish {
	const struct worker_job *ranges;
	enum mr_sort sort;
	bool begun;
	uint64_t limit_ns;
	void (*done)(struct session *s);
};

static const struct mr *next_wanted(const struct mr *mr, const struct wish *wish)
{
	while (mr && (mr->begun != wish->begun || !is_wanted(mr, wish->ranges, wish->sort)))
		mr = mr->hh.next;
	return mr;
}

static void destroy_context(struct session *s, const struct mr_context *context, const struct wish *wish)
{
	const struct mr *mr = next_wanted(context->mrs, wish);

	while (mr) {
		struct worker_job work = {.kind = WORKER_DESTROY,
					  .by_length = wish->begun,
					  .highest = context->highest,
					  .dead = s->state == SESSION_DEAD};
		struct destroy *job = calloc(1, sizeof(*job));

		if (!job)
			return; /* they stay listed */
		job->daemon = s->daemon;
		job->session = s->id;
		job->context = context->number;
		job->done = wish->done;
		for (; mr && job->items < WORKER_MAX_ITEMS; mr = next_wanted(mr->hh.next, wish)) {
			work.mr[job->items].handle = mr->handle;
			work.mr[job->items].lkey = mr->lkey;
			work.mr[job->items].rkey = mr->rkey;
			work.mr[job->items].length = mr->length;
			job->ids[job->items++] = mr->id;
		}
		work.items = job->items;
		submit(s, context, &work, wish->limit_ns, job);
	}
}

void mr_destroy_all(struct session *s, void (*done)(struct session *s))
{
	mr_destroy_on(s, NULL, MR_ANY, DESTROY_LIMIT_NS, done);
}

void mr_destroy_on(struct session *s, const struct worker_job *ranges, enum mr_sort sort, uint64_t limit_ns,
		   void (*done)(struct session *s))
{
	struct wish wish = {.ranges = ranges, .sort = sort, .limit_ns = limit_ns, .done = done};

	/* What has begun is looked for when nothing can come any more: of a dead process. Before that it stays listed, and
	 * counts as one that lives. Jobs of one context run one after another: by then the others are gone. */
	for (const struct mr_context *c = s->contexts; c; c = c->hh.next) {
		for (int begun = 0; begun <= (s->state == SESSION_DEAD); begun++) {
			wish.begun = begun;
			destroy_context(s, c, &wish);
		}
	}
}

/* --- restart ------------------------------------------------------------------------------------------- */

static int context_restore(struct daemon *d, uint32_t slot, int fd)
{
	const struct saved_context *record;
	uint32_t cursor = slot; /* the next one behind is slot + 1 */
	struct session *s;

	record = saved_next(d, SAVED_CONTEXT, &cursor);
	s = record && cursor == slot + 1 ? session_find(d, record->session) : NULL;
	if (!s) {
		store_drop(d->store, STORE_UVERBS, slot, fd, 0);
		return 0;
	}
	user_take_back(d, s->user, USER_DESCRIPTORS, 1);
	return context_make(s, record->number, fd, slot) ? 0 : -ENOMEM;
}

/* Its descriptor was not handed back: it cannot be destroyed from here. */
static void mr_lost(struct session *s)
{
	if (!s->mrs_unknown)
		log_error("pid %d (%s): a device of it was not handed back: its MRs end with it only", s->pid, s->comm);
	s->mrs_unknown = true;
	session_save(s);
}

static int part_restore(struct daemon *d, const struct saved_mr *record, uint32_t index)
{
	struct session *s = session_find(d, record->session);
	struct mr_context *context = s ? context_find(s, record->context) : NULL;
	const struct dlp_mr m = {
		.id = record->id,
		.handle = record->handle,
		.lkey = record->lkey,
		.rkey = record->rkey,
		.length = record->length,
		.flags = record->flags,
	};
	struct mr_part *part;
	struct mr *mr;

	if (!context) {
		if (s)
			mr_lost(s);
		saved_give(d, SAVED_MR, index);
		return 0;
	}
	part = calloc(1, sizeof(*part));
	mr = part ? mr_get(context, &m) : NULL;
	if (!mr)
		return -ENOMEM;
	user_take_back(d, s->user, USER_MR_PARTS, 1);
	*part = (struct mr_part){
		.next = mr->parts,
		.saved = index,
		.dev = record->dev,
		.ino = record->ino,
		.start = record->start,
		.end = record->end,
	};
	mr->parts = part;
	return 0;
}

int mrs_restore(struct daemon *d)
{
	const struct saved_mr *record;
	uint32_t slot, cursor = 0;
	int rc = 0, fd;

	while (rc == 0 && (fd = store_take(d->store, STORE_UVERBS, &slot)) >= 0)
		rc = context_restore(d, slot, fd);
	while (rc == 0 && (record = saved_next(d, SAVED_MR, &cursor)))
		rc = part_restore(d, record, cursor);
	return rc;
}
