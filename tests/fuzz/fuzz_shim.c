// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The shim, driven from both its ends: by a program that maps a file, and by a daemon that may say anything at any
 * moment, over real sockets. One thread plays all: when the shim sends (dlp_send is wrapped), the daemon's turn comes
 * before its answer is waited for; and its listener runs when it is let, also in the middle of a request.
 *
 * Input: records {what, argument, argument, argument}, the raw ones with bytes of a packet behind them. Beside what the
 * sanitizers see, it is checked that
 *   - what a revocation covers that was answered for cannot be touched any more (C17);
 *   - nothing else that the program maps is taken away, and what is private stays as it was (C1);
 *   - where the daemon has told no lies, no lease is left when all is unmapped (C1).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libshim/shim_session.h"
#include "libshim/shim_table.h"
#include "tests/fuzz/fuzz_shim.h"

#define PAGES_MAX 96 /* that the program maps at once */
#define CASE_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t page;
uint64_t dev, ino;
bool tracing;
static int file_fd;
static char *canary;

void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* --- what the program has -------------------------------------------------------------------------------------- */

enum fate { FATE_UNKNOWN, FATE_THERE, FATE_TAKEN };

static struct program_page {
	char *at; /* NULL: none */
	unsigned of;
	bool leased;
	enum fate fate;
} pages[PAGES_MAX];

static bool can_be_read(const char *at)
{
	char byte;
	struct iovec to = {&byte, 1}, from = {(void *)(uintptr_t)at, 1};

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1;
}

void look_at_pages(void)
{
	for (unsigned i = 0; i < PAGES_MAX && knows; i++) {
		if (!pages[i].at)
			continue;
		if (pages[i].fate == FATE_UNKNOWN ||
		    can_be_read(pages[i].at) == (pages[i].fate == FATE_THERE))
			continue;
		TRACE("page %u at %p\n", pages[i].of, (void *)pages[i].at);
		require(pages[i].fate == FATE_THERE, "what was revoked is gone");
		require(pages[i].fate == FATE_TAKEN, "what was not revoked is there");
	}
	for (size_t i = 0; i < page; i += 64)
		require(canary[i] == 'c', "private memory is as it was");
}

void program_answered(const struct dlp_ev_break *event, int error, unsigned first, unsigned end)
{
	for (unsigned i = 0; i < PAGES_MAX; i++) {
		struct program_page *p = &pages[i];

		if (!p->at || !p->leased || p->of < first || p->of >= end ||
		    event->epoch < granted[p->of])
			continue;
		if (error)
			p->fate = p->fate == FATE_THERE ? FATE_UNKNOWN : p->fate;
		else if (event->head.opcode == DLP_EV_REVOKE)
			p->fate = FATE_TAKEN;
		if (event->head.opcode == DLP_EV_DROP)
			p->leased = false;
	}
}

static void forget_pages(const char *start, size_t count)
{
	for (unsigned i = 0; i < PAGES_MAX; i++) {
		if (pages[i].at >= start && pages[i].at < start + count * page)
			pages[i].at = NULL;
	}
}

static unsigned free_pages(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES_MAX; i++)
		n += !pages[i].at;
	return n;
}

static void note_page(char *at, unsigned of, bool leased)
{
	TRACE("page %u is mapped at %p%s\n", of, (void *)at, leased ? ", leased" : "");
	for (unsigned i = 0; i < PAGES_MAX; i++) {
		if (!pages[i].at) {
			pages[i] = (struct program_page){at, of, leased, FATE_THERE};
			return;
		}
	}
}

/* --- the program ------------------------------------------------------------------------------------------------ */

static char *some_page(uint8_t which)
{
	for (unsigned i = 0; i < PAGES_MAX; i++) {
		if (pages[(i + which) % PAGES_MAX].at)
			return pages[(i + which) % PAGES_MAX].at;
	}
	return NULL;
}

/* Only pages that are the program's: all from `at` on that are next to one another, at most `count`. */
static unsigned together(const char *at, unsigned count)
{
	unsigned n = 0;
	bool more = true;

	while (more && n < count) {
		more = false;
		for (unsigned i = 0; i < PAGES_MAX; i++)
			more |= pages[i].at == at + n * page;
		n += more;
	}
	return n;
}

