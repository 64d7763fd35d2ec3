// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What one user's programs may take of what all share, so that none can leave nothing to the others (C25).
 * Descriptors above all: at their limit the guard reads no more events, and every breaker of every pool waits.
 *
 * Of each good there is a limit for all, an eighth of it is root's alone, and one user gets a quarter at most.
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "daemon/daemon.h"
#include "daemon/log.h"

#define SESSIONS_MAX 16384
#define MR_PARTS_MAX (1u << 21)
#define LEASE_STEPS_MAX (1u << 22) /* about as many leases as the core has room for */
#define RECOUNT_NS (10 * NS_PER_S)

/* Breakers that wait: each has a descriptor of the guard's, which reads on only while half of all are not taken. */
static uint32_t waiting_limit(const struct daemon *d, uint64_t descriptors)
{
	const uint64_t room = descriptors / 2 > UINT32_MAX ? UINT32_MAX : descriptors / 2;
	const uint64_t wanted = 4 * (uint64_t)d->config.waiting_limit;

	if (wanted > room)
		log_warning("waiting-limit: %u threads of one user are more than %llu descriptors allow: %llu",
			    d->config.waiting_limit, (unsigned long long)descriptors,
			    (unsigned long long)room / 4);
	return (uint32_t)(wanted && wanted < room ? wanted : room);
}

void users_start(struct daemon *d)
{
	struct rlimit limit;

	/* The guard takes half of the descriptors for breakers that wait, and wants an eighth to stay free. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		limit.rlim_cur = 1024;
	d->limits[USER_SESSIONS] = SESSIONS_MAX;
	d->limits[USER_DESCRIPTORS] = limit.rlim_cur > UINT32_MAX ? UINT32_MAX : (uint32_t)(limit.rlim_cur / 8 * 3);
	d->limits[USER_MR_PARTS] = MR_PARTS_MAX;
	d->limits[USER_LEASE_STEPS] = LEASE_STEPS_MAX;
	d->limits[USER_WAITING] = waiting_limit(d, limit.rlim_cur);
}

struct user *user_get(struct daemon *d, uint32_t uid)
{
	struct user *user;

	HASH_FIND(hh, d->users, &uid, sizeof(uid), user);
	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	HASH_ADD(hh, d->users, uid, sizeof(user->uid), user);
	return user;
}

static bool has_room(const struct daemon *d, const struct user *user, enum user_good good, uint32_t n)
{
	uint32_t all = d->limits[good], mine = all;

	if (user->uid != 0) {
		all -= all / 8;
		mine /= 4;
	}
	return n <= mine && user->taken[good] <= mine - n && n <= all && d->taken[good] <= all - n;
}

bool user_take(struct daemon *d, struct user *user, enum user_good good, uint32_t n)
{
	if (!has_room(d, user, good, n))
		return false;
	user->taken[good] += n;
	d->taken[good] += n;
	return true;
}

void user_take_back(struct daemon *d, struct user *user, enum user_good good, uint32_t n)
{
	user->taken[good] += n;
	d->taken[good] += n;
}

void user_give(struct daemon *d, struct user *user, enum user_good good, uint32_t n)
{
	user->taken[good] -= n;
	d->taken[good] -= n;
}

void user_put(struct daemon *d, struct user *user)
{
	for (unsigned good = 0; good < USER_GOODS; good++) {
		if (good != USER_LEASE_STEPS && user->taken[good])
			return;
	}
	user_give(d, user, USER_LEASE_STEPS, user->taken[USER_LEASE_STEPS]);
	HASH_DEL(d->users, user);
	free(user);
}

/* --- leases ----------------------------------------------------------------------------------------------- */

/* The core does not count a user's leases, but each grant and each release makes one more at most: these steps are
 * counted instead, and only when there are too many of them the leases themselves. Not often: that takes time. */
static void recount(struct daemon *d, struct user *user)
{
	uint64_t now = now_ns();
	uint32_t count = 0;

	if (user->recounted_ns && now - user->recounted_ns < RECOUNT_NS)
		return;
	user->recounted_ns = now;
	for (const struct session *s = d->sessions; s; s = s->hh.next) {
		struct core_lease_view lease;
		uint32_t cursor = 0;

		while (s->user == user && core_list_session(d->core, s->id, &cursor, &lease))
			count++;
	}
	user_give(d, user, USER_LEASE_STEPS, user->taken[USER_LEASE_STEPS]);
	user->taken[USER_LEASE_STEPS] += count;
	d->taken[USER_LEASE_STEPS] += count;
}

bool user_may_lease(struct daemon *d, struct user *user)
{
	if (user_take(d, user, USER_LEASE_STEPS, 1))
		return true;
	recount(d, user);
	return user_take(d, user, USER_LEASE_STEPS, 1);
}
