// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Many threads map, unmap, move, map over and fork while leases are broken, revoked and dropped at
 * random; made for the thread sanitizer.
 *
 * What must hold whenever a revocation was answered and its operation has not finished: no mapping
 * the program was given shows the file there. And at the end: what shows the file is leased, and
 * nothing else is.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "libshim/shim_session.h"
#include "libshim/shim_table.h"
#include "tests/unit/shim_check.h"
#include "tests/unit/shim_daemon.h"

#define THREADS 6
#define SLOTS 8
#define MOST 12u /* pages of a mapping */

/* A mapping the program has; the lock is held over every change of it, the hook included. */
struct slot {
	pthread_mutex_t lock;
	char *addr; /* NULL: none */
	unsigned first, pages;
	bool dropped; /* some of it may be without a lease: the operation was its own process's */
};

static struct slot slots[THREADS][SLOTS];
static atomic_bool stop;
static atomic_uint drops; /* odd while one is under way, whose slots are not marked yet */
static atomic_uint maps_made, revocations, forks, checked;
static int fd;
static size_t page;
static struct stat file;
static char path[64];

static unsigned next_random(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 12;
}

/* Pages of [addr, addr + pages) that show the file, as a bit each, read from the kernel. */
static uint64_t shows_file(const char *addr, unsigned pages)
{
	static __thread char text[1 << 16];
	char wanted[32];
	uint64_t shown = 0;
	size_t have = 0;
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	CHECK(maps >= 0);
	snprintf(wanted, sizeof(wanted), "%02x:%02x %lu ", major(file.st_dev), minor(file.st_dev),
		 file.st_ino);
	for (;;) {
		ssize_t got = read(maps, text + have, sizeof(text) - 1 - have);
		char *line = text, *end;

		CHECK(got >= 0);
		if (got == 0)
			break;
		have += (size_t)got;
		text[have] = '\0';
		while ((end = strchr(line, '\n'))) {
			unsigned long from, to;

			*end = '\0';
			CHECK(sscanf(line, "%lx-%lx", &from, &to) == 2);
			for (unsigned i = 0; i < pages && strstr(line, wanted); i++) {
				uintptr_t at = (uintptr_t)addr + i * page;

				if (from <= at && at < to)
					shown |= UINT64_C(1) << i;
			}
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
	close(maps);
	return shown;
}

static void map_slot(struct slot *slot, unsigned *random)
{
	unsigned first = next_random(random) % (FAKE_PAGES - MOST),
		 pages = 1 + next_random(random) % MOST;
	int flags = MAP_SHARED;
	void *place = NULL, *mapped;

	if (next_random(random) % 4 == 0) {
		place = mmap(NULL, MOST * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(place != MAP_FAILED);
		flags |= MAP_FIXED;
	}
	mapped = mmap(place, pages * page, PROT_READ | PROT_WRITE, flags, fd,
		      (off_t)(first * page));
	if (mapped == MAP_FAILED) {
		CHECK(errno == EAGAIN);
		if (place)
			CHECK(munmap(place, MOST * page) == 0);
		return;
	}
	if (place && pages < MOST)
		CHECK(munmap((char *)place + pages * page, (MOST - pages) * page) == 0);
	slot->addr = mapped;
	slot->first = first;
	slot->pages = pages;
	slot->dropped = false;
	atomic_fetch_add(&maps_made, 1);
}

static void fork_and_touch(const struct slot *slot)
{
	unsigned before = atomic_load(&drops);
	pid_t child = fork();
	int status;

	if (child == 0) {
		signal(SIGBUS, SIG_DFL);
		*(volatile char *)slot->addr = 'c';
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	/* A dropped part is an ordinary mapping, which a child inherits. */
	if (before % 2 == 0 && atomic_load(&drops) == before && !slot->dropped)
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	atomic_fetch_add(&forks, 1);
}

static void change_slot(struct slot *slot, unsigned *random)
{
	void *moved, *place;
	unsigned cut;

	switch (next_random(random) % 8) {
	case 0: /* cut off the end */
		cut = next_random(random) % slot->pages;
		if (cut) {
			CHECK(munmap(slot->addr + (slot->pages - cut) * page, cut * page) == 0);
			slot->pages -= cut;
		}
		return;
	case 1: /* cut off the start */
		cut = next_random(random) % slot->pages;
		if (cut) {
			CHECK(munmap(slot->addr, cut * page) == 0);
			slot->addr += cut * page;
			slot->pages -= cut;
			slot->first += cut;
		}
		return;
	case 2: /* shrink */
		if (slot->pages > 1) {
			moved = mremap(slot->addr, slot->pages * page, (slot->pages - 1) * page, 0);
			CHECK(moved == slot->addr);
			slot->pages--;
		}
		return;
	case 3: /* anonymous memory over the last page */
		place = mmap(slot->addr + (slot->pages - 1) * page, page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		CHECK(place == slot->addr + (slot->pages - 1) * page);
		*(volatile char *)place = 'a';
		if (--slot->pages == 0)
			slot->addr = NULL;
		CHECK(munmap(place, page) == 0);
		return;
	case 4:
		if (next_random(random) % 8 == 0)
			fork_and_touch(slot);
		return;
	default:
		CHECK(munmap(slot->addr, slot->pages * page) == 0);
		slot->addr = NULL;
	}
}

static void *use(void *arg)
{
	struct slot *mine = arg;
	unsigned random = (unsigned)(mine - slots[0]) + 1;

	while (!atomic_load(&stop)) {
		struct slot *slot = &mine[next_random(&random) % SLOTS];

		pthread_mutex_lock(&slot->lock);
		if (slot->addr)
			change_slot(slot, &random);
		else
			map_slot(slot, &random);
		pthread_mutex_unlock(&slot->lock);
	}
	return NULL;
}

/* Nothing the program has shows the pages, which are closed; dropped ones do. */
static void check_revoked(unsigned first, unsigned end, bool drop)
{
	for (unsigned i = 0; i < THREADS * SLOTS; i++) {
		struct slot *slot = &slots[i / SLOTS][i % SLOTS];

		pthread_mutex_lock(&slot->lock);
		if (slot->addr && slot->first < end && first < slot->first + slot->pages) {
			uint64_t shown = drop ? 0 : shows_file(slot->addr, slot->pages);

			for (unsigned p = 0; p < slot->pages; p++) {
				if (slot->first + p >= first && slot->first + p < end)
					CHECK(slot->dropped || !(shown & (UINT64_C(1) << p)));
			}
			slot->dropped |= drop;
			atomic_fetch_add(&checked, 1);
		}
		pthread_mutex_unlock(&slot->lock);
	}
}

/* At least so many rounds, and until there was something to revoke and to look at. */
static void break_at_random(unsigned rounds)
{
	unsigned random = 99, answers;

	for (unsigned round = 0; round < rounds || atomic_load(&maps_made) <= 100 ||
				 !atomic_load(&revocations) || !atomic_load(&checked);
	     round++) {
		unsigned first = next_random(&random) % (FAKE_PAGES - 32);
		unsigned end = first + 1 + next_random(&random) % 32;
		bool drop = next_random(&random) % 8 == 0;

		if (next_random(&random) % 2)
			fake_break(first, end);
		atomic_fetch_add(&drops, drop);
		CHECK(fake_revoke(first, end, drop, &answers) == 0);
		check_revoked(first, end, drop);
		atomic_fetch_add(&drops, drop);
		fake_finish(first, end);
		atomic_fetch_add(&revocations, answers);
	}
}

static void threads(void)
{
	pthread_t thread[THREADS];
	bool leased[FAKE_PAGES] = {false};
	unsigned count = 0;

	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, use, slots[i]) == 0);
	break_at_random(100);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	printf("# %u mappings, %u revocations answered, %u mappings checked, %u forks\n",
	       atomic_load(&maps_made), atomic_load(&revocations), atomic_load(&checked),
	       atomic_load(&forks));

	for (unsigned i = 0; i < THREADS * SLOTS; i++) {
		struct slot *slot = &slots[i / SLOTS][i % SLOTS];
		uint64_t shown;

		if (!slot->addr)
			continue;
		if (slot->dropped) {
			CHECK(munmap(slot->addr, slot->pages * page) == 0);
			slot->addr = NULL;
			continue;
		}
		shown = shows_file(slot->addr, slot->pages);
		for (unsigned p = 0; p < slot->pages; p++) {
			if (shown & (UINT64_C(1) << p))
				leased[slot->first + p] = true;
		}
	}
	for (unsigned i = 0; i < FAKE_PAGES; i++) {
		count += leased[i];
		CHECK(fake_wait_held(i, i + 1, leased[i]));
	}
	printf("# %u pages shown and leased at the end\n", count);
	for (unsigned i = 0; i < THREADS * SLOTS; i++) {
		struct slot *slot = &slots[i / SLOTS][i % SLOTS];

		if (slot->addr)
			CHECK(munmap(slot->addr, slot->pages * page) == 0);
	}
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && table_begin() == NULL);
}

/* --- the first lease of a process ----------------------------------------------------------- */

static pthread_barrier_t at_once;
/* Between the threads, and what an answer about pools takes: so some come while the first one asks.
 */
#define STAGGER_NS 1000000u

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *map_first(void *arg)
{
	unsigned first = (unsigned)(uintptr_t)arg * 4;
	struct mapping *mapping;
	struct hook hook;
	char *mapped;

	pthread_barrier_wait(&at_once);
	for (uint64_t start = now_ns(); now_ns() < start + (uintptr_t)arg * STAGGER_NS;)
		;
	mapped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(first * page));
	CHECK(mapped != MAP_FAILED);
	table_lock(&hook);
	mapping = table_first((uintptr_t)mapped, (uintptr_t)mapped + page);
	CHECK(mapping && mapping->state == MAP_LEASED);
	table_unlock(&hook);
	return NULL;
}

static void map_first_of_all(void)
{
	pthread_t thread[THREADS];

	CHECK(pthread_barrier_init(&at_once, NULL, THREADS) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, map_first, (void *)i) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

/* Nobody goes on without a lease while another thread still connects and asks for the pools. A program
 * of its own each time: a child of ours that makes threads would meet locks our threads held. */
static void first_leases(void)
{
	for (unsigned round = 0; round < 20; round++) {
		char *const arguments[] = {"shim_threads", path, NULL};
		pid_t child;
		int status;

		CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	CHECK(fake_wait_held(0, FAKE_PAGES, 0));
}

static void open_file(int flags)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	fd = open(path, flags | O_RDWR | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	shim_start();
	session_configure(); /* the constructor may have run before the environment was set */
}

/* usage: shim_threads, and for first_leases() alone: shim_threads FILE */
int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{"the first leases of many threads at once", first_leases},
		{"threads against revocations", threads},
		{0},
	};
	char dir[] = "/tmp/shim_threads.XXXXXX", socket_path[64];
	int result;

	if (argc == 2) {
		snprintf(path, sizeof(path), "%s", argv[1]);
		open_file(0);
		map_first_of_all();
		return 0;
	}
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
	for (unsigned i = 0; i < THREADS * SLOTS; i++)
		pthread_mutex_init(&slots[i / SLOTS][i % SLOTS].lock, NULL);
	CHECK(setenv("DAXLEASE_SOCKET", socket_path, 1) == 0 &&
	      setenv("DAXLEASE_MODE", "require", 1) == 0);
	CHECK(setenv("DAXLEASE_QUIET", "1", 1) == 0);
	open_file(O_CREAT);
	CHECK(ftruncate(fd, (off_t)(FAKE_PAGES * page)) == 0 && fstat(fd, &file) == 0);
	fake_slow_pools(2 * STAGGER_NS);
	fake_start(socket_path, file.st_dev, file.st_ino, DLP_POOL_MOUNT);
	result = check_all(tests);
	unlink(path);
	unlink(socket_path);
	rmdir(dir);
	return result;
}