static void map(uint8_t flags, uint8_t where)
{
	unsigned first = where % FILE_PAGES, count = 1 + flags % 4;
	int prot = flags & 4 ? PROT_READ : PROT_READ | PROT_WRITE;
	char *at = NULL, *mapped;

	if (first + count > FILE_PAGES)
		count = FILE_PAGES - first;
	if (free_pages() < count)
		return;
	if (flags & 8) /* over what is there */
		at = some_page(where);
	if (at)
		count = together(at, count);
	if (at && (flags & 32)) { /* something private takes its place first */
		require(mmap(at, count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			     -1, 0) == at,
			"MAP_FIXED");
		forget_pages(at, count);
	}
	session.mode = flags & 16 ? SHIM_REQUIRE : SHIM_PREFER;
	refused = false;
	mapped = mmap(at, count * page, prot, MAP_SHARED | (at ? MAP_FIXED : 0), file_fd,
		      (off_t)(first * page));
	turn();
	if (mapped == MAP_FAILED) { /* it has destroyed nothing */
		if (at && (flags & 32))
			munmap(at, count * page);
		return;
	}
	if (at)
		forget_pages(at, count);
	for (unsigned i = 0; i < count; i++)
		note_page(mapped + i * page, first + i, held[first + i] && !refused);
}

static void unmap(uint8_t which, uint8_t count)
{
	char *at = some_page(which);
	unsigned n = at ? together(at, 1 + count % 8) : 0;

	if (n == 0)
		return;
	TRACE("unmap %u pages at %p\n", n, (void *)at);
	require(munmap(at, n * page) == 0, "munmap");
	forget_pages(at, n);
	turn();
}

/* Moves one page somewhere else. */
static void move(uint8_t which)
{
	char *at = some_page(which), *moved;

	if (!at)
		return;
	TRACE("move the page at %p\n", (void *)at);
	moved = mremap(at, page, page, MREMAP_MAYMOVE | (which & 1 ? MREMAP_DONTUNMAP : 0));
	turn();
	for (unsigned i = 0; moved != MAP_FAILED && i < PAGES_MAX; i++) {
		if (pages[i].at == at)
			pages[i].at = moved;
	}
	if (moved != MAP_FAILED && moved != at)
		munmap(at, page);
}

/* --- a case ------------------------------------------------------------------------------------------------------ */

static void start(void)
{
	char dir[] = "/tmp/fuzz_shim.XXXXXX", path[64];
	struct stat st;

	page = (size_t)sysconf(_SC_PAGESIZE);
	tracing = getenv("FUZZ_TRACE");
	shim_start();
	require(mkdtemp(dir), "mkdtemp");
	snprintf(path, sizeof(path), "%s/sock", dir);
	strcpy(session.socket, path);
	daemon_start(path);
	file_fd = memfd_create("fuzz", MFD_CLOEXEC);
	require(file_fd >= 0 && ftruncate(file_fd, (off_t)(FILE_PAGES * page)) == 0 &&
			fstat(file_fd, &st) == 0,
		"file");
	dev = st.st_dev;
	ino = st.st_ino;
	canary = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(canary != MAP_FAILED, "canary");
	memset(canary, 'c', page);
	say_quiet = true;
}

static void begin(void)
{
	const struct session_pools *old = atomic_load(&session.pools);

	if (old)
		munmap((void *)(uintptr_t)old, (sizeof(*old) + 4095) & ~(size_t)4095);
	if (session.coverage.client)
		arena_destroy(&session.coverage.arena);
	session_forget(true);
	daemon_begin();
}

static void step(const uint8_t *record)
{
	switch (record[0] & 7) {
	case 0:
	case 1:
		map(record[1], record[2]);
		break;
	case 2:
		unmap(record[1], record[2]);
		break;
	case 3:
		move(record[1]);
		break;
	case 4:
		aimed_event(record[1], record[2]);
		if (record[0] & 8)
			listen_now();
		break;
	case 5:
		raw_event(record[1], record[2]);
		break;
	case 6:
		manner = record[1] % (ANSWER_END + 1);
		memcpy(manner_argument, record + 2, 2);
		break;
	case 7:
		listen_now();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!page)
		start();
	begin();
	raw = data + size / 2;
	raw_size = size - size / 2;
	for (unsigned n = 0; n < CASE_MAX && data + 4 * (n + 1) <= raw; n++) {
		step(data + 4 * n);
		turn();
	}
	manner = ANSWER_WELL;
	if (listening)
		listen_now();
	else
		look_at_pages();
	for (unsigned i = 0; i < PAGES_MAX; i++) {
		if (pages[i].at)
			require(munmap(pages[i].at, page) == 0, "munmap");
		pages[i].at = NULL;
	}
	turn();
	require(table_begin() == NULL, "nothing is in the table any more");
	for (unsigned p = 0; p < FILE_PAGES && !lied; p++)
		require(!held[p], "no lease is left");
	return 0;
}
