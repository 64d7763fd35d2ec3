// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would always be here */
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "proto/protocol.h"

#define MESSAGE "MESSAGE="

#define QUEUE_MAX 1024u
#define CLOSE_SECONDS 1

static atomic_int max_level = LOG_INFO;
static bool to_journal; /* set before the thread is there */

/* The entry's fields: each an iovec that points to its own "NAME=value" in text; the first is the message. */
struct fields {
	struct iovec iov[14];
	int count;
	size_t used;
	char text[LOG_MAX + DLP_MAX_PATH + 512];
};

struct entry {
	struct entry *next;
	struct timespec when;
	int level;
	struct fields fields;
};

/*
 * A thread of its own writes: the journal's socket can be full and stderr a pipe that nobody reads, for as long as
 * the disk under the journal is frozen by whoever waits for us.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, empty;
	pthread_t thread;
	bool running, busy;
	struct entry *first, **last;
	unsigned count, dropped;
} queue = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.empty = PTHREAD_COND_INITIALIZER,
	.last = &queue.first,
};

/* Whether stderr is the journal's stream: systemd says which one it is by device and inode, and
 * somebody may have redirected stderr since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;
	char behind;

	if (!stream || sscanf(stream, "%" SCNuMAX ":%" SCNuMAX "%c", &dev, &ino, &behind) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(int level)
{
	atomic_store(&max_level, level);
}

static const char *level_name(int level)
{
	static const char *const names[] = {
		[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
		[LOG_ERR] = "error",	   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
		[LOG_INFO] = "info",	   [LOG_DEBUG] = "debug",
	};

	if (level < 0 || (size_t)level >= sizeof(names) / sizeof(names[0]))
		return "?";
	return names[level];
}

/* Copies text so that it stays one line and moves no terminal: a program's name may hold
 * anything. Cuts it with "..." where it does not fit. Returns the length. */
static size_t copy_escaped(char *to, size_t size, const char *text)
{
	static const char cut[] = "...";
	const size_t room = size - sizeof(cut);
	size_t used = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		const bool control = *c < ' ' || *c == 0x7f;

		if (used + (control ? 4 : 1) > room) {
			memcpy(to + used, cut, sizeof(cut));
			return used + sizeof(cut) - 1;
		}
		if (control)
			used += (size_t)snprintf(to + used, 5, "\\x%02x", (unsigned)*c);
		else
			to[used++] = (char)*c;
	}
	to[used] = '\0';
	return used;
}

/* 128 bits of random digits, made once with systemd-id128(1) and never given to anything else. */
static const char *const message_ids[LOG_EVENTS] = {
	[LOG_EVENT_REVOKED] = "3259e306222d49c4991d96c6928c185d",
	[LOG_EVENT_FENCED] = "6691901f0ed34a8db6dd15a892447567",
	[LOG_EVENT_REFUSED] = "0d0d45e891124bdf9399cb58fc8bef72",
	[LOG_EVENT_POOL_READY] = "b4090372ad774bf28b40977ee63081a4",
	[LOG_EVENT_POOL_ABSENT] = "9c3cb3d1c4c84997aa828a0ade9f9a1d",
	[LOG_EVENT_POOL_REFUSED] = "131b714b764c4b28af6e9a47774481ac",
	[LOG_EVENT_ESCAPED] = "251ec2b2913648a591f7e85176a633d0",
	[LOG_EVENT_NO_GUARD] = "ca8ab5fd9fc2420da60d06f30cdbab7a",
};

__attribute__((format(printf, 2, 3))) static void add_field(struct fields *fields,
							    const char *format, ...)
{
	const size_t room = sizeof(fields->text) - fields->used;
	char *field = fields->text + fields->used;
	va_list args;
	int length;

	if ((size_t)fields->count == sizeof(fields->iov) / sizeof(fields->iov[0]))
		return;
	va_start(args, format);
	length = vsnprintf(field, room, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= room)
		return;
	fields->iov[fields->count++] = (struct iovec){field, (size_t)length};
	fields->used += (size_t)length + 1;
}

static void fill(struct fields *fields, int level, const struct log_subject *subject, const char *message)
{
	fields->count = 0;
	fields->used = 0;
	add_field(fields, MESSAGE "%s", message);
	add_field(fields, "PRIORITY=%d", level);
	add_field(fields, "SYSLOG_IDENTIFIER=%s", program_invocation_short_name);
	if (!subject)
		return;
	if (subject->event)
		add_field(fields, "MESSAGE_ID=%s", message_ids[subject->event]);
	if (subject->path)
		add_field(fields, "DAXLEASE_PATH=%s", subject->path);
	if (subject->pool)
		add_field(fields, "DAXLEASE_POOL=%s", subject->pool);
	if (subject->cause)
		add_field(fields, "DAXLEASE_CAUSE=%s", subject->cause);
	if (subject->pid)
		add_field(fields, "DAXLEASE_PID=%d", (int)subject->pid);
	if (subject->breaker)
		add_field(fields, "DAXLEASE_BREAKER_PID=%d", (int)subject->breaker);
	if (subject->session)
		add_field(fields, "DAXLEASE_SESSION=%" PRIu64, subject->session);
	if (subject->lease)
		add_field(fields, "DAXLEASE_LEASE=%" PRIu64, subject->lease);
	if (subject->end)
		add_field(fields, "DAXLEASE_RANGE=%" PRIu64 "-%" PRIu64, subject->start, subject->end);
	if (subject->error)
		add_field(fields, "ERRNO=%d", subject->error);
}

