// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/keeper_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store_kinds.h"

#define TEXT_MAX 4096
#define FDS_MAX 253 /* SCM_MAX_FD of the kernel */
#define OWN_DESCRIPTORS 64

/* What one message asks for. */
struct wish {
	bool put, remove, poll, barrier;
	const char *name;
};

/* --- the table ---------------------------------------------------------------------------------------- */

int keeper_table_open(struct keeper_table *table)
{
	struct rlimit limit;
	unsigned room = store_names_room();

	*table = (struct keeper_table){.names_max = store_names_size(), .hangups = -1};
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	/* In the child each has its old number and its new one for an instant. */
	if (limit.rlim_cur < 4 * OWN_DESCRIPTORS)
		return -EMFILE;
	if (room > (limit.rlim_cur - OWN_DESCRIPTORS) / 2)
		room = (unsigned)(limit.rlim_cur - OWN_DESCRIPTORS) / 2;
	table->capacity = room;
	table->entries = calloc(room, sizeof(*table->entries));
	if (!table->entries)
		return -ENOMEM;
	table->hangups = epoll_create1(EPOLL_CLOEXEC);
	return table->hangups < 0 ? -errno : 0;
}

void keeper_table_close(struct keeper_table *table)
{
	for (unsigned i = 0; i < table->count; i++)
		close(table->entries[i].fd);
	free(table->entries);
	if (table->hangups >= 0)
		close(table->hangups);
}

static void drop(struct keeper_table *table, unsigned i)
{
	table->names_size -= (unsigned)strlen(table->entries[i].name) + 1;
	/* By closing it would stay in the set as long as the daemon has its copy. */
	epoll_ctl(table->hangups, EPOLL_CTL_DEL, table->entries[i].fd, NULL);
	close(table->entries[i].fd);
	table->entries[i] = table->entries[--table->count];
	table->full_told = false;
}

static bool is_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		if (*c < ' ' || *c > '~' || *c == ':')
			return false;
	}
	return *name && strlen(name) < KEEPER_NAME_SIZE;
}

/* Takes over fd. */
static void put(struct keeper_table *table, int fd, const char *name, bool poll)
{
	struct epoll_event event = {.data.fd = fd};
	const unsigned size = (unsigned)strlen(name) + 1;
	struct keeper_entry *entry;

	if (table->count >= table->capacity || size > table->names_max - table->names_size) {
		if (!table->full_told)
			log_error("full: \"%s\" and what follows is not kept (%u descriptors are)",
				  name, table->count);
		table->full_told = true;
		close(fd);
		return;
	}
	/* EPERM: a file that cannot be polled, and so never hangs up. */
	if (poll && epoll_ctl(table->hangups, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EPERM)
		log_warning("\"%s\" is not watched for its end: %s", name, strerror(errno));
	entry = &table->entries[table->count++];
	entry->fd = fd;
	memcpy(entry->name, name, size);
	table->names_size += size;
}

static void remove_all(struct keeper_table *table, const char *name)
{
	for (unsigned i = table->count; i-- > 0;) {
		if (strcmp(table->entries[i].name, name) == 0)
			drop(table, i);
	}
}

void keeper_table_hangups(struct keeper_table *table)
{
	struct epoll_event event;

	while (epoll_wait(table->hangups, &event, 1, 0) == 1) {
		unsigned i = 0;

		while (i < table->count && table->entries[i].fd != event.data.fd)
			i++;
		if (i == table->count)
			return;
		log_debug("\"%s\" has hung up and is not kept any more", table->entries[i].name);
		drop(table, i);
	}
}

/* --- messages ----------------------------------------------------------------------------------------- */

static const char *value_of(const char *line, const char *key)
{
	size_t length = strlen(key);

	return strncmp(line, key, length) == 0 && line[length] == '=' ? line + length + 1 : NULL;
}

static void read_line(const char *line, struct wish *wish, struct keeper_news *news)
{
	const struct {
		const char *line;
		bool *flag, value;
	} flags[] = {
		{"FDSTORE=1", &wish->put, true},	  {"FDSTOREREMOVE=1", &wish->remove, true},
		{"FDPOLL=0", &wish->poll, false},	  {"BARRIER=1", &wish->barrier, true},
		{"READY=1", &news->ready, true},	  {"STOPPING=1", &news->stopping, true},
		{"RELOADING=1", &news->reloading, true},  {"WATCHDOG=1", &news->alive, true},
		{"WATCHDOG=trigger", &news->stuck, true},
	};
	const char *value;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(line, flags[i].line) == 0)
			*flags[i].flag = flags[i].value;
	}
	if ((value = value_of(line, "FDNAME")))
		wish->name = value;
	else if ((value = value_of(line, "WATCHDOG_USEC")))
		news->watchdog_us = strtoull(value, NULL, 10);
	else if ((value = value_of(line, "STATUS")))
		snprintf(news->status, sizeof(news->status), "%s", value);
	else if (value_of(line, "MAINPID"))
		log_debug("%s is not heeded: the keeper watches its own child", line);
}

/* Takes over the descriptors. */
static void carry_out(struct keeper_table *table, const struct wish *wish, const int *fds,
		      size_t count)
{
	const char *name = wish->name ? wish->name : "stored";

	if (wish->remove && is_name(name))
		remove_all(table, name);
	for (size_t i = 0; i < count; i++) {
		if (wish->put && !wish->remove && is_name(name))
			put(table, fds[i], name, wish->poll);
		else
			close(fds[i]); /* a barrier ends with it */
	}
	if (!is_name(name))
		log_warning("not a name that is kept: \"%s\"", name);
}

static void handle(struct keeper_table *table, char *text, const int *fds, size_t count,
		   struct keeper_news *news)
{
	struct wish wish = {.poll = true};
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		read_line(line, &wish, news);
	carry_out(table, &wish, fds, count);
}

int keeper_table_receive(struct keeper_table *table, int socket, pid_t from,
			 struct keeper_news *news)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char text[TEXT_MAX + 1];
	struct iovec iov = {.iov_base = text, .iov_len = TEXT_MAX};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct ucred sender = {0};
	int fds[FDS_MAX];
	size_t count = 0;

	*news = (struct keeper_news){0};
	if (length < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(sender)))
			memcpy(&sender, CMSG_DATA(c), sizeof(sender));
		if (c->cmsg_type == SCM_RIGHTS) {
			count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), count * sizeof(int));
		}
	}
	text[length] = 0;
	if (sender.pid != from || from <= 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		log_warning("a message of process %d is not heeded: %s", (int)sender.pid,
			    sender.pid != from ? "it is not the daemon" : "it is cut");
		text[0] = 0;
	}
	handle(table, text, fds, count, news);
	return 0;
}
