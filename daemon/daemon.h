/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thin shell around the core: one loop (libevent), in one thread. Each file has one part of it:
 *
 *   main.c      options, signals, the order in which things start and end
 *   saved.c     what outlives the daemon, and when it is committed
 *   store.c     descriptors that outlive it
 *   pools.c     which pools are mounted, which file belongs to which
 *   files.c     what the daemon keeps of each leased file
 *   leased.c    kernel leases: the descriptions that have them, and taking them again
 *   sessions.c  connections: accept, sending, their end
 *   receive.c   what clients say: HELLO, calls, answers
 *   returned.c  sessions of a daemon that died, taken back
 *   holders.c   the end of a holder: hang-up, death
 *   fence.c     taking from a holder what it does not give up in time; hook.c the command that runs before
 *   grants.c    way 1 of design.md: from DLP_GRANT to its reply, and the second look
 *   breaks.c    way 2: attempts from the guard into the core, effects of the core out into the world
 *   answers.c   verdicts to the guard, until it takes them
 *   modified.c  a look at leased files of which inotify says that they have changed
 *   mrs.c       which MRs depend on a session's leases
 *   users.c     what one user's programs may take of what all share
 *   admin.c     requests of administrators and viewers
 *   closures.c  pools and files that an administrator has closed for new leases
 *   reports.c   what happened: counted, and told to administrators who watch
 *
 * The loop never waits: not for a client, a file system or a name service (worker.h has what can block).
 * Every function here is called from the loop's thread.
 */
#ifndef DAXLEASE_DAEMON_H
#define DAXLEASE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <event2/event.h>
#include <uthash.h>

#include "daemon/config.h"
#include "daemon/core/core.h"
#include "daemon/guard/guard.h"
#include "daemon/saved.h"
#include "daemon/worker.h"
#include "proto/proto.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

struct session;
struct file;
struct op_note;
TAILQ_HEAD(op_list, op_note);
struct owed;
TAILQ_HEAD(owed_list, owed);
TAILQ_HEAD(file_list, file);
LIST_HEAD(watcher_list, session);
LIST_HEAD(session_list, session);
struct grant;
struct user;
struct fence;
struct hook;

enum user_good {
	USER_SESSIONS,
	USER_DESCRIPTORS,
	USER_MR_PARTS,
	USER_LEASE_STEPS, /* grants and releases: users.c */
	USER_WAITING,	  /* threads that the guard has stopped: breaks.c */
	USER_GOODS
};

struct pool {
	const struct config_pool *config;
	enum dlp_pool_state state;
	enum dlp_label label;
	uint64_t dev;	/* of its files; of a device-dax pool the device itself: see pool_files_dev() */
	struct {
		uint64_t dev, ino, size, alignment;
	} node;	      /* of a device-dax pool: what fstat shows of the node at its path; bytes */
	bool watched; /* by the guard */
	uint64_t leases, counted_ns; /* admin.c: how many, and when that was counted */
	uint64_t ready_ns;	     /* since when it is, 0: it is not */
	uint64_t waiting, longest_wait_ns, waiting_ns; /* reports.c: breakers, and when that was counted */
	unsigned counted;	     /* its place in daemon.counters; 0: not looked for yet */
	char fstype[DLP_NAME_SIZE];
	char reason[256]; /* why absent or refused */
};

#define COUNTERS_POOLS 64
#define CLOSURES_MAX 256

/* A pool, or a file by its number, on which no lease is granted. */
struct closure {
	const struct pool *pool; /* NULL: a file */
	uint64_t dev, ino;
	uint32_t session; /* until this one ends; 0: until it is opened again */
};

/* What was counted since the first daemon that kept it: plain numbers. */
struct counters {
	struct dlp_daemon_counters daemon;
	struct {
		char name[DLP_NAME_SIZE]; /* "": free */
		struct dlp_pool_counters counters;
	} pools[COUNTERS_POOLS]; /* the first: what belongs to no pool, or found no place */
};

/* The first message on a channel after a restart may be the one that the daemon before has died on: see trial_begin(). */
struct trial {
	bool first;
	bool newcomer;	  /* there is no record of its session: daemon.newcomers counts */
	bool on;	  /* it is being handled */
	uint16_t crashes; /* of daemons that were handling it after a restart */
};

