/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the keeper keeps, and the messages of sd_notify(3) that change it. Two things differ from systemd: a
 * descriptor that is put twice is kept twice, and a name has 31 bytes at most. All memory is taken at the start.
 * May include: libc, log.
 */
#ifndef DAXLEASE_KEEPER_TABLE_H
#define DAXLEASE_KEEPER_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define KEEPER_NAME_SIZE 32

struct keeper_table {
	struct keeper_entry {
		int fd;
		char name[KEEPER_NAME_SIZE];
	} * entries;
	unsigned count, capacity;
	unsigned names_size, names_max; /* bytes of all names, each with a separator */
	int hangups;			/* epoll: entries that leave by themselves (FDPOLL) */
	bool full_told;
};

/* What a message says besides descriptors. */
struct keeper_news {
	bool ready, stopping, reloading, alive, stuck;
	uint64_t watchdog_us; /* 0: not said */
	char status[128];     /* empty: not said */
};

/* As many as fit in the environment and under RLIMIT_NOFILE, two for each. 0 or -errno. */
int keeper_table_open(struct keeper_table *table);
void keeper_table_close(struct keeper_table *table); /* and all that is kept */

/* One datagram from the socket (with SO_PASSCRED). Of another process than `from` nothing is taken. 0; -EAGAIN: there is
 * none; -errno of recvmsg(2). */
int keeper_table_receive(struct keeper_table *table, int socket, pid_t from,
			 struct keeper_news *news);
/* `hangups` is readable: what hung up leaves. */
void keeper_table_hangups(struct keeper_table *table);

#endif