/* One write(2), so that lines of several threads and workers do not mix. */
static void write_stderr(int level, const struct timespec *when, const char *message)
{
	char line[LOG_MAX + 64], stamp[32] = "?";
	struct tm tm;
	int length;

	if (gmtime_r(&when->tv_sec, &tm))
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	length = snprintf(line, sizeof(line), "%s.%03ldZ %s: %s\n", stamp, when->tv_nsec / 1000000,
			  level_name(level), message);
	if (length < 0)
		return;
	if ((size_t)length >= sizeof(line))
		length = (int)sizeof(line) - 1;
	/* There is nobody left to tell that stderr cannot be written. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return;
}

static void write_entry(const struct entry *entry)
{
	if (!to_journal || sd_journal_sendv(entry->fields.iov, entry->fields.count) != 0)
		write_stderr(entry->level, &entry->when, entry->fields.text + strlen(MESSAGE));
}

static void write_dropped(unsigned dropped)
{
	struct entry entry = {.level = LOG_WARNING};
	char message[64];

	snprintf(message, sizeof(message), "%u messages were lost: the log was not read", dropped);
	clock_gettime(CLOCK_REALTIME, &entry.when);
	fill(&entry.fields, entry.level, NULL, message);
	write_entry(&entry);
}

static void *write_queue(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&queue.lock);
	for (;;) {
		struct entry *entry = queue.first;
		unsigned dropped = queue.dropped;

		if (!entry) {
			queue.busy = false;
			pthread_cond_signal(&queue.empty);
			pthread_cond_wait(&queue.more, &queue.lock);
			continue;
		}
		queue.busy = true;
		queue.first = entry->next;
		if (!queue.first)
			queue.last = &queue.first;
		queue.count--;
		queue.dropped = 0;
		pthread_mutex_unlock(&queue.lock);
		if (dropped)
			write_dropped(dropped);
		write_entry(entry);
		free(entry);
		pthread_mutex_lock(&queue.lock);
	}
	return NULL;
}

void log_open(void)
{
	sigset_t all, old;

	to_journal = stderr_is_journal();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* Without the thread every message is written by who has it to say. */
	queue.running = pthread_create(&queue.thread, NULL, write_queue, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void log_close(void)
{
	struct timespec until;

	if (!queue.running)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_SECONDS;
	pthread_mutex_lock(&queue.lock);
	while (queue.first || queue.busy) {
		if (pthread_cond_timedwait(&queue.empty, &queue.lock, &until))
			break;
	}
	pthread_mutex_unlock(&queue.lock);
}

/* Takes over entry. */
static void enqueue(struct entry *entry)
{
	bool taken;

	pthread_mutex_lock(&queue.lock);
	taken = queue.count < QUEUE_MAX;
	if (taken) {
		entry->next = NULL;
		*queue.last = entry;
		queue.last = &entry->next;
		queue.count++;
		pthread_cond_signal(&queue.more);
	} else {
		queue.dropped++;
	}
	pthread_mutex_unlock(&queue.lock);
	if (!taken)
		free(entry);
}

__attribute__((format(printf, 3, 0))) static void log_va(int level,
							 const struct log_subject *subject,
							 const char *format, va_list args)
{
	char raw[LOG_MAX], message[LOG_MAX];
	const int saved = errno;
	struct entry *entry;

	if (level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		raw[0] = '\0';
	copy_escaped(message, sizeof(message), raw);
	entry = malloc(sizeof(*entry));
	if (entry) {
		entry->level = level;
		clock_gettime(CLOCK_REALTIME, &entry->when);
		fill(&entry->fields, level, subject, message);
		if (queue.running) {
			enqueue(entry);
		} else {
			write_entry(entry);
			free(entry);
		}
	}
	errno = saved;
}

void log_about(int level, const struct log_subject *subject, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_va(level, subject, format, args);
	va_end(args);
}

#define DEFINE_LOG(name, level)                                                                    \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, format);                                                            \
		log_va(level, NULL, format, args);                                                 \
		va_end(args);                                                                      \
	}

DEFINE_LOG(log_error, LOG_ERR)
DEFINE_LOG(log_warning, LOG_WARNING)
DEFINE_LOG(log_notice, LOG_NOTICE)
DEFINE_LOG(log_info, LOG_INFO)
DEFINE_LOG(log_debug, LOG_DEBUG)