struct daemon {
	struct config config;
	struct event_base *base;
	struct core *core;
	struct store *store;
	struct saved *saved;
	bool handed;	   /* a predecessor has left a journal or a group: they stay in the store if we fail */
	bool returned;	   /* a predecessor's state was taken over */
	bool guard_lost;   /* but its group was not there */
	uint32_t restarts; /* how often, since the first one */
	struct event *store_event;
	struct guard *guard; /* NULL: this kernel has none that enforces */
	struct guard *leases; /* the kernel's (guard/kernel_lease.h); NULL: no pool wants them */
	struct workers *workers;

	struct pool *pools;
	unsigned pools_count;
	int mountinfo_fd; /* open /proc/self/mountinfo */
	int mounts_epoll; /* readable when the mounts have changed */
	struct event *mounts_event, *devices_timer;

	struct session *sessions; /* hash by id */
	uint32_t next_session;
	struct trial newcomers; /* of connections that have no record yet */
	struct user *users;		       /* hash by uid */
	uint32_t limits[USER_GOODS];	       /* for all together */
	uint32_t taken[USER_GOODS];	       /* by all together */
	int listen_fd;
	uint64_t socket_ino; /* of our socket's name: what another one has put there is not ours to remove */
	struct event *listen_event;
	struct event *accept_retry; /* after EMFILE */
	struct session_list resting;
	struct event *rest_timer;

	struct file *files; /* hash by (dev, ino) */
	struct grant *grants; /* under way: until the reply, then until the second look */

	struct op_note *notes; /* hash by cookie */
	struct op_list passed; /* let through, not known to have finished; longest not looked at first */
	uint64_t next_cookie;
	struct event *guard_event;
	struct event *leases_event, *retake_timer;
	uint64_t leases_seen, retake_ns; /* leased.c */
	struct event *core_timer;
	struct event *hold_off_timer;
	struct owed_list owed; /* verdicts that the guard did not take */
	struct event *owed_timer;

	int modified_fd; /* inotify; valid if there is modified_event */
	struct event *modified_event, *modified_timer;
	struct file *watched;	  /* hash by watch */
	struct file_list changed; /* to be looked at */
	uint64_t hold_off_ns; /* until the next look; grows while nothing changes */
	bool draining;	      /* no grants any more; ends when the last lease has */
	bool restart;	      /* the loop ends so that a successor takes over */
	bool settling;	      /* a worker job is under way */
	struct event *drain_timer;
	bool running_effects; /* run_effects() is on the stack */
	LIST_HEAD(, hook) hooks;
	unsigned hooks_count;
	bool no_replace; /* for tests: mappings are said to be replaced, and are not */

	unsigned complaints; /* warnings about clients since then */
	uint64_t complaints_since_ns;

	uint64_t started_ns;
	struct counters counters;
	struct watcher_list watchers;
	struct closure closures[CLOSURES_MAX];
	unsigned closures_count;
};

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
void timer_arm(struct event *timer, uint64_t delay_ns);

/* --- pools.c ------------------------------------------------------------------------------------------ */

int pools_start(struct daemon *d); /* looks for all of them, and watches the mounts; 0 or -errno */
void pools_stop(struct daemon *d);
void pools_look(struct daemon *d); /* again, and tells whom it concerns if something has changed */
/* The enforced pool whose files have this st_dev; NULL. */
struct pool *pool_by_dev(struct daemon *d, uint64_t dev);
uint64_t pool_files_dev(const struct pool *pool); /* st_dev of its files, or of its device's node */
/* For counting: is it on the pool's file system, or the pool's device? */
bool pool_has(const struct pool *pool, uint64_t dev, uint64_t ino);
/* The directory pool on that device that holds `path`; NULL. pool_any_directory: is there one at all on dev. */
struct pool *pool_by_path(struct daemon *d, uint64_t dev, const char *path);
bool pool_any_directory(struct daemon *d, uint64_t dev);
/* Of a lease in it, as others are told. */
uint32_t pool_label(const struct pool *pool);

