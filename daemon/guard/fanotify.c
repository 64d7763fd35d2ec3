/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Construction, marks, attempts and answers: what the daemon's loop calls. */
#include "daemon/guard/fanotify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/guard/io_uring.h"
#include "daemon/guard/thread.h"

static struct fanotify_guard *inside(struct guard *guard)
{
	return (struct fanotify_guard *)guard;
}

/* fanotify_mark(2) on whatever `fd` is. An O_PATH descriptor with a NULL path gives EBADF, so
 * through its name: following /proc/self/fd/N touches procfs only, it looks up nothing in the file
 * system of the file. */
static int mark(const struct fanotify_guard *guard, unsigned int flags, uint64_t mask, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fanotify_mark(guard->group, flags, mask, AT_FDCWD, path) < 0 ? -errno : 0;
}

static int check_file(int fd, uint64_t dev, uint64_t ino, bool with_ino)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev != dev || (with_ino && st.st_ino != ino) ? -ESTALE : 0;
}

static int fanotify_watch(struct guard *base, int path_fd, uint64_t dev)
{
	struct fanotify_guard *guard = inside(base);
	int ret = check_file(path_fd, dev, 0, false);

	if (ret < 0)
		return ret;
	ret = mark(guard, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_PRE_ACCESS, path_fd);
	switch (ret) {
	case -EINVAL:	  /* the kernel does not know the event: before 6.14 */
	case -EOPNOTSUPP: /* the file system does not take part */
	case -ENODEV:	  /* the file system has no fsid, or */
	case -EXDEV:	  /* several: a btrfs subvolume */
		return -EOPNOTSUPP;
	}
	return ret;
}

static int fanotify_unwatch(struct guard *base, int path_fd, uint64_t dev)
{
	struct fanotify_guard *guard = inside(base);
	int ret = path_fd < 0 ? 0 : check_file(path_fd, dev, 0, false);

	if (ret < 0)
		return ret;
	/* The marks of inodes still armed stay (an unmount removes them): events of theirs are let
	 * go on, and the first of each removes its mark (reader.c, silence()). */
	pthread_mutex_lock(&guard->lock);
	armed_remove_dev(&guard->armed, dev);
	pthread_mutex_unlock(&guard->lock);
	if (path_fd >= 0)
		ret = mark(guard, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_PRE_ACCESS, path_fd);
	return ret == -ENOENT ? 0 : ret;
}

/*
 * Why no event of an armed inode can be lost between the reader's silence() and this:
 *
 * 1. The reader looks whether the inode is armed, silences it if not, and answers, all in one hold
 * of the lock. This enters the inode, adds its mark and removes the ignore mark in one hold of the
 * same lock. So every silencing is either wholly before, and then its ignore mark is removed here;
 * or behind, and then it sees the inode armed and does not happen.
 * 2. For the same reason every "go on" given because the inode was not armed was given before this
 * returns. An event raised before but looked at later is of an armed inode, and stopped.
 * 3. The mark is added first. Were the ignore mark removed first, nothing would be wrong with
 * PRE_ACCESS, which the file system's mark still asks for; but the inode's mark (one object, which
 * carries both masks) would be destroyed and made anew, and while the kernel detaches a mark an
 * operation can pass.
 *
 * What this cannot know: a thread that was let go on before, or that passed the silenced hook, and
 * has not reached the inode's lock yet. That is for the caller's barrier and second look.
 */
static int fanotify_arm(struct guard *base, int fd, uint64_t dev, uint64_t ino)
{
	struct fanotify_guard *guard = inside(base);
	bool was_armed;
	int ret = check_file(fd, dev, ino, true);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&guard->lock);
	was_armed = armed_has(&guard->armed, dev, ino);
	ret = armed_add(&guard->armed, dev, ino);
	if (!ret)
		ret = mark(guard, FAN_MARK_ADD, FAN_PRE_ACCESS | FAN_OPEN_PERM, fd);
	if (!ret)
		ret = mark(guard, FAN_MARK_REMOVE | FANOTIFY_IGNORE, FAN_PRE_ACCESS, fd);
	if (ret == -ENOENT) /* there was none to remove */
		ret = 0;
	if (ret < 0 && !was_armed) {
		armed_remove(&guard->armed, dev, ino);
		mark(guard, FAN_MARK_REMOVE, FAN_PRE_ACCESS | FAN_OPEN_PERM, fd);
	}
	pthread_mutex_unlock(&guard->lock);
	return ret;
}

