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

#define CONTEXTS_MAX 64 /* of one session: each costs us a descriptor */
#define DESTROY_LIMIT_NS (2 * NS_PER_S)

/* What an MR covers of one file. */
struct mr_part {
	struct mr_part *next;
	uint64_t dev, ino, start, end;
};

struct mr {
	uint64_t id; /* key */
	uint32_t handle, lkey, rkey;
	uint64_t length;
	struct mr_part *parts;
	UT_hash_handle hh;
};

struct mr_context {
	uint32_t number; /* key; the client's */
	int uverbs_fd;
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
	else
		user_give(s->daemon, s->user, USER_MR_PARTS, 1);
	return part;
}

static void part_free(struct session *s, struct mr_part *part)
{
	if (!part)
		return;
	user_give(s->daemon, s->user, USER_MR_PARTS, 1);
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
	closer_close(context->uverbs_fd, s->uid);
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

static int context_new(struct session *s, uint32_t number, int fd, struct mr_context **out)
{
	struct mr_context *context;

	if (fd < 0)
		return -EBADMSG;
	if (!is_device(fd)) {
		closer_close(fd, s->uid);
		return -ENOTTY;
	}
	if (HASH_COUNT(s->contexts) >= CONTEXTS_MAX || !user_take(s->daemon, s->user, USER_DESCRIPTORS, 1)) {
		closer_close(fd, s->uid);
		return -EMFILE;
	}
	context = calloc(1, sizeof(*context));
	if (!context) {
		user_give(s->daemon, s->user, USER_DESCRIPTORS, 1);
		closer_close(fd, s->uid);
		return -ENOMEM;
	}
	context->number = number;
	context->uverbs_fd = fd;
	HASH_ADD(hh, s->contexts, number, sizeof(number), context);
	*out = context;
	return 0;
}

static struct mr *mr_get(struct mr_context *context, const struct dlp_mr *m)
{
	struct mr *mr;

	HASH_FIND(hh, context->mrs, &m->id, sizeof(m->id), mr);
	if (mr)
		return mr;
	mr = calloc(1, sizeof(*mr));
	if (!mr)
		return NULL;
	mr->id = m->id;
	mr->handle = m->handle;
	mr->lkey = m->lkey;
	mr->rkey = m->rkey;
	mr->length = m->length;
	HASH_ADD(hh, context->mrs, id, sizeof(mr->id), mr);
	return mr;
}

int mr_add(struct session *s, const struct dlp_mr *m, int fd)
{
	struct mr_context *context = context_find(s, m->context);
	struct mr_part *part;
	struct mr *mr;
	int rc;

	if (context)
		closer_close(fd, s->uid);
	if (!context) {
		rc = context_new(s, m->context, fd, &context);
		if (rc < 0)
			return rc;
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
		   struct destroy *job)
{
	struct daemon *d = s->daemon;
	uint64_t id;
	int rc = workers_submit(d->workers, work, context->uverbs_fd, (uint64_t)s->id << 32 | context->number,
				DESTROY_LIMIT_NS, destroyed, job, &id);

	if (rc == 0) {
		s->destroying++;
		return;
	}
	if (s->retries == 0)
		log_error("pid %d (%s): its MRs cannot be destroyed: %s", s->pid, s->comm, strerror(-rc));
	free(job);
}

static void destroy_context(struct session *s, const struct mr_context *context, void (*done)(struct session *s))
{
	const struct mr *mr = context->mrs;

	while (mr) {
		struct worker_job work = {.kind = WORKER_DESTROY};
		struct destroy *job = calloc(1, sizeof(*job));

		if (!job)
			return; /* they stay listed */
		job->daemon = s->daemon;
		job->session = s->id;
		job->context = context->number;
		job->done = done;
		for (; mr && job->items < WORKER_MAX_ITEMS; mr = mr->hh.next) {
			work.mr[job->items].handle = mr->handle;
			work.mr[job->items].lkey = mr->lkey;
			work.mr[job->items].rkey = mr->rkey;
			work.mr[job->items].length = mr->length;
			job->ids[job->items++] = mr->id;
		}
		work.items = job->items;
		submit(s, context, &work, job);
	}
}

void mr_destroy_all(struct session *s, void (*done)(struct session *s))
{
	for (const struct mr_context *c = s->contexts; c; c = c->hh.next)
		destroy_context(s, c, done);
}