/* --- devices.c: device-dax pools ------------------------------------------------------------------------- */

int devices_start(struct daemon *d); /* behind pools_start(): looks at them from time to time; 0 or -errno */
void devices_stop(struct daemon *d);
/* What the pool's device is now; sets what the pool knows of it, and pool->reason. */
enum dlp_pool_state device_look(struct pool *pool);
/* The pool whose device has this node, as fstat names it; NULL. Another node of the same device is not known. */
struct pool *device_pool(struct daemon *d, uint64_t dev, uint64_t ino);
/* Why [start, end) of it cannot be leased, and *offset; or DLP_REASON_NONE. */
uint32_t device_refuses(const struct pool *pool, uint64_t start, uint64_t end, uint64_t *offset);
/* Widens a range to what can be taken away from a mapping. */
void device_round(const struct pool *pool, uint64_t *start, uint64_t *end);

/* --- users.c ------------------------------------------------------------------------------------------ */

struct user {
	uint32_t uid;
	uint32_t taken[USER_GOODS];
	uint64_t recounted_ns;
	UT_hash_handle hh;
};

void users_start(struct daemon *d); /* sets the limits */
/* Finds or makes it; NULL: no memory. It lives until user_put() finds nothing taken: whoever took something and
 * gave it back last calls that. */
struct user *user_get(struct daemon *d, uint32_t uid);
bool user_take(struct daemon *d, struct user *user, enum user_good good, uint32_t n);
/* What it had before a restart, whatever the limits are now. */
void user_take_back(struct daemon *d, struct user *user, enum user_good good, uint32_t n);
void user_give(struct daemon *d, struct user *user, enum user_good good, uint32_t n);
void user_put(struct daemon *d, struct user *user);
/* One more grant or release, which may make one more lease. */
bool user_may_lease(struct daemon *d, struct user *user);

/* --- files.c ------------------------------------------------------------------------------------------ */

/* What the daemon keeps of a file while anything of the core's hangs on it. opath_fd keeps an unlinked file's
 * blocks until its last lease ends (C1), tells its present path, and lets the guard find the inode again. */
struct file {
	struct {
		uint64_t dev, ino;
	} key;
	int opath_fd; /* -1: it could not be opened again after a restart */
	uint32_t saved; /* its record */
	bool inherited; /* armed by a predecessor, and not opened again: a grant arms it anew, by its own descriptor */
	struct user *user; /* whose account opath_fd is on: the first holder's */
	struct pool *pool; /* NULL until a grant of a directory pool's file is settled */
	bool armed;
	/* leased.c: the description that has the kernel lease, or -1; its slot in the store; what was said of it last; the job
	 * that takes it again, 0: none */
	int lease_fd;
	uint32_t lease_slot;
	uint32_t lease_shown; /* enum guard_lease_state */
	uint64_t retake;
	bool lost;    /* not guarded since a restart: what is leased is revoked */
	unsigned looks; /* second looks that its leases still need */
	bool unlookable; /* after a restart: there can be none */
	bool changed; /* modified.c: it is to be looked at */
	int watch;    /* modified.c: of inotify; -1: none */
	uint64_t looked_ns;
	TAILQ_ENTRY(file) changed_entry;
	UT_hash_handle watch_hh;
	UT_hash_handle hh;
};

struct file *file_lookup(struct daemon *d, uint64_t dev, uint64_t ino);
/* Finds it or makes it from an open descriptor (which stays the caller's) of this user. NULL: a limit. */
struct file *file_get(struct daemon *d, struct user *user, int fd, uint64_t dev, uint64_t ino);
void file_save(struct daemon *d, const struct file *file);
void file_set_pool(struct daemon *d, struct file *file, struct pool *pool);
/* A lease was granted and needs a second look, also by a successor; it has had it (of a file that is gone, too: nothing). */
void file_begin_look(struct daemon *d, struct file *file);
void file_end_look(struct daemon *d, uint64_t dev, uint64_t ino);
int files_restore(struct daemon *d); /* before the guard starts; 0 or -errno */
/* From the return on every attempt is seen; nothing to do for an advisory pool. 0 or -errno. */
int file_arm(struct daemon *d, struct file *file, int fd);
/* CORE_DISARM: nothing hangs on it any more. */
void file_drop(struct daemon *d, uint64_t dev, uint64_t ino);
void files_free(struct daemon *d);
bool files_on(const struct daemon *d, uint64_t dev); /* is one of them on this device? */
/* Its path now, into buffer of DLP_MAX_PATH; "?" if it cannot be told. Does not touch the file system. */
const char *file_path(const struct file *file, char *buffer);
const char *fd_path(int fd, char *buffer);

