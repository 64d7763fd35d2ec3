// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/coverage.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

/* Splitting at both borders of a range needs two nodes, and must not fail in the middle of giving
 * back. */
#define SPLIT_NODES 2u

struct cover {
	struct tree_node node; /* first: a node is cast back */
	uint64_t birth;
	uint64_t epoch; /* of its grant, the daemon's count; before it is held: at least that */
	uint32_t refs;
	bool held;     /* granted, as far as we know; false: a taking is under way */
	bool writable; /* granted with DLP_GRANT_WRITE */
	bool freeze;   /* so far only with DLP_GRANT_FREEZE */
};

static struct cover *cover_of(struct tree_node *node)
{
	return (struct cover *)node;
}

static uint64_t page_size(void)
{
	static uint64_t size; /* every thread writes the same value */
	uint64_t known = __atomic_load_n(&size, __ATOMIC_RELAXED);

	if (known == 0) {
		known = (uint64_t)sysconf(_SC_PAGESIZE);
		__atomic_store_n(&size, known, __ATOMIC_RELAXED);
	}
	return known;
}

uint64_t coverage_floor(uint64_t at)
{
	return at & ~(page_size() - 1);
}

uint64_t coverage_ceil(uint64_t at)
{
	uint64_t mask = page_size() - 1;

	return at > UINT64_MAX - mask ? ~mask : (at + mask) & ~mask;
}

void coverage_init(struct coverage *coverage, struct client *client)
{
	*coverage = (struct coverage){.client = client, .arena = ARENA_INIT(struct cover)};
	pthread_mutex_init(&coverage->lock, NULL);
}

/* Cuts the range that contains `at` in two there, if there is one. */
static int cut(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t at)
{
	struct tree_node *node = tree_find(&coverage->ranges, dev, ino, at);
	struct cover *tail;

	if (!node || node->start >= at)
		return 0;
	tail = arena_alloc(&coverage->arena);
	if (!tail)
		return -ENOMEM;
	tail->birth = cover_of(node)->birth;
	tail->epoch = cover_of(node)->epoch;
	tail->refs = cover_of(node)->refs;
	tail->held = cover_of(node)->held;
	tail->writable = cover_of(node)->writable;
	tail->freeze = cover_of(node)->freeze;
	tree_split(&coverage->ranges, node, &tail->node, at);
	return 0;
}

static int cut_both(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		    uint64_t end)
{
	int error = cut(coverage, dev, ino, start);

	return error < 0 ? error : cut(coverage, dev, ino, end);
}

/* The first range that overlaps [start, end), or NULL. */
static struct cover *first_in(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
			      uint64_t end)
{
	struct tree_node *node = tree_find(&coverage->ranges, dev, ino, start);

	return node && node->start < end ? cover_of(node) : NULL;
}

static void send_release(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
			 uint64_t end)
{
	struct dlp_range message = {
		.head.opcode = DLP_RELEASE,
		.dev = dev,
		.ino = ino,
		.start = start,
		.end = end,
	};

	/* a dead connection has released everything, or the daemon fences */
	if (coverage->client)
		(void)client_tell(coverage->client, &message.head, sizeof(message), -1, false);
}

/* One reference less on every range born up to `birth` in [start, end). Neighbours that end
 * together are told together. */
static void unref(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		  uint64_t end, uint64_t birth)
{
	uint64_t gone_start = 0, gone_end = 0;
	struct cover *cover;

	/* Without memory to cut, a reference too many stays: a lease too long, never too short. */
	if (cut_both(coverage, dev, ino, start, end) < 0)
		return;
	for (uint64_t at = start; (cover = first_in(coverage, dev, ino, at, end));) {
		at = cover->node.end;
		if (cover->birth > birth || --cover->refs > 0)
			continue;
		if (cover->held) {
			if (gone_end != cover->node.start) {
				if (gone_end)
					send_release(coverage, dev, ino, gone_start, gone_end);
				gone_start = cover->node.start;
			}
			gone_end = cover->node.end;
		}
		tree_erase(&coverage->ranges, &cover->node);
		arena_free(&coverage->arena, cover);
	}
	if (gone_end)
		send_release(coverage, dev, ino, gone_start, gone_end);
}

/* A reference on each page of the take; new ranges where there were none. */
static int add_refs(struct coverage *coverage, const struct coverage_take *take, bool *all_held)
{
	bool write = take->flags & DLP_GRANT_WRITE, freeze = take->flags & DLP_GRANT_FREEZE;
	uint64_t at = take->start;

	while (at < take->end) {
		struct cover *cover = first_in(coverage, take->dev, take->ino, at, take->end);

		if (cover && cover->node.start <= at) {
			cover->refs++;
			if (!cover->held || (write && !cover->writable) ||
			    (!freeze && cover->freeze))
				*all_held = false;
			at = cover->node.end;
			continue;
		}
		*all_held = false;
		{
			struct cover *fresh = arena_alloc(&coverage->arena);

			if (!fresh) {
				if (at > take->start)
					unref(coverage, take->dev, take->ino, take->start, at,
					      take->birth);
				return -ENOMEM;
			}
			fresh->node.dev = take->dev;
			fresh->node.ino = take->ino;
			fresh->node.start = at;
			fresh->node.end = cover ? cover->node.start : take->end;
			fresh->birth = take->birth;
			fresh->epoch = coverage->seen + 1;
			fresh->refs = 1;
			fresh->freeze = freeze;
			at = fresh->node.end;
			tree_insert(&coverage->ranges, &fresh->node);
		}
	}
	return 0;
}

