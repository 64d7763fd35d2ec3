/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread that reads the group. It answers at once what is harmless (C11) or on an inode that is
 * not leased, so that files outside leases never wait for the loop; everything else it queues. It
 * waits for nobody: it reads /proc, fstat of an event's descriptor, and takes the guard's lock.
 *
 * That a thread raises an event proves that whatever it did before has finished. Attempts and
 * notices carry the tid for that; of events answered here nothing is told, so after them the caller
 * has to find out by guard_op_finished(), which sees another call.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/fanotify.h"
#include "daemon/guard/proc.h"
#include "daemon/guard/thread.h"

#define ROOM_OLD_NS (1000u * 1000 * 1000) /* others open descriptors, too */

uint64_t fanotify_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- room
 * -------------------------------------------------------------------------------------------- */

/* At the limit of descriptors read(2) of an event fails, and the kernel refuses the breaker
 * (EPERM). So half of the descriptors are for events at most, and some always stay free for the
 * rest of the process: */
static bool descriptors_left(const struct fanotify_guard *guard, uint32_t held)
{
	struct rlimit limit;
	rlim_t spare;
	int lowest;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	/* files of /proc that stay open, only where they are few among all */
	if (limit.rlim_cur / 64 < PROC_KEPT)
		proc_keep_no_more();
	else
		proc_keep();
	if (held + 2 > limit.rlim_cur / 2)
		return false;
	spare = limit.rlim_cur / 8;
	spare = spare > 1024 ? 1024 : spare;
	/* the kernel hands out the lowest free number, so this says how many are taken at least */
	lowest = fcntl(guard->group, F_DUPFD_CLOEXEC, 0);
	if (lowest < 0)
		return false;
	close(lowest);
	return (rlim_t)lowest + 2 + spare < limit.rlim_cur;
}

/* Sets `paused` under the lock, so that who makes room afterwards wakes us. */
static bool look_for_room(struct fanotify_guard *guard, bool *stop)
{
	uint32_t held;
	bool room;

	pthread_mutex_lock(&guard->lock);
	*stop = guard->stop;
	held = guard->held;
	room = slots_left(&guard->slots) > FANOTIFY_SLOTS_SPARE;
	guard->paused = true;
	pthread_mutex_unlock(&guard->lock);
	room = room && descriptors_left(guard, held);
	if (room) {
		pthread_mutex_lock(&guard->lock);
		guard->paused = false;
		pthread_mutex_unlock(&guard->lock);
	}
	return room;
}

/* --- one event
 * --------------------------------------------------------------------------------------- */

static void find_range(const struct guard_event *event, struct decode_in *in)
{
	const struct guard_event_range *range = &event->range;

	in->range_known = event->head.event_len >= event->head.metadata_len + sizeof(*range) &&
			  event->head.metadata_len == sizeof(event->head) &&
			  range->header.info_type == FAN_EVENT_INFO_TYPE_RANGE &&
			  range->header.len >= sizeof(*range);
	in->offset = in->range_known ? range->offset : 0;
	in->count = in->range_known ? range->count : 0;
}

/* What the event itself says; what the thread shows (line) is the caller's to add. */
static struct decode_in decode_begin(const struct fanotify_guard *guard, const struct slot *slot)
{
	struct decode_in in = {
		.event = slot->event.head.mask & FAN_OPEN_PERM ? DECODE_OPEN_PERM
							       : DECODE_PRE_ACCESS,
		.context = DECODE_CONTEXT_CALL,
		.append = DECODE_APPEND_UNKNOWN,
		.size_known = slot->dev != 0,
		.size = slot->size,
		.page = guard->page,
		.io_uring_shares = guard->io_uring_shares,
	};

	find_range(&slot->event, &in);
	return in;
}

static void fill_attempt(struct guard_attempt *attempt, const struct slot *slot,
			 const struct syscall_line *line, const struct decode_out *out)
{
	const int32_t tid = slot->event.head.pid;

	*attempt = (struct guard_attempt){
		.dev = slot->dev,
		.ino = slot->ino,
		.start = out->start,
		.end = out->end,
		.slot = SLOT_NONE,
		.tid = tid,
		.tgid = 0,
		.uid = UINT32_MAX,
		.cause = out->cause,
		.syscall = line->known && !line->kernel ? line->number : -1,
		.syscall_hash = line->hash,
		.opaque = out->opaque,
		.maps = out->maps,
		.two_file = out->two_file,
	};
	if (thread_identity(tid, &attempt->tgid, &attempt->uid) < 0)
		attempt->opaque =
			true; /* killed, or of a pid namespace we do not see: nobody's own */
	thread_comm(tid, attempt->comm);
}