/* --- leased.c ----------------------------------------------------------------------------------------- */

int leased_start(struct daemon *d); /* 0 or -ENOMEM */
void leased_stop(struct daemon *d);
/* Whether a break ends before the kernel's own time does; else why not, in words. */
bool leased_time_fits(const struct daemon *d, const struct config_pool *pool, char *why, size_t size);
/* A worker has taken the lease on the description of fd (which stays the caller's): it is kept and guarded. 0, or it is given up
 * again: -EAGAIN (it is not there any more), -ENOLCK, -EUSERS, -ENOMEM, -EMFILE. */
int leased_adopt(struct daemon *d, struct file *file, int fd);
/* What a worker may have taken on the description of fd is given up, unless that is the one that is kept of the file (which may be
 * NULL). */
void leased_give_back(const struct file *file, int fd);
void leased_release(struct daemon *d, struct file *file); /* whoever waits goes on */
bool leased_holds(const struct daemon *d, const struct file *file);
/* What has changed in the guard is said; what was given up is taken again later. */
void leased_notice(struct daemon *d);
/* Before the guard starts; fd becomes the file's. 0, or -errno: it has no lease any more. */
int leased_restore(struct daemon *d, struct file *file, uint32_t slot, int fd);
/* Of a lease on it now, as others are told. */
uint32_t file_label(const struct daemon *d, const struct file *file);

/* --- sessions.c --------------------------------------------------------------------------------------- */

enum session_state {
	SESSION_LIVE,
	SESSION_DETACHED, /* it hung up, but its process lives and may still hold mappings */
	SESSION_FENCING,  /* being ended from outside */
	SESSION_DEAD,	  /* the process is gone; its MRs are being destroyed */
};

struct mr_context;

struct session {
	uint32_t id;
	enum session_state state;
	uint32_t role; /* enum dlp_role; 0 before HELLO */
	bool may_admin;
	int32_t pid;
	uint32_t uid;
	struct user *user;
	char comm[16];
	uint64_t start_ticks; /* of its process; 0: not looked at yet */
	uint32_t saved; /* its record; 0 before HELLO */
	uint32_t slot; /* of its channels in the store */
	int calls_fd;  /* -1 when hung up */
	int events_fd; /* -1 before HELLO and when hung up */
	int pidfd;
	int memory_fd; /* /proc/PID/mem since its first grant: stands for its memory; -1 */
	uint32_t memory_slot; /* of that one in the store; STORE_NO_SLOT */
	bool memory_lost; /* there was one before a restart: that its memory has no user cannot be proven */
	struct event *calls_event, *events_event, *pid_event;
	struct event *retry_timer; /* another try to destroy MRs of a dead one */
	struct grant *grant;	   /* in progress: no further call is read meanwhile */
	struct dlp_head hello; /* the request, while it waits */
	bool looked;  /* a call was looked at and not consumed yet */
	bool returned; /* none was consumed since a daemon before us */
	struct trial calls_trial, events_trial;
	uint32_t answer_size; /* as in struct saved_session */
	union {
		struct dlp_head head;
		unsigned char bytes[SAVED_ANSWER_BYTES];
	} answer;
	int hello_fd; /* the client's end of its events channel, until the store has ours and HELLO is answered; -1 */
	struct mr_context *contexts;
	unsigned destroying; /* worker jobs under way */
	struct fence *fence; /* SESSION_FENCING: under way (fence.c); NULL: not, or SIGKILL is out */
	unsigned gone_looks; /* of a killed one */
	uint64_t killed_ns; /* SESSION_FENCING: when SIGKILL was sent; 0: not */
	bool mrs_unknown; /* the report of an MR was lost: there may be one that we cannot destroy */
	bool memory_unknown; /* it could not be opened; said once */
	unsigned retries;      /* of destroying MRs */
	unsigned memory_looks; /* of a dead one */
	const char *unproven; /* SESSION_DEAD: why its end is not, for long; a constant; NULL: it is, or nothing was said of it yet */
	uint64_t maps_job; /* worker job: does it still map anything? 0: none */
	bool watching; /* in daemon.watchers */
	bool rests; /* in daemon.resting: its calls are not read */
	LIST_ENTRY(session) rest_entry;
	uint64_t watch_lost; /* happenings it was not told of, since it did not read */
	LIST_ENTRY(session) watch_entry;
	struct daemon *daemon;
	UT_hash_handle hh;
};