static int fanotify_disarm(struct guard *base, int fd, uint64_t dev, uint64_t ino)
{
	struct fanotify_guard *guard = inside(base);
	int ret = fd < 0 ? 0 : check_file(fd, dev, ino, true);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&guard->lock);
	if (guard->closer_lingers)
		pthread_cond_signal(&guard->close_cond);
	if (!armed_remove(&guard->armed, dev, ino)) {
		ret = -ENOENT;
	} else if (fd >= 0) {
		/* the whole mark: one that asks for FAN_OPEN_PERM takes no evictable ignore mark
		 * later */
		ret = mark(guard, FAN_MARK_REMOVE, FAN_PRE_ACCESS | FAN_OPEN_PERM, fd);
		if (ret == -ENOENT)
			ret = 0;
	}
	pthread_mutex_unlock(&guard->lock);
	return ret;
}

static int fanotify_rearm(struct guard *base, uint64_t dev, uint64_t ino)
{
	struct fanotify_guard *guard = inside(base);
	int ret;

	pthread_mutex_lock(&guard->lock);
	ret = armed_add(&guard->armed, dev, ino);
	pthread_mutex_unlock(&guard->lock);
	return ret;
}

static bool fanotify_owes(struct guard *base, uint32_t index, uint64_t serial)
{
	struct fanotify_guard *guard = inside(base);
	const struct slot *slot;
	bool owes;

	pthread_mutex_lock(&guard->lock);
	slot = index < guard->slots.head->fresh ? &guard->slots.slot[index] : NULL;
	owes = slot && slot->state == SLOT_TOLD && slot->serial == serial;
	pthread_mutex_unlock(&guard->lock);
	return owes;
}

/* --- attempts
 * ---------------------------------------------------------------------------------------- */

void fanotify_queue(struct fanotify_guard *guard, uint32_t index)
{
	if (!guard->readable)
		eventfd_write(guard->base.event_fd, 1);
	guard->readable = true;
	guard->slots.slot[index].state = SLOT_QUEUED;
	slot_list_push(&guard->slots, &guard->queue, index);
	if (guard->slots.slot[index].attempt.answered)
		guard->counts.notices++;
	else
		guard->counts.attempts++;
}

static bool fanotify_next(struct guard *base, struct guard_attempt *attempt)
{
	struct fanotify_guard *guard = inside(base);
	uint32_t index;
	eventfd_t value;

	pthread_mutex_lock(&guard->lock);
	index = slot_list_pop(&guard->slots, &guard->queue);
	if (guard->queue.head == SLOT_NONE && guard->readable) {
		/* readable exactly while there is something */
		eventfd_read(guard->base.event_fd, &value);
		guard->readable = false;
	}
	if (index != SLOT_NONE) {
		struct slot *slot = &guard->slots.slot[index];

		*attempt = slot->attempt;
		slot->state = SLOT_TOLD;
	}
	pthread_mutex_unlock(&guard->lock);
	return index != SLOT_NONE;
}

/* Written down before it is said: whoever came upon the event again behind its answer would look at a thread that does
 * something else by then, and take that for what it asks for. */
int fanotify_respond(struct fanotify_guard *guard, uint32_t index, uint32_t response)
{
	struct slot *slot = &guard->slots.slot[index];
	struct fanotify_response record = {.fd = slot->event.head.fd, .response = response};
	ssize_t written;

	slot->answer = SLOT_ANSWERED | response;
	atomic_signal_fence(memory_order_seq_cst);
	written = write(guard->group, &record, sizeof(record));
	if (written == (ssize_t)sizeof(record))
		return 0;
	return written < 0 ? -errno : -EIO;
}

void fanotify_finish(struct fanotify_guard *guard, uint32_t index)
{
	guard->slots.slot[index].state = SLOT_CLOSING;
	slot_list_push(&guard->slots, &guard->closing, index);
	if (guard->closer_sleeps)
		pthread_cond_signal(&guard->close_cond);
}

static int fanotify_answer(struct guard *base, uint32_t index, int error)
{
	struct fanotify_guard *guard = inside(base);
	struct slot *slot;
	int ret;

	/* Any other errno is refused by the kernel, and the thread would wait on. */
	if (error != 0 && error != -EBUSY && error != -EAGAIN && error != -ETXTBSY)
		return -EINVAL;
	pthread_mutex_lock(&guard->lock);
	slot = index < guard->slots.head->fresh ? &guard->slots.slot[index] : NULL;
	if (!slot || slot->state != SLOT_TOLD) {
		pthread_mutex_unlock(&guard->lock);
		return -EINVAL;
	}
	if (slot->attempt.answered) {
		slots_put(&guard->slots, index);
		if (guard->paused)
			eventfd_write(guard->wake_fd, 1);
		pthread_mutex_unlock(&guard->lock);
		return 0;
	}
	ret = fanotify_respond(guard, index, error ? GUARD_DENY(-error) : FAN_ALLOW);
	/* ENOENT: the kernel knows no such event. Nothing more can be done for it; the record is
	 * done with. After any other failure the event still waits, and the answer can be tried
	 * again. */
	if (ret == 0 || ret == -ENOENT)
		fanotify_finish(guard, index);
	if (ret < 0 && !(ret == -ENOENT && slot->taken_over))
		guard->counts.errors++;
	pthread_mutex_unlock(&guard->lock);
	return ret;
}