static bool is_exempt(struct fanotify_guard *guard, int32_t pid)
{
	bool exempt;

	pthread_mutex_lock(&guard->lock);
	exempt = pid > 0 && armed_has(&guard->exempt, 0, (uint64_t)pid);
	pthread_mutex_unlock(&guard->lock);
	return exempt;
}

/* With the lock held. */
static void answer_and_finish(struct fanotify_guard *guard, uint32_t index, uint32_t response)
{
	if (fanotify_respond(guard, index, response) < 0)
		guard->counts.errors++;
	fanotify_finish(guard, index);
}

/* With the lock held, of an inode that is not armed: no more events of it. */
static void silence(struct fanotify_guard *guard, const struct slot *slot)
{
	const int fd = slot->event.head.fd;

	if (slot->taken_over) /* it is another file's; the next event will do */
		return;
	if (fanotify_mark(guard->group, FAN_MARK_ADD | FANOTIFY_IGNORE, FAN_PRE_ACCESS, fd, NULL) ==
	    0) {
		guard->counts.silenced++;
		return;
	}
	/* EEXIST: it has the mark of an armed one, left by unwatch(). Without it the next event
	 * silences it. */
	if (errno == EEXIST)
		fanotify_mark(guard->group, FAN_MARK_REMOVE, FAN_PRE_ACCESS | FAN_OPEN_PERM, fd,
			      NULL);
	else
		guard->counts.errors++; /* no memory: it will be heard of again */
}

/* It goes on when it is next on a processor, which can be after the inode is armed and looked at:
 * guard_ops.passed(). */
static void remember_passed(struct fanotify_guard *guard, const struct slot *slot, uint64_t hash)
{
	struct fanotify_passed *one = &guard->passed->list[guard->passed->next++ % FANOTIFY_PASSED];

	guard->passed_last_ns = fanotify_now_ns();
	one->thread.tid = 0;
	atomic_signal_fence(memory_order_seq_cst);
	one->dev = slot->dev;
	one->ino = slot->ino;
	one->since_ns = guard->passed_last_ns; /* not of the read, which can be seconds before */
	one->thread.syscall_hash = hash;
	atomic_signal_fence(memory_order_seq_cst);
	one->thread.tid = slot->event.head.pid;
}

/* Whatever the thread did before is over, unless this can be the second event of one call. */
static void forget_passed(struct fanotify_guard *guard, int32_t tid, const struct decode_out *out)
{
	if (!out->harmless && (out->opaque || out->two_file || out->cause == DLP_CAUSE_COPY))
		return;
	/* only this thread adds to them; older ones are not asked for any more */
	if (fanotify_now_ns() - guard->passed_last_ns > FANOTIFY_PASSED_NS)
		return;
	pthread_mutex_lock(&guard->lock);
	for (uint32_t i = 0; i < FANOTIFY_PASSED; i++) {
		if (guard->passed->list[i].thread.tid == tid)
			guard->passed->list[i].thread.tid = 0;
	}
	pthread_mutex_unlock(&guard->lock);
}

/*
 * An event of an inode that is not armed goes on. Looking, silencing, telling of it and letting go
 * are one hold of the lock (see fanotify_arm()). A possible two-file operation is told first and
 * let go then: whoever asks after the thread went on finds the notice.
 *
 * True: done. False: the inode is armed.
 */
static bool pass_unarmed(struct fanotify_guard *guard, uint32_t index, uint64_t syscall_hash,
			 const struct guard_attempt *notice)
{
	struct slot *slot = &guard->slots.slot[index];
	bool armed;

	pthread_mutex_lock(&guard->lock);
	armed = armed_has(&guard->armed, slot->dev, slot->ino);
	if (!armed || guard->allow_all) {
		if (!armed && slot->event.head.mask & FAN_PRE_ACCESS)
			silence(guard, slot);
		if (!guard->allow_all)
			remember_passed(guard, slot, syscall_hash);
		if (notice && !guard->allow_all) {
			uint32_t second = slots_take(
				&guard->slots); /* there is one: look_for_room() */

			if (second != SLOT_NONE) {
				struct guard_attempt *told = &guard->slots.slot[second].attempt;

				*told = *notice;
				told->answered = true;
				told->slot = second;
				told->serial = guard->slots.slot[second].serial;
				fanotify_queue(guard, second);
			} else {
				guard->counts.errors++;
			}
		}
		answer_and_finish(guard, index, FAN_ALLOW);
	}
	pthread_mutex_unlock(&guard->lock);
	return !armed || guard->allow_all;
}