int coverage_begin(struct coverage *coverage, struct coverage_take *take, uint64_t dev,
		   uint64_t ino, uint64_t start, uint64_t end, uint32_t flags)
{
	bool all_held = true;
	int error;

	*take = (struct coverage_take){
		.dev = dev,
		.ino = ino,
		.start = coverage_floor(start),
		.end = coverage_ceil(end),
		.ask_start = start,
		.ask_end = end,
		.flags = flags,
	};
	pthread_mutex_lock(&coverage->lock);
	take->birth = ++coverage->clock;
	/* what is split off here must also be cut when it is given back, memory or not */
	error = arena_reserve(&coverage->arena, 2 * SPLIT_NODES + 1);
	if (error == 0)
		error = cut_both(coverage, dev, ino, take->start, take->end);
	if (error == 0)
		error = add_refs(coverage, take, &all_held);
	pthread_mutex_unlock(&coverage->lock);
	return error < 0 ? error : !all_held;
}

int coverage_ask(struct coverage *coverage, struct coverage_take *take, int fd,
		 struct dlp_grant_reply *reply, bool (*again)(void *arg), void *arg)
{
	/* 1 + 2 + ... + 32 = 63 ms, and the round trips between */
	for (long pause_ms = 1;; pause_ms *= 2) {
		struct dlp_grant grant = {
			.head.opcode = DLP_GRANT,
			.start = take->ask_start,
			.end = take->ask_end,
			.flags = take->flags,
		};
		struct timespec pause = {.tv_nsec = pause_ms * 1000000L};
		int error = client_request(coverage->client, &grant.head, sizeof(grant), fd, reply,
					   sizeof(*reply));

		if (error < 0)
			return error;
		take->epoch = reply->epoch;
		if (reply->head.error != EAGAIN || pause_ms > 32 || (again && !again(arg)))
			return -reply->head.error;
		nanosleep(&pause, NULL);
	}
}

/* What the daemon granted is held where our references still are. */
static void mark_held(struct coverage *coverage, struct coverage_take *take)
{
	uint64_t at = take->start, oldest = UINT64_MAX;

	if (take->epoch > coverage->seen)
		coverage->seen = take->epoch;
	while (at < take->end) {
		struct cover *cover = first_in(coverage, take->dev, take->ino, at, take->end);
		uint64_t next = cover ? cover->node.start : take->end;

		if (next > at) {
			/* revoked since coverage_begin(), and the grant came behind that: nobody
			 * would ever give it back */
			send_release(coverage, take->dev, take->ino, at, next);
			at = next;
			continue;
		}
		/* with our references on it a range begins and ends inside the take */
		at = cover->node.end;
		if (cover->birth > take->birth)
			continue;
		cover->held = true;
		if (take->epoch > cover->epoch)
			cover->epoch = take->epoch;
		if (cover->epoch < oldest)
			oldest = cover->epoch;
		if (take->flags & DLP_GRANT_WRITE)
			cover->writable = true;
		if (!(take->flags & DLP_GRANT_FREEZE))
			cover->freeze = false;
	}
	take->epoch = oldest;
}

void coverage_end(struct coverage *coverage, struct coverage_take *take, bool granted)
{
	pthread_mutex_lock(&coverage->lock);
	if (!granted) {
		unref(coverage, take->dev, take->ino, take->start, take->end, take->birth);
	} else {
		mark_held(coverage, take);
	}
	pthread_mutex_unlock(&coverage->lock);
}

void coverage_drop(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		   uint64_t end)
{
	pthread_mutex_lock(&coverage->lock);
	unref(coverage, dev, ino, coverage_floor(start), coverage_ceil(end), UINT64_MAX);
	/* so that the next one who gives back finds nodes to cut with */
	(void)arena_reserve(&coverage->arena, SPLIT_NODES);
	pthread_mutex_unlock(&coverage->lock);
}

void coverage_forget(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		     uint64_t end)
{
	struct cover *cover;

	start = coverage_floor(start);
	end = coverage_ceil(end);
	pthread_mutex_lock(&coverage->lock);
	/* Without memory to cut, more is forgotten than was revoked: the rest is asked for again
	 * when needed. */
	(void)cut_both(coverage, dev, ino, start, end);
	for (uint64_t at = start; (cover = first_in(coverage, dev, ino, at, end));) {
		at = cover->node.end;
		tree_erase(&coverage->ranges, &cover->node);
		arena_free(&coverage->arena, cover);
	}
	pthread_mutex_unlock(&coverage->lock);
}

bool coverage_meant(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t *start,
		    uint64_t end, uint64_t epoch, uint64_t *part_end)
{
	struct cover *cover;

	pthread_mutex_lock(&coverage->lock);
	if (epoch > coverage->seen)
		coverage->seen = epoch;
	/* skip what is newer ... */
	while (*start < end && (cover = first_in(coverage, dev, ino, *start, end)) &&
	       cover->node.start <= *start && cover->epoch > epoch)
		*start = cover->node.end;
	/* ... and go as far as nothing newer is in the way */
	*part_end = *start < end ? end : *start;
	for (uint64_t at = *start; (cover = first_in(coverage, dev, ino, at, end));
	     at = cover->node.end) {
		if (cover->epoch > epoch) {
			*part_end = cover->node.start;
			break;
		}
	}
	pthread_mutex_unlock(&coverage->lock);
	return *start < end;
}

bool coverage_held(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		   uint64_t end)
{
	uint64_t at = coverage_floor(start);

	end = coverage_ceil(end);
	pthread_mutex_lock(&coverage->lock);
	while (at < end) {
		struct cover *cover = first_in(coverage, dev, ino, at, end);

		if (!cover || cover->node.start > at || !cover->held)
			break;
		at = cover->node.end;
	}
	pthread_mutex_unlock(&coverage->lock);
	return at >= end;
}