#define SESSION_DESCRIPTORS 4 /* calls, events, pidfd, memory */

int sessions_start(struct daemon *d); /* listens; 0 or -errno */
void sessions_stop(struct daemon *d);
/* Takes over a connection, with its slot in the store or STORE_NO_SLOT; 0 or -errno, then it is closed. */
int session_new(struct daemon *d, int fd, uint32_t slot);
/* With nothing of it known yet, and these channels. NULL: no memory. */
struct session *session_make(struct daemon *d, uint32_t id, int calls_fd, uint32_t slot);
int session_listen(struct session *s); /* to all its descriptors; 0 or -ENOMEM */
bool session_is_admin(const struct session *s); /* by the credentials of its calls channel */
struct session *session_find(struct daemon *d, uint32_t id);
/* Whether what a client did may be logged once more now. */
bool session_may_complain(struct daemon *d);
/* Sends a reply (seq and opcode from the request); a client that does not take it is hung up on. */
void session_reply(struct session *s, const struct dlp_head *request, struct dlp_head *reply, size_t size, int fd,
		   int error);
/* 0; -EAGAIN: it does not read; -EPIPE: it has no events channel (any more). */
int session_event(struct session *s, struct dlp_head *event, size_t size);
/* Its channels are closed; what it holds stays. */
void session_close_channels(struct session *s);
void session_close_events(struct session *s);
void session_free(struct session *s);
void sessions_tell_pools(struct daemon *d); /* DLP_EV_POOLS to everybody */

/* --- receive.c ---------------------------------------------------------------------------------------- */

void calls_ready(evutil_socket_t fd, short what, void *session);
void events_ready(evutil_socket_t fd, short what, void *session);
void hello_cancel(struct session *s); /* it is going */
bool session_has_unread(const struct session *s); /* calls it has sent and we have not read */
void session_read_calls(struct session *s); /* handles them, but not without end; s stays */
void session_pause(struct session *s); /* reads no further calls until session_resume() */
void session_resume(struct session *s);
void session_rest_no_more(struct session *s);
void sessions_rested(evutil_socket_t fd, short what, void *daemon);
/* The call that was looked at last is done with: everything it changed is committed, and it is gone. */
void session_consume(struct session *s);
/* Handles what it had already sent about its MRs, after its death. */
void session_drain_reports(struct session *s);

/* --- returned.c --------------------------------------------------------------------------------------- */

void session_save(struct session *s);
/* When the process was started, in ticks: with its number it names it. 0, -ESRCH, or another -errno: it cannot be told. */
int session_start_of(int32_t pid, uint64_t *start);
int sessions_restore(struct daemon *d); /* those of the daemon before; 0 or -errno */
/* They are looked after: what they said meanwhile is heard, and who died or hung up meanwhile is found. */
void sessions_resume(struct daemon *d);

/*
 * Around the handling of a message, which ends with its consumption or, if it has to wait, with trial_pause(); then
 * trial_begin() comes again. Costs something for the first one after a restart only. false: the daemon has died three times on
 * this one, once and then twice in a row right after a restart; so it must not be handled.
 */
bool trial_begin(struct session *s, struct trial *trial);
void trial_pause(struct session *s, struct trial *trial);
void trial_end(struct session *s, struct trial *trial); /* not committed: the consumption does that */
/* Hangs up on it, without looking at anything it has sent. What it holds stands, and is fenced when it is broken. */
void trial_failed(struct session *s);