static bool peek_armed(struct fanotify_guard *guard, const struct slot *slot)
{
	bool armed;

	pthread_mutex_lock(&guard->lock);
	armed = armed_has(&guard->armed, slot->dev, slot->ino);
	pthread_mutex_unlock(&guard->lock);
	return armed;
}

/*
 * A thread that was put off its processor on the way to sleep says "running" for as long as the
 * scheduler likes. Undecoded, it would break every lease of its file; so others are served first,
 * and it is looked at again, for so long.
 */
static bool put_off(struct fanotify_guard *guard, uint32_t index, uint64_t limit_ns)
{
	const struct slot *slot = &guard->slots.slot[index];
	const uint64_t now_ns = fanotify_now_ns();
	/* At one that was taken over nobody has looked meanwhile. But it does not wait for good because one daemon after
	 * another dies. */
	const bool again = slot->taken_over && now_ns - slot->read_ns < FANOTIFY_PUT_OFF_LONGEST_NS;

	if (guard->put_off_count >= FANOTIFY_PUT_OFF ||
	    now_ns - (again ? guard->started_ns : slot->read_ns) >= limit_ns)
		return false;
	slot_list_push(&guard->slots, &guard->put_off, index);
	guard->put_off_count++;
	return true;
}

/* A killed reader shows no call any more, and would be taken for a breaker. It does nothing more whatever
 * the answer; denied, it could not if it did. */
static bool refuse_dying(struct fanotify_guard *guard, uint32_t index)
{
	if (!thread_dying(guard->slots.slot[index].event.head.pid))
		return false;
	pthread_mutex_lock(&guard->lock);
	guard->counts.dead++;
	answer_and_finish(guard, index, FAN_DENY);
	pthread_mutex_unlock(&guard->lock);
	return true;
}

static void stop_or_pass(struct fanotify_guard *guard, uint32_t index)
{
	struct slot *slot = &guard->slots.slot[index];
	const int32_t tid = slot->event.head.pid;
	struct syscall_line line;
	struct decode_out out;
	struct decode_in in = decode_begin(guard, slot);
	struct guard_attempt attempt;
	int error;

	in.line = &line;
	/* failed otherwise: the line is not known, and the operation opaque */
	error = thread_syscall_soon(tid, &line);
	if (error < 0 && refuse_dying(guard, index))
		return;
	if (error == -EAGAIN && put_off(guard, index, FANOTIFY_RUNNING_NS))
		return;

	if (!peek_armed(guard, slot)) {
		/* What matters is only whether it shares extents. Two kinds of operation do not
		 * belong to the number shown: io_uring's, which does not share (or is asked about),
		 * and a kernel thread's. */
		bool two_file;

		if (line.kernel && thread_kind(tid) == THREAD_IO_WORKER)
			in.context = DECODE_CONTEXT_IO_WORKER;
		else if (guard->io_uring_shares)
			in.context = thread_context(tid);
		decode(&in, &out);
		forget_passed(guard, tid, &out);
		two_file = out.two_file && !is_exempt(guard, tid);
		if (two_file) {
			fill_attempt(&attempt, slot, &line, &out);
			two_file = !is_exempt(guard, attempt.tgid);
		}
		if (pass_unarmed(guard, index, line.hash, two_file ? &attempt : NULL))
			return;
	}

	in.context = thread_context(tid);
	if (in.context == DECODE_CONTEXT_CALL && decode_wants_append(&line))
		in.append = thread_append(tid, line.arg[0], slot->ino);
	decode(&in, &out);
	forget_passed(guard, tid, &out);
	/* Between the kill and its death a thread is not recognisable for an instant, or for as long
	 * as it is off its processor: what would break everything is looked at again, too. */
	if (out.opaque &&
	    (refuse_dying(guard, index) || put_off(guard, index, FANOTIFY_PUT_OFF_NS)))
		return;
	if (!out.harmless && !is_exempt(guard, tid)) {
		fill_attempt(&attempt, slot, &line, &out);
		attempt.slot = index;
		attempt.serial = slot->serial;
		out.harmless = is_exempt(guard, attempt.tgid);
	} else {
		out.harmless = true;
	}
	pthread_mutex_lock(&guard->lock);
	if (out.harmless) {
		guard->counts.harmless++;
		slot_list_push(&guard->slots, &guard->allowed, index);
	} else {
		slot->attempt = attempt;
		fanotify_queue(guard, index);
	}
	pthread_mutex_unlock(&guard->lock);
}