static unsigned fanotify_passed(struct guard *base, uint64_t dev, uint64_t ino,
				struct guard_passed *list, unsigned max)
{
	struct fanotify_guard *guard = inside(base);
	const uint64_t now_ns = fanotify_now_ns();
	unsigned count = 0;

	pthread_mutex_lock(&guard->lock);
	for (uint32_t i = 0; i < FANOTIFY_PASSED; i++) {
		const struct fanotify_passed *one = &guard->passed->list[i];

		if (one->thread.tid <= 0 || one->ino != ino || one->dev != dev ||
		    now_ns - one->since_ns > FANOTIFY_PASSED_NS)
			continue;
		if (count < max)
			list[count] = one->thread;
		count++;
	}
	pthread_mutex_unlock(&guard->lock);
	return count;
}

static void fanotify_exempt(struct guard *base, int32_t pid, bool on)
{
	struct fanotify_guard *guard = inside(base);

	pthread_mutex_lock(&guard->lock);
	if (!on)
		armed_remove(&guard->exempt, 0, (uint64_t)pid);
	else if (armed_add(&guard->exempt, 0, (uint64_t)pid) < 0)
		guard->counts.errors++; /* its look at a leased file will time out: EAGAIN for one
					   client */
	pthread_mutex_unlock(&guard->lock);
}

/* --- life
 * -------------------------------------------------------------------------------------------- */

/* With the lock held, when nothing is left: until there may be something. */
static void closer_rest(struct fanotify_guard *guard, bool *worked)
{
	uint64_t until_ns = fanotify_now_ns() + FANOTIFY_LINGER_NS;
	const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
				       .tv_nsec = (long)(until_ns % 1000000000u)};

	guard->closer_lingers = *worked;
	guard->closer_sleeps = !*worked;
	if (*worked)
		pthread_cond_clockwait(&guard->close_cond, &guard->lock, CLOCK_MONOTONIC, &until);
	else
		pthread_cond_wait(&guard->close_cond, &guard->lock);
	guard->closer_lingers = guard->closer_sleeps = *worked = false;
}

