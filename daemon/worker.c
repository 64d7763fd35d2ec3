/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's side of the workers: queue, processes, deadlines. Runs in the loop's thread only. */
#include "daemon/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/worker_jobs.h"

#define NS_PER_S UINT64_C(1000000000)

/* Workers kept without a job; a fork of the daemon costs more than two waiting processes do. */
#define KEEP_IDLE 2

#define FREE_WAIT_MS 100

struct job {
	TAILQ_ENTRY(job) entry; /* in the queue */
	struct workers *workers;
	struct worker *worker; /* NULL: waits in the queue */
	struct event *deadline;
	struct worker_order order;
	uint64_t id, key;
	int fd;		   /* ours, or -1; closed when the worker has it */
	worker_done *done; /* NULL: cancelled */
	void *arg;
};

enum worker_state {
	WORKER_IDLE,
	WORKER_BUSY,
	WORKER_DYING, /* killed or told to go, not dead yet; sock is closed */
};

struct worker {
	LIST_ENTRY(worker) entry;
	struct workers *workers;
	enum worker_state state;
	pid_t pid;
	int sock, pidfd;
	struct event *readable, *death;
	struct job *job; /* BUSY */
	/* Of the job, and of a stuck one until it is dead: what it still holds. */
	bool has_key, is_check;
	uint64_t key;
	uint32_t user;
};