/* Which file it is: kept with the event, since a successor cannot ask its descriptor any more. */
static bool identify(struct slot *slot)
{
	struct stat st;

	if (slot->dev)
		return true;
	if (slot->taken_over || fstat(slot->event.head.fd, &st) < 0)
		return false;
	slot->size = (uint64_t)st.st_size;
	slot->ino = st.st_ino;
	atomic_signal_fence(memory_order_seq_cst);
	slot->dev = st.st_dev;
	return true;
}

/* Taken over from a process that died right behind its read: nothing says which file it was. What
 * changes none goes on. */
static bool is_harmless(const struct fanotify_guard *guard, const struct slot *slot, bool *running)
{
	const int32_t tid = slot->event.head.pid;
	struct syscall_line line;
	struct decode_out out;
	struct decode_in in = decode_begin(guard, slot);

	in.line = &line;
	in.context = thread_context(tid);
	*running = thread_syscall_soon(tid, &line) == -EAGAIN;
	decode(&in, &out);
	return out.harmless;
}

/* fstat fails: only a shut down file system says so (xfs: EIO), and would say it to the thread, too. */
static void answer_unknown(struct fanotify_guard *guard, uint32_t index)
{
	const struct slot *slot = &guard->slots.slot[index];
	uint32_t response = GUARD_DENY(EIO);

	if (slot->taken_over) {
		bool running;
		const bool harmless = is_harmless(guard, slot, &running);

		if (!harmless &&
		    (refuse_dying(guard, index) ||
		     put_off(guard, index, running ? FANOTIFY_RUNNING_NS : FANOTIFY_PUT_OFF_NS)))
			return;
		response = harmless ? FAN_ALLOW : GUARD_DENY(EBUSY);
	}
	pthread_mutex_lock(&guard->lock);
	guard->counts.errors += response != FAN_ALLOW;
	answer_and_finish(guard, index, response);
	pthread_mutex_unlock(&guard->lock);
}

static void look_at(struct fanotify_guard *guard, uint32_t index)
{
	if (!identify(&guard->slots.slot[index]))
		answer_unknown(guard, index);
	else if (guard->allow_all)
		pass_unarmed(guard, index, 0, NULL);
	else
		stop_or_pass(guard, index);
}

/* Those that turned out to be harmless go on: all of them together, since the kernel wakes everybody who waits for an
 * answer with each, and who is looked at right behind it is not asleep. */
static void answer_allowed(struct fanotify_guard *guard)
{
	uint32_t index;

	pthread_mutex_lock(&guard->lock);
	while ((index = slot_list_pop(&guard->slots, &guard->allowed)) != SLOT_NONE)
		answer_and_finish(guard, index, FAN_ALLOW);
	pthread_mutex_unlock(&guard->lock);
}

static void handle_event(struct fanotify_guard *guard, uint32_t index)
{
	const struct fanotify_event_metadata *head = &guard->slots.slot[index].event.head;

	if (head->fd < 0) {
		/* An overflow; or an event whose file the kernel could not open for us, whose
		 * thread it has refused itself (EPERM). There is nothing to answer. */
		pthread_mutex_lock(&guard->lock);
		guard->counts.events++;
		if (head->mask & FAN_Q_OVERFLOW)
			guard->counts.overflows++;
		else
			guard->counts.unopened++;
		slots_put(&guard->slots, index);
		pthread_mutex_unlock(&guard->lock);
		return;
	}
	pthread_mutex_lock(&guard->lock);
	guard->held++;
	guard->counts.events++;
	pthread_mutex_unlock(&guard->lock);
	guard->slots.slot[index].read_ns = fanotify_now_ns();
	look_at(guard, index);
	answer_allowed(guard);
}