void *fanotify_closer(void *arg)
{
	struct fanotify_guard *guard = arg;
	bool worked = false;

	pthread_mutex_lock(&guard->lock);
	for (;;) {
		uint32_t index = slot_list_pop(&guard->slots, &guard->closing);
		int fd;

		if (index == SLOT_NONE) {
			if (guard->stop)
				break;
			closer_rest(guard, &worked);
			continue;
		}
		worked = true;
		fd = guard->slots.slot[index].event.head.fd;
		pthread_mutex_unlock(&guard->lock);
		close(fd);
		pthread_mutex_lock(&guard->lock);
		slots_put(&guard->slots, index);
		guard->held--;
		if (guard->paused)
			eventfd_write(guard->wake_fd, 1);
	}
	pthread_mutex_unlock(&guard->lock);
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void stop_threads(struct fanotify_guard *guard, bool reader, bool closer)
{
	pthread_mutex_lock(&guard->lock);
	guard->stop = true;
	pthread_cond_signal(&guard->close_cond);
	eventfd_write(guard->wake_fd, 1);
	pthread_mutex_unlock(&guard->lock);
	if (reader)
		pthread_join(guard->reader, NULL);
	if (closer)
		pthread_join(guard->closer, NULL);
}

static void release(struct fanotify_guard *guard)
{
	const int error = errno;

	/* The last descriptor of the group: whoever still waits goes on (C13, fails open). */
	close_fd(guard->group);
	for (uint32_t i = 0; guard->slots.head && i < guard->slots.head->fresh; i++) {
		if (guard->slots.slot[i].state != SLOT_FREE)
			close_fd(guard->slots.slot[i].event.head.fd);
	}
	slots_close(&guard->slots);
	armed_clear(&guard->armed);
	armed_clear(&guard->exempt);
	close_fd(guard->wake_fd);
	close_fd(guard->base.event_fd);
	pthread_cond_destroy(&guard->close_cond);
	pthread_mutex_destroy(&guard->lock);
	free(guard);
	errno = error;
}

static void fanotify_free(struct guard *base)
{
	struct fanotify_guard *guard = inside(base);

	stop_threads(guard, guard->started, guard->started);
	release(guard);
}

static int start_threads(struct fanotify_guard *guard)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ret = pthread_create(&guard->closer, NULL, fanotify_closer, guard);
	if (!ret) {
		ret = pthread_create(&guard->reader, NULL, fanotify_reader, guard);
		if (ret)
			stop_threads(guard, false, true);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

static int by_serial(const void *a, const void *b)
{
	const struct slot *const *left = a, *const *right = b;

	return ((*left)->serial > (*right)->serial) - ((*left)->serial < (*right)->serial);
}

/* What a predecessor had read goes on from where it was, in the order in which it was read: what it was still looking at
 * is looked at again, what it had queued or given out is queued. */
static int resume(struct fanotify_guard *guard,
		  bool (*owed)(void *arg, uint32_t slot, uint64_t serial), void *arg)
{
	struct slot **used = calloc(guard->slots.used + 1, sizeof(struct slot *));
	uint32_t count = 0;

	if (!used)
		return ENOMEM;
	for (uint32_t i = 0; i < guard->slots.head->fresh; i++) {
		if (guard->slots.slot[i].state != SLOT_FREE)
			used[count++] = &guard->slots.slot[i];
	}
	qsort(used, count, sizeof(struct slot *), by_serial);
	for (uint32_t n = 0; n < count; n++) {
		struct slot *slot = used[n];
		uint32_t i = (uint32_t)(slot - guard->slots.slot);

		guard->held += slot->event.head.fd >= 0;
		if (slot->state == SLOT_TAKEN) {
			if (!slot->read_ns)
				slot->read_ns = fanotify_now_ns();
			slot_list_push(&guard->slots, &guard->put_off, i);
			guard->put_off_count++;
		} else if (slot->state == SLOT_QUEUED ||
			   (slot->state == SLOT_TOLD && !owed(arg, i, slot->serial))) {
			fanotify_queue(guard, i);
		}
	}
	free(used);
	return 0;
}

static int fanotify_start(struct guard *base,
			  bool (*owed)(void *arg, uint32_t slot, uint64_t serial), void *arg)
{
	struct fanotify_guard *guard = inside(base);
	int ret;

	guard->started_ns = fanotify_now_ns();
	pthread_mutex_lock(&guard->lock);
	ret = resume(guard, owed, arg);
	pthread_mutex_unlock(&guard->lock);
	if (ret == 0)
		ret = start_threads(guard);
	guard->started = ret == 0;
	return -ret;
}

static const struct guard_ops fanotify_ops = {
	.free = fanotify_free,
	.start = fanotify_start,
	.watch = fanotify_watch,
	.unwatch = fanotify_unwatch,
	.arm = fanotify_arm,
	.disarm = fanotify_disarm,
	.rearm = fanotify_rearm,
	.owes = fanotify_owes,
	.passed = fanotify_passed,
	.next = fanotify_next,
	.answer = fanotify_answer,
	.exempt = fanotify_exempt,
	.counts = guard_fanotify_counts,
};

size_t guard_fanotify_bytes(void)
{
	return slots_bytes(FANOTIFY_SLOTS) + sizeof(struct fanotify_passed_table);
}

int guard_fanotify_group(const struct guard *base)
{
	return ((const struct fanotify_guard *)base)->group;
}

int guard_fanotify_highest(const void *region, size_t bytes)
{
	return slots_highest(region, bytes);
}

int guard_fanotify_copy(void *region, const void *from, size_t bytes)
{
	const struct slots_head *old = from;
	const size_t slots = sizeof(*old) + old->capacity * old->stride;
	int ret = slots_copy(region, FANOTIFY_SLOTS, from, bytes);

	if (ret == 0 && old->stride && bytes - slots == sizeof(struct fanotify_passed_table))
		memcpy((char *)region + slots_bytes(FANOTIFY_SLOTS), (const char *)from + slots,
		       sizeof(struct fanotify_passed_table));
	return ret;
}

/* An event that a predecessor read: the kernel knows it by this number, and takes the first one with
 * a number for the one that is meant. So it must not come again before the answer. */
static int occupy(void *arg, struct slot *slot)
{
	const int placeholder = *(const int *)arg, number = slot->event.head.fd;

	if (fcntl(number, F_GETFD) >= 0)
		return -EBUSY;
	if (dup3(placeholder, number, O_CLOEXEC) < 0)
		return -errno;
	slot->taken_over = true;
	return 0;
}

/* What a predecessor was about to say. It may have been heard: then no such event is known (ENOENT). */
static void answer_again(struct fanotify_guard *guard)
{
	for (uint32_t i = 0; i < guard->slots.head->fresh; i++) {
		struct slot *slot = &guard->slots.slot[i];
		int ret;

		if (slot->state == SLOT_FREE || !slot->answer)
			continue;
		ret = fanotify_respond(guard, i, (uint32_t)slot->answer);
		if (ret == 0 || ret == -ENOENT)
			fanotify_finish(guard, i);
		else
			slot->answer = 0; /* it goes the way of all others again */
	}
}

static int take_over(struct fanotify_guard *guard, const struct guard_fanotify_params *params)
{
	/* above all of them, since it must be none of them */
	int low = open("/", O_PATH | O_CLOEXEC), placeholder, ret;

	if (low < 0)
		return -errno;
	placeholder = fcntl(low, F_DUPFD_CLOEXEC, guard_fanotify_highest(params->region, guard_fanotify_bytes()) + 1);
	ret = placeholder < 0 ? -errno : 0;
	close(low);
	if (ret < 0)
		return ret;
	ret = slots_take_over(&guard->slots, params->region, FANOTIFY_SLOTS, occupy, &placeholder);
	close(placeholder);
	/* Nobody has seen meanwhile how far those came whom the predecessor had let go on, or was about to. */
	guard->passed_last_ns = fanotify_now_ns();
	for (uint32_t i = 0; i < FANOTIFY_PASSED; i++)
		guard->passed->list[i].since_ns = guard->passed_last_ns;
	if (ret == 0)
		answer_again(guard);
	return ret;
}

static int make_group(struct fanotify_guard *guard, const struct guard_fanotify_params *params)
{
	guard->group = params->group;
	guard->passed = params->region ? (void *)((char *)params->region + slots_bytes(FANOTIFY_SLOTS))
				       : &guard->own_passed;
	if (guard->group >= 0)
		return take_over(guard, params);
	guard->group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
					     FAN_REPORT_TID | FAN_UNLIMITED_QUEUE |
					     FAN_UNLIMITED_MARKS,
				     O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	if (guard->group < 0)
		return -errno;
	return slots_open(&guard->slots, params->region, FANOTIFY_SLOTS);
}

/* Without stacks an io_uring write cannot be told from a read (thread.c). */
static int make(struct fanotify_guard *guard, const struct guard_fanotify_params *params)
{
	enum io_uring_ability io_uring = io_uring_ability();
	int ret;

	guard->io_uring_shares = io_uring == IO_URING_MAY_SHARE;
	ret = make_group(guard, params); /* first: of what it takes over the numbers are free now */
	if (ret < 0)
		return ret;
	if (io_uring != IO_URING_ABSENT && !thread_stacks_readable())
		return -EOPNOTSUPP;
	guard->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	guard->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (guard->base.event_fd < 0 || guard->wake_fd < 0)
		return -errno;
	/* This process's own threads: one that waited for its own reader would wait for ever. */
	return armed_add(&guard->exempt, 0, (uint64_t)getpid());
}

struct guard *guard_fanotify_new(const struct guard_fanotify_params *params)
{
	struct fanotify_guard *guard = calloc(1, sizeof(*guard));
	int ret;

	if (!guard)
		return NULL;
	guard->base.ops = &fanotify_ops;
	guard->base.label = DLP_LABEL_ENFORCED;
	guard->allow_all = params->allow_all;
	guard->page = (uint64_t)sysconf(_SC_PAGESIZE);
	guard->queue = guard->closing = guard->put_off = guard->allowed = SLOT_LIST_EMPTY;
	guard->slots.free = SLOT_NONE;
	guard->group = guard->wake_fd = guard->base.event_fd = -1;
	pthread_mutex_init(&guard->lock, NULL);
	pthread_cond_init(&guard->close_cond, NULL);
	ret = make(guard, params);
	if (ret < 0) {
		errno = -ret;
		release(guard);
		return NULL;
	}
	return &guard->base;
}

void guard_fanotify_counts(struct guard *base, struct guard_counts *counts)
{
	struct fanotify_guard *guard = inside(base);

	pthread_mutex_lock(&guard->lock);
	*counts = guard->counts;
	counts->held = guard->held;
	counts->paused = guard->paused;
	pthread_mutex_unlock(&guard->lock);
}