struct workers {
	struct event_base *base;
	struct event *kick; /* made active when something may start: nothing starts in submit */
	unsigned max, count;
	void (*started)(void *arg, int32_t pid, bool on);
	void *started_arg;
	uint64_t last_id;
	unsigned jobs; /* waiting or running */
	TAILQ_HEAD(, job) queue;
	LIST_HEAD(, worker) list;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void kick(struct workers *ws)
{
	event_active(ws->kick, EV_TIMEOUT, 0);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void free_event(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

/*
 * --- jobs
 * --------------------------------------------------------------------------------------------
 */

/* Of a job that is in no queue and at no worker. */
static void job_free(struct job *job)
{
	if (!job)
		return;
	free_event(&job->deadline);
	close_fd(&job->fd);
	free(job);
}

/* Takes the job out of the queue or off its worker. */
static void job_detach(struct job *job)
{
	if (job->worker) {
		job->worker->job = NULL;
		job->worker = NULL;
	} else {
		TAILQ_REMOVE(&job->workers->queue, job, entry);
	}
	job->workers->jobs--;
}

/*
 * Ends a detached job. Last thing a caller does with the workers: done() may do anything but free
 * them.
 */
static void job_end(struct job *job, const struct worker_result *result)
{
	worker_done *done = job->done;
	void *arg = job->arg;

	job_free(job);
	if (done)
		done(arg, result);
	else if (result->memory_fd >= 0)
		close(result->memory_fd);
}

static void job_fail(struct job *job, int error)
{
	const struct worker_result result = { .error = error,
					      .failed = UINT64_MAX,
					      .mapped = true,
					      .memory_fd = -1,
					      .memory_error = error };

	job_end(job, &result);
}

/*
 * --- processes
 * ---------------------------------------------------------------------------------------
 */

static void worker_free(struct worker *w)
{
	LIST_REMOVE(w, entry);
	w->workers->count--;
	free_event(&w->readable);
	free_event(&w->death);
	close_fd(&w->sock);
	close_fd(&w->pidfd);
	free(w);
}

/* Of a dead process. */
static void worker_reap(struct worker *w)
{
	struct workers *ws = w->workers;

	/* Before the number is free: the guard must not exempt whoever gets it next. */
	if (ws->started)
		ws->started(ws->started_arg, w->pid, false);
	waitid(P_PIDFD, (id_t)w->pidfd, &(siginfo_t){ 0 }, WEXITED | WNOHANG);
	worker_free(w);
}

/*
 * No more jobs for it. `now`: also if it is in the middle of one. What it holds counts until it is
 * dead.
 */
static void worker_dismiss(struct worker *w, bool now)
{
	w->state = WORKER_DYING;
	free_event(&w->readable);
	close_fd(&w->sock);
	if (now)
		pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
}

/*
 * The answer of a busy worker, if it is there: true with *result. False: *error 0 for not yet, else
 * what broke.
 */
static bool worker_answer(struct worker *w, struct worker_result *result, int *error)
{
	int fd, rc = worker_recv(w->sock, result, sizeof(*result), &fd, MSG_DONTWAIT);

	*error = rc == -EAGAIN ? 0 : -EIO;
	if (rc < 0)
		return false;
	if (fd < 0 && result->memory_fd >= 0) /* we had no room for it */
		result->memory_error = -EMFILE;
	result->memory_fd = fd;
	result->path[sizeof(result->path) - 1] = '\0';
	return true;
}

static void worker_answered(struct worker *w, const struct worker_result *result)
{
	struct job *job = w->job;

	job_detach(job);
	if (job->order.job.kind == WORKER_FENCE)
		worker_dismiss(w, false); /* it ends by itself, and has no time for another */
	else
		w->state = WORKER_IDLE;
	w->has_key = w->is_check = false;
	kick(w->workers);
	job_end(job, result);
}

static void on_readable(evutil_socket_t sock, short what, void *arg)
{
	struct worker *w = arg;
	struct job *job = w->job;
	struct worker_result result;
	int error;

	(void)sock;
	(void)what;
	if (w->state == WORKER_BUSY && worker_answer(w, &result, &error)) {
		worker_answered(w, &result);
		return;
	}
	if (w->state == WORKER_BUSY && !error)
		return;
	/* Dead, or about to be; an idle one has nothing to say. */
	worker_dismiss(w, true);
	if (job) {
		job_detach(job);
		job_fail(job, -EIO);
	}
}

static void on_death(evutil_socket_t pidfd, short what, void *arg)
{
	struct worker *w = arg;
	struct workers *ws = w->workers;
	struct job *job = w->job;
	struct worker_result result;
	int error;

	(void)pidfd;
	(void)what;
	if (job) {
		bool answered = worker_answer(w, &result, &error);

		job_detach(job);
		worker_reap(w);
		kick(ws);
		if (answered)
			job_end(job, &result);
		else
			job_fail(job, -EIO);
		return;
	}
	worker_reap(w);
	kick(ws);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	struct worker *w = job->worker;
	struct worker_result result;
	int error;

	(void)fd;
	(void)what;
	if (w && worker_answer(w, &result, &error)) { /* in time, but the loop was not */
		worker_answered(w, &result);
		return;
	}
	job_detach(job);
	if (w)
		worker_dismiss(w, true);
	job_fail(job, -ETIMEDOUT);
}

/* NULL and errno. */
static struct worker *worker_start(struct workers *ws)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return NULL;
	rc = worker_spawn(&w->pid, &w->pidfd, &w->sock);
	if (rc < 0) {
		free(w);
		errno = -rc;
		return NULL;
	}
	w->workers = ws;
	LIST_INSERT_HEAD(&ws->list, w, entry);
	ws->count++;
	w->readable = event_new(ws->base, w->sock, EV_READ | EV_PERSIST, on_readable, w);
	w->death = event_new(ws->base, w->pidfd, EV_READ, on_death, w);
	if (!w->readable || !w->death || event_add(w->readable, NULL) < 0 ||
	    event_add(w->death, NULL) < 0) {
		worker_discard(w->pid);
		worker_free(w);
		errno = ENOMEM;
		return NULL;
	}
	if (ws->started)
		ws->started(ws->started_arg, w->pid, true);
	return w;
}

/* Hands the job over. 0 or -errno: the worker is of no use. */
static int worker_give(struct worker *w, struct job *job)
{
	int rc = worker_send(w->sock, &job->order, sizeof(job->order), job->fd, MSG_DONTWAIT);

	if (!rc)
		close_fd(&job->fd);
	return rc;
}

/*
 * --- what may start
 * ----------------------------------------------------------------------------------
 */

/* How many workers may look at files: the rest is for the jobs that verdicts wait for. */
static unsigned check_share(const struct workers *ws)
{
	unsigned reserve = ws->max >= 8 ? ws->max / 4 : 1;

	return ws->max > reserve ? ws->max - reserve : ws->max;
}

/* Of these, how many at one user's files. */
static unsigned user_share(const struct workers *ws)
{
	unsigned half = check_share(ws) / 2;

	return half ? half : 1;
}

static bool is_check(const struct worker_job *job)
{
	return job->kind == WORKER_CHECK;
}

static bool may_start(const struct workers *ws, const struct job *job)
{
	bool check = is_check(&job->order.job);
	unsigned checks = 0, users = 0;
	const struct worker *w;

	LIST_FOREACH (w, &ws->list, entry) {
		if (w->has_key && w->key == job->key && w->is_check == check)
			return false;
		if (w->is_check) {
			checks++;
			users += w->user == job->order.job.user;
		}
	}
	if (!check)
		return true;
	return checks < check_share(ws) && (!job->order.job.user || users < user_share(ws));
}

/* One that waits for a job, or a new one. NULL: none to be had; *error: 0 for not now, else why. */
static struct worker *any_worker(struct workers *ws, int *error)
{
	struct worker *w;

	*error = 0;
	LIST_FOREACH (w, &ws->list, entry) {
		if (w->state == WORKER_IDLE)
			return w;
	}
	if (ws->count >= ws->max)
		return NULL;
	w = worker_start(ws);
	if (!w && !ws->count) /* else one of the others will be free some day */
		*error = -errno;
	return w;
}

/* Starts the first job that may; false: there is none. */
static bool start_one(struct workers *ws)
{
	struct worker *w;
	struct job *job;
	int error;

	TAILQ_FOREACH (job, &ws->queue, entry) {
		if (may_start(ws, job))
			break;
	}
	if (!job)
		return false;
	while ((w = any_worker(ws, &error))) {
		error = worker_give(w, job);
		/*
		 * EPIPE: it died while it waited, and the next one may do better. Everything else
		 * is ours (descriptors in flight, ETOOMANYREFS).
		 */
		if (error != -EPIPE && error != -ECONNRESET)
			break;
		worker_dismiss(w, true);
	}
	if (!w && !error)
		return false;
	if (error) {
		job_detach(job);
		job_fail(job, error);
		return true;
	}
	TAILQ_REMOVE(&ws->queue, job, entry);
	job->worker = w;
	w->job = job;
	w->state = WORKER_BUSY;
	w->has_key = true;
	w->key = job->key;
	w->is_check = is_check(&job->order.job);
	w->user = job->order.job.user;
	return true;
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct workers *ws = arg;
	struct worker *w;
	unsigned idle = 0;

	(void)fd;
	(void)what;
	while (start_one(ws))
		;
	LIST_FOREACH (w, &ws->list, entry) {
		if (w->state == WORKER_IDLE && ++idle > KEEP_IDLE)
			worker_dismiss(w, false);
	}
}

/*
 * --- the interface
 * -----------------------------------------------------------------------------------
 */

struct workers *workers_new(struct event_base *base, unsigned max,
			    void (*started)(void *arg, int32_t pid, bool on), void *started_arg)
{
	struct workers *ws;

	if (!max) {
		errno = EINVAL;
		return NULL;
	}
	ws = calloc(1, sizeof(*ws));
	if (!ws)
		return NULL;
	*ws = (struct workers){
		.base = base, .max = max, .started = started, .started_arg = started_arg
	};
	TAILQ_INIT(&ws->queue);
	LIST_INIT(&ws->list);
	ws->kick = event_new(base, -1, 0, on_kick, ws);
	if (!ws->kick) {
		free(ws);
		errno = ENOMEM;
		return NULL;
	}
	return ws;
}

void workers_free(struct workers *ws)
{
	uint64_t until = now_ns() + FREE_WAIT_MS * UINT64_C(1000000);
	struct worker *w, *next;
	struct job *job;

	if (!ws)
		return;
	free_event(&ws->kick);
	while ((job = TAILQ_FIRST(&ws->queue))) {
		job_detach(job);
		job_free(job);
	}
	LIST_FOREACH (w, &ws->list, entry) {
		job = w->job;
		if (job)
			job_detach(job);
		job_free(job);
		worker_dismiss(w, true);
	}
	for (w = LIST_FIRST(&ws->list); w; w = next) {
		uint64_t now = now_ns();
		struct pollfd poll_fd = { .fd = w->pidfd, .events = POLLIN };

		next = LIST_NEXT(w, entry);
		poll(&poll_fd, 1, now < until ? (int)((until - now) / 1000000) + 1 : 0);
		worker_reap(w); /* one that is stuck goes to init, killed, when we end */
	}
	free(ws);
}

static void count(const struct job *other, const struct worker_job *job, uint64_t key,
		  unsigned *keys, unsigned *users)
{
	*keys += other->key == key && is_check(&other->order.job) == is_check(job);
	*users += other->order.job.user == job->user;
}

static bool has_room(const struct workers *ws, const struct worker_job *job, uint64_t key)
{
	unsigned keys = 0, users = 0;
	const struct worker *w;
	const struct job *other;

	if (ws->jobs >= WORKER_MAX_QUEUE)
		return false;
	TAILQ_FOREACH (other, &ws->queue, entry)
		count(other, job, key, &keys, &users);
	LIST_FOREACH (w, &ws->list, entry) {
		if (w->job)
			count(w->job, job, key, &keys, &users);
	}
	return keys < WORKER_MAX_KEY && (!job->user || users < WORKER_MAX_USER);
}

int workers_submit(struct workers *ws, const struct worker_job *job_asked, int fd, uint64_t key,
		   uint64_t limit_ns, worker_done *done, void *arg, uint64_t *id)
{
	struct job *job;
	struct timeval limit;

	if (job_asked->items > WORKER_MAX_ITEMS)
		return -EINVAL;
	if (!has_room(ws, job_asked, key))
		return -EAGAIN;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct job){ .workers = ws, .key = key, .fd = -1, .done = done, .arg = arg };
	job->order.job = *job_asked;
	if (__builtin_add_overflow(now_ns(), limit_ns, &job->order.limit_ns))
		job->order.limit_ns = UINT64_MAX;
	limit.tv_sec = (time_t)(limit_ns / NS_PER_S);
	limit.tv_usec = (suseconds_t)(limit_ns % NS_PER_S / 1000);
	if (fd >= 0) {
		job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (job->fd < 0) {
			int error = errno;

			job_free(job);
			return -error;
		}
	}
	job->deadline = evtimer_new(ws->base, on_deadline, job);
	if (!job->deadline || evtimer_add(job->deadline, &limit) < 0) {
		job_free(job);
		return -ENOMEM;
	}
	*id = job->id = ++ws->last_id;
	TAILQ_INSERT_TAIL(&ws->queue, job, entry);
	ws->jobs++;
	kick(ws);
	return 0;
}

void workers_cancel(struct workers *ws, uint64_t id)
{
	struct worker *w;
	struct job *job;

	TAILQ_FOREACH (job, &ws->queue, entry) {
		if (job->id == id) {
			job_detach(job);
			job_free(job);
			return;
		}
	}
	LIST_FOREACH (w, &ws->list, entry) {
		if (w->job && w->job->id == id)
			w->job->done = NULL;
	}
}