/* --- holders.c ---------------------------------------------------------------------------------------- */

void holder_hung_up(struct session *s); /* a channel ended, the process lives */
void holder_died(struct session *s);	/* the pidfd said so */
/* An administrator says that nothing of it is left. 0: it has ended; -EBUSY: nothing keeps it from ending by itself. */
int holder_forget(struct session *s);
/* A break concerns it, but it hung up: looks whether it has let go meanwhile. */
void holder_look(struct session *s);
/* Asks a worker whether one that hung up still maps anything: it is killed if so, else it ends. 0 or -errno. */
int holder_ask_maps(struct session *s);
/* Nothing of it is mapped: it ends when its MRs are gone. */
void holder_settle_end(struct session *s);
/* For mr_destroy_all() and mr_destroy_on() of a session that is going or is being fenced. */
void holder_mrs_destroyed(struct session *s);

/* A step of the fence, for statistics and whoever watches. */
void holder_fence_step(const struct session *s, enum dlp_fence_step step, uint64_t since_ns);

/* --- fence.c ------------------------------------------------------------------------------------------ */

void holder_fence(struct session *s); /* CORE_FENCE */
/* Kills it; `why` is for the log. */
void fence_kill(struct session *s, const char *why);
void fence_mrs_destroyed(struct session *s); /* while s->fence is there */
void fence_free(struct session *s);

/* --- mrs.c -------------------------------------------------------------------------------------------- */

/* DLP_MR_ADD: sets *fd to -1 if it takes it over. Twice the same is once. 0, or -EBADMSG: unknown context without a descriptor; -ENOMEM; -EMFILE. */
int mr_add(struct session *s, const struct dlp_mr *m, int *fd);
int mrs_restore(struct daemon *d); /* after the sessions; 0 or -errno */
void mr_del(struct session *s, uint32_t context, uint64_t id);
unsigned mr_count(const struct session *s, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end);
bool mr_any(const struct session *s);
enum mr_sort { MR_PINNED = 1, MR_ON_DEMAND = 2, MR_ANY = 3 };
/* Does one of that sort need some of the job's ranges? */
bool mr_any_on(const struct session *s, const struct worker_job *ranges, enum mr_sort sort);
/* Submits worker jobs that destroy all of them; done(s) is called when the last has ended (from the loop, never
 * from within). Those that may still live stay listed. */
void mr_destroy_all(struct session *s, void (*done)(struct session *s));
/* The same for those, in that time. */
void mr_destroy_on(struct session *s, const struct worker_job *ranges, enum mr_sort sort, uint64_t limit_ns,
		   void (*done)(struct session *s));
void mr_forget_all(struct session *s);

/* --- grants.c ----------------------------------------------------------------------------------------- */

/* Sets *fd to -1 if it is taken over. */
void grant_request(struct session *s, const struct dlp_grant *m, int *fd);
void grant_cancelled(struct daemon *d, uint32_t session, uint64_t ticket); /* CORE_CANCELLED */
void grant_abandon(struct session *s);					   /* the session is going */
/* The file's last lease has ended: no second look any more, which keeps the program's descriptor (and with it its
 * flock, and its mount). */
void grants_forget(struct daemon *d, uint64_t dev, uint64_t ino);
unsigned grants_on(const struct daemon *d, uint64_t dev); /* descriptors they have there */
void grants_stop(struct daemon *d);
/* Looks once more at what is leased of the file, and revokes at once what is not as it was granted. */
void grants_look(struct daemon *d, struct file *file);
/* After a restart: the second looks that the daemon before has not had. Where there can be none, what is leased is revoked. */
void grants_resume(struct daemon *d);

/* --- breaks.c ----------------------------------------------------------------------------------------- */

int breaks_start(struct daemon *d);
int breaks_restore(struct daemon *d); /* before the guard starts; 0 or -errno */
/* Is an operation that we know waiting for the guard's slot? For its start(). */
bool breaks_owed(void *daemon, uint32_t slot, uint64_t serial);
/* Takes all attempts the guard has into the core; before a grant begins and before it ends. */
void guard_drain(struct daemon *d);
void breaks_stop(struct daemon *d);
/* Carries out what the core decided, and sets its timer; after every call into the core that can decide. */
void run_effects(struct daemon *d);
/* A break without a breaker thread: by an administrator (session != 0: told by DLP_EV_DONE with *id when it
 * ends) or by the second look. lease != 0: only that one. break_time 0: now. 0, or -EBUSY: refused, since the end of
 * a lease there cannot be proven; -ENOMEM, -ENOLCK. */