/* Looks once at each that was put off before. */
static void look_again(struct fanotify_guard *guard)
{
	for (uint32_t n = guard->put_off_count; n > 0; n--) {
		uint32_t index = slot_list_pop(&guard->slots, &guard->put_off);

		guard->put_off_count--;
		look_at(guard, index);
	}
	answer_allowed(guard);
}

/* --- the loop
 * ---------------------------------------------------------------------------------------- */

/* A read of 48 bytes gives one event with a range, or one or two of 24 bytes. Moves a second one
 * into a record of its own. Before: its number is found in the first; after: in both, for a moment;
 * then only in its own. */
static uint32_t split_second(struct fanotify_guard *guard, struct slot *slot, size_t length)
{
	const size_t first = slot->event.head.event_len;
	uint32_t second;

	if (first < sizeof(slot->event.head) || first > length ||
	    length - first < sizeof(struct fanotify_event_metadata))
		return SLOT_NONE;
	pthread_mutex_lock(&guard->lock);
	second = slots_take(&guard->slots);
	pthread_mutex_unlock(&guard->lock);
	if (second == SLOT_NONE) /* cannot be: look_for_room() */
		return second;
	memcpy(&guard->slots.slot[second].event, (const char *)&slot->event + first,
	       length - first);
	memset((char *)&slot->event + first, 0, sizeof(slot->event) - first);
	return second;
}

static void read_error(struct fanotify_guard *guard, int error)
{
	pthread_mutex_lock(&guard->lock);
	if (error == EMFILE || error == ENFILE)
		guard->counts.unopened++; /* the breaker got EPERM */
	else
		guard->counts.errors++;
	pthread_mutex_unlock(&guard->lock);
}

static void drain_wake(const struct fanotify_guard *guard)
{
	eventfd_t value;

	eventfd_read(guard->wake_fd, &value);
}

/* Is it an event that ends the sleep, and the look for room before it not old yet? */
static bool sleep_until_event(const struct fanotify_guard *guard, struct pollfd fds[2])
{
	const uint64_t since_ns = fanotify_now_ns();

	poll(fds, 2, guard->put_off_count ? 1 : -1);
	if (fds[0].revents)
		drain_wake(guard);
	return !fds[0].revents && (fds[1].revents & POLLIN) && fanotify_now_ns() - since_ns < ROOM_OLD_NS;
}

void *fanotify_reader(void *arg)
{
	struct fanotify_guard *guard = arg;
	uint32_t index = SLOT_NONE;
	bool stop = false, room = false, woken = false;

	for (;;) {
		struct pollfd fds[2] = {{.fd = guard->wake_fd, .events = POLLIN},
					{.fd = guard->group, .events = POLLIN}};
		struct slot *slot;
		uint32_t second;
		ssize_t length;

		/* For the event that has just woken us the room was looked for before we slept: who waits for
		 * us does not wait for that, too. */
		if (!woken)
			room = look_for_room(guard, &stop);
		woken = false;
		if (stop)
			break;
		look_again(guard);
		if (!room) {
			/* Unread breakers wait in the kernel. Slots given back wake us; descriptors
			 * that others of this process close do not, so look again after a while. */
			poll(fds, 1, guard->put_off_count ? 1 : 50);
			drain_wake(guard);
			continue;
		}
		pthread_mutex_lock(&guard->lock);
		if (index == SLOT_NONE)
			index = slots_take(&guard->slots);
		pthread_mutex_unlock(&guard->lock);
		slot = &guard->slots.slot[index];

		length = read(guard->group, &slot->event, sizeof(slot->event));
		if (length < 0 && errno == EAGAIN) {
			woken = sleep_until_event(guard, fds);
			continue;
		}
		if (length < (ssize_t)sizeof(slot->event.head)) {
			read_error(guard, length < 0 ? errno : EIO);
			slot->event.head.fd = -1;
			poll(fds, 1, 1); /* never a busy loop */
			continue;
		}
		second = split_second(guard, slot, (size_t)length);
		handle_event(guard, index);
		index = SLOT_NONE;
		if (second != SLOT_NONE)
			handle_event(guard, second);
	}
	proc_keep_no_more();
	return NULL;
}