int break_range(struct daemon *d, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, uint64_t lease,
		uint32_t cause, uint64_t break_time_ns, struct session *admin, uint64_t *id, uint64_t *leases);
/* The kernel has let a breaker go on: what is still leased of the file is revoked at once. The file can be gone with it. */
void breaks_expired(struct daemon *d, uint64_t dev, uint64_t ino);
/* Breaks every lease, grants none any more, and ends the loop when none is left. */
void breaks_drain(struct daemon *d);
/* Looks once more at let-through operations in the way of a grant, and forgets the finished ones. */
void hold_off_look(struct daemon *d, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end);

/* --- answers.c ---------------------------------------------------------------------------------------- */

/* The guard's answer to a slot: 0 or -errno. Tried again until the guard takes it. */
void answer_thread(struct daemon *d, uint32_t slot, int error);
int answers_start(struct daemon *d); /* 0 or -ENOMEM */
void answers_stop(struct daemon *d);

/* --- modified.c --------------------------------------------------------------------------------------- */

int modified_start(struct daemon *d); /* 0 or -errno: then nobody is told */
void modified_watch(struct daemon *d, struct file *file);
void modified_forget(struct daemon *d, struct file *file);
void modified_stop(struct daemon *d);

/* --- admin.c ------------------------------------------------------------------------------------------ */

void admin_pool(struct session *s, const struct dlp_pool *m);
void admin_list(struct session *s, const struct dlp_list *m);
void admin_status(struct session *s, const struct dlp_head *m);
void admin_break(struct session *s, const struct dlp_break *m, int fd); /* fd stays the caller's */
void admin_lease_revoke(struct session *s, const struct dlp_lease_revoke *m);
void admin_lease_forget(struct session *s, const struct dlp_lease_revoke *m);
void admin_query(struct session *s, const struct dlp_range *m);
void admin_waiting(struct session *s, const struct dlp_list *m);
uint64_t admin_leases_of(const struct session *s, struct pool *pool); /* how many there are in it */

/* --- closures.c --------------------------------------------------------------------------------------- */

void closure_drain(struct session *s, const struct dlp_drain *m, int fd); /* fd stays the caller's */
bool is_closed(const struct daemon *d, const struct file *file);
bool is_pool_closed(const struct daemon *d, const struct pool *pool);
void closures_end(struct session *s); /* it is going: so are its closures */

/* --- reports.c ---------------------------------------------------------------------------------------- */

/* What is not known, or makes no sense, is 0. */
struct happening {
	enum dlp_happening kind;
	uint32_t detail, cause;	      /* as in struct dlp_ev_watch, as all numbers are */
	const struct session *holder;
	const struct file *file;
	const struct pool *pool; /* where there is no file; or the file's */
	const char *path;	 /* where there is no file */
	uint64_t dev, ino, start, end, offset, duration_ns;
	int32_t breaker_pid, breaker_tid;
	uint32_t breaker_uid;
	const char *breaker_comm;
};

/* Never waits: who watches and does not read is told later how much it has missed. */
void happened(struct daemon *d, const struct happening *h);
void report_effect(struct daemon *d, enum dlp_happening kind, const struct core_effect *e,
		   const struct session *holder, uint64_t duration_ns);
void report_waiting(struct daemon *d, const struct core_op_in *in); /* a breaker has to */
/* Counted, where nothing is to be told. */
struct dlp_pool_counters *pool_counters(struct daemon *d, struct pool *pool); /* NULL: of no pool */

void report_stats(struct session *s, const struct dlp_head *m);
void report_pool_stats(struct session *s, const struct dlp_pool *m);
void report_watch(struct session *s, const struct dlp_head *m);
void report_unwatch(struct session *s); /* it is going */

#endif
