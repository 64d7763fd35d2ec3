// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The parts of a storm (tests/host/storm): holders that map, write, unmap, fork and die; breakers that look with their own
 * eyes whether anybody wrote after they had gone on; and a killer of daemons.
 *
 *   storm anchor FILE                    until SIGTERM; maps page 0, writes there, and never loses it
 *   storm holder SEED FILE...           until SIGTERM; made to run under the shim, with DAXLEASE_SIGNAL=USR1 or without
 *   storm breaker SEED BOUND_MS FILE    until SIGTERM; nobody else may change the block map of that file
 *   storm once FILE                      maps, writes, unmaps, maps and is broken (tests/host/killpoints)
 *   storm killer SEED KEEPER COUNT SECONDS   SIGKILL for the keeper's child, COUNT times at most
 *
 * The oracle: holders write stamps, which are never zero; breakers only zeros. When a breaker has punched or cut away a range
 * there is nothing a lease could be granted on, until it writes there again. So a byte that is not zero was written by somebody who
 * still had a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 64u /* of a file */
#define PAGE 4096u
#define ODD_MAX 10 /* what should not happen, until a holder gives up */

static uint64_t state;
static volatile sig_atomic_t ended, told;

static uint32_t any(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void rest_us(uint64_t us)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000),
				     .tv_nsec = (long)(us % 1000000) * 1000},
		  NULL);
}

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
}

static void on_told(int sig)
{
	(void)sig;
	told = 1;
}

/* For whoever looks for what went wrong: what was done when, in the daemon log's time. One write, so that lines stay whole. */
static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	char line[256];
	struct timespec t;
	va_list args;
	const int error = errno;
	int n;

	clock_gettime(CLOCK_REALTIME, &t);
	n = snprintf(line, sizeof(line), "%02lld.%06ld %d ", (long long)t.tv_sec % 60,
		     t.tv_nsec / 1000, (int)getpid());
	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = 0; /* nobody reads it */
	errno = error;
}

/* --- holder --------------------------------------------------------------------------------------------- */

static sigjmp_buf taken_away;
static unsigned long maps, refused, buses, odd;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(taken_away, 1);
}

static void expected(const char *what)
{
	if (errno == EAGAIN || errno == ENODATA) {
		refused++;
		return;
	}
	if (odd++ < 5)
		fprintf(stderr, "not expected: %s: %s\n", what, strerror(errno));
}

static void child(volatile char *mapped)
{
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGBUS,
		       SIG_DFL); /* what it inherited of leased mappings is not its own (C26) */
		*mapped = 'c';
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Writes stamps until it has had enough, is told, or the mapping is taken away. */
static void use(volatile char *mapped, size_t pages)
{
	uint64_t until = now_us() + any(40000);

	while (!told && !ended && now_us() < until) {
		for (size_t i = 0; i < pages; i++)
			mapped[i * PAGE + any(PAGE)] = (char)(1 + getpid() % 255);
		rest_us(any(300));
	}
}

static void hold_once(char *const *files, uint32_t count)
{
	uint32_t first = 1 + any(PAGES - 1);
	volatile uint32_t pages = 1 + any(PAGES - first < 16 ? PAGES - first : 16);
	const char *file = files[any(count)];
	int fd = open(file, O_RDWR | O_CLOEXEC);
	char *volatile mapped;

	if (fd < 0) {
		expected("open");
		return;
	}
	told = 0;
	mapped = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      (off_t)first * PAGE);
	close(fd);
	if (mapped == MAP_FAILED) {
		note("refused %s %u+%u: %m", file, first, pages);
		expected("mmap");
		rest_us(1000);
		return;
	}
	note("maps %s %u+%u at %p", file, first, pages, (void *)mapped);
	maps++;
	if (sigsetjmp(taken_away, 1) == 0) {
		use(mapped, pages);
		if (any(50) == 0)
			child(mapped);
	} else {
		buses++;
		note("lost %p", (void *)mapped);
	}
	if (any(100) == 0) {
		note("dies");
		raise(SIGKILL);
	}
	if (any(100) == 0) {
		note("exits");
		_exit(0);
	}
	if (pages > 1 && any(4) == 0) {
		munmap(mapped + pages / 2 * PAGE, (pages - pages / 2) * PAGE);
		pages /= 2;
	}
	munmap(mapped, pages * PAGE);
	note("unmapped %p", (void *)mapped);
}

/* Nobody breaks page 0. So the file stays leased, and nothing passes the guard unseen: an operation that was let go on while a
 * file was not leased, and has not begun when it is, is found only by the second look. */
static int anchor(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	volatile uint64_t *mapped = MAP_FAILED;
	uint64_t stamp = 0;

	while (fd >= 0 && mapped == MAP_FAILED && !ended) {
		mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rest_us(1000);
	}
	if (mapped == MAP_FAILED)
		return 2;
	printf("anchored\n");
	fflush(stdout);
	while (!ended) {
		*mapped = ++stamp;
		rest_us(1000);
		if (*mapped != stamp) {
			fprintf(stderr, "VIOLATION: somebody else wrote to a leased page\n");
			return 1;
		}
	}
	return 0;
}

static int holder(char *const *files, uint32_t count)
{
	signal(SIGBUS, on_bus);
	signal(SIGUSR1, on_told);
	while (!ended && odd < ODD_MAX)
		hold_once(files, count);
	printf("holder: %lu maps, %lu refused, %lu taken away, %lu not expected\n", maps, refused,
	       buses, odd);
	return odd > 0;
}

/* --- breaker -------------------------------------------------------------------------------------------- */

static unsigned long breaks, waited, refused_busy, failed, stained, late;
static uint64_t longest_us;

/* Where there is a byte that is not zero, and which; -1: nowhere. */
static ssize_t find_stamp(int fd, off_t start, size_t length, unsigned char *stamp)
{
	static unsigned char buffer[PAGES * PAGE];
	ssize_t got = pread(fd, buffer, length, start);

	for (ssize_t i = 0; i < got; i++) {
		*stamp = buffer[i];
		if (*stamp)
			return i;
	}
	return -1;
}

static void look(int fd, const char *what, off_t start, size_t length)
{
	static const uint64_t pauses_us[] = {0, 200, 2000};

	for (size_t i = 0; i < sizeof(pauses_us) / sizeof(pauses_us[0]); i++) {
		unsigned char stamp;
		struct timespec t;
		ssize_t at;

		rest_us(pauses_us[i]);
		at = find_stamp(fd, start, length, &stamp);
		if (at < 0)
			continue;
		stained++;
		clock_gettime(CLOCK_REALTIME, &t);
		fprintf(stderr,
			"VIOLATION: %lld.%03ld: process %u (modulo 255) wrote at %lld after a %s "
			"of [%lld, %lld) had returned\n",
			(long long)t.tv_sec % 60, t.tv_nsec / 1000000, stamp - 1u,
			(long long)start + at, what, (long long)start,
			(long long)start + (long long)length);
		return;
	}
}

static int cut(int fd, off_t start, size_t length)
{
	(void)length;
	return ftruncate(fd, start) < 0 ? -1 : ftruncate(fd, PAGES * PAGE);
}

static int punch(int fd, off_t start, size_t length)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, (off_t)length);
}

static void break_once(int fd, uint64_t bound_us)
{
	static const char zeros[PAGES * PAGE];
	bool cuts = any(4) == 0;
	uint32_t first = 1 + any(PAGES - 1), pages = cuts ? PAGES - first : 1 + any(PAGES - first);
	off_t start = (off_t)first * PAGE;
	size_t length = (size_t)pages * PAGE;
	uint64_t begin = now_us(), took;
	int rc = cuts ? cut(fd, start, length) : punch(fd, start, length);

	took = now_us() - begin;
	note("%s %u+%u: %d, %llu us", cuts ? "cut" : "punch", first, pages, rc < 0 ? errno : 0,
	     (unsigned long long)took);
	breaks++;
	waited += took > 2000;
	if (took > longest_us)
		longest_us = took;
	if (took > bound_us && late++ < 5)
		fprintf(stderr, "VIOLATION: a breaker waited for %llu ms\n",
			(unsigned long long)took / 1000);
	if (rc < 0 && errno == EBUSY) {
		refused_busy++;
		return;
	}
	if (rc < 0) {
		if (failed++ < 5)
			fprintf(stderr, "a %s failed: %s\n", cuts ? "truncate" : "punch",
				strerror(errno));
		return;
	}
	look(fd, cuts ? "truncate" : "punch", start, length);
	while (pwrite(fd, zeros, length, start) != (ssize_t)length) {
		if (errno != EBUSY) {
			failed++;
			return;
		}
		refused_busy++;
	}
	failed += fdatasync(fd) < 0;
}

static int breaker(const char *path, uint64_t bound_ms)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		perror(path);
		return 2;
	}
	while (!ended) {
		break_once(fd, bound_ms * 1000);
		rest_us(any(60000));
	}
	printf("breaker: %lu breaks, %lu waited, %lu refused, %lu failed, longest %llu ms, %lu "
	       "late, %lu stained\n",
	       breaks, waited, refused_busy, failed, (unsigned long long)longest_us / 1000, late,
	       stained);
	return stained || late ? 1 : 0;
}

/* --- one by one ------------------------------------------------------------------------------------------- */

#define ONCE_FIRST 4u
#define ONCE_PAGES 8u
#define ONCE_TRIES 200

/* Mapped, or the program ends: a refusal that a program has to expect is tried again. */
static volatile char *map_once(int fd)
{
	for (int tries = 0; tries < ONCE_TRIES; tries++) {
		void *mapped = mmap(NULL, ONCE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				    (off_t)ONCE_FIRST * PAGE);

		if (mapped != MAP_FAILED)
			return mapped;
		if (errno != EAGAIN)
			break;
		rest_us(20000);
	}
	perror("mmap");
	exit(1);
}

static void write_once(volatile char *mapped)
{
	for (size_t i = 0; i < ONCE_PAGES; i++)
		mapped[i * PAGE] = 1;
}

/* Breaks when it is told to, and looks. */
static int break_when_told(const char *path, int told_fd)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const off_t start = (off_t)ONCE_FIRST * PAGE;
	char byte;

	if (fd < 0 || read(told_fd, &byte, 1) != 1)
		return 1;
	while (punch(fd, start, ONCE_PAGES * PAGE) < 0) {
		if (errno != EBUSY) { /* refused in the instant of the kill */
			perror("punch");
			return 1;
		}
	}
	look(fd, "punch", start, ONCE_PAGES * PAGE);
	return stained > 0;
}

static int once(const char *path)
{
	static const char zeros[PAGES * PAGE];
	int fd = open(path, O_RDWR | O_CLOEXEC), pair[2], status;
	volatile char *mapped;
	ssize_t written = -1;
	pid_t child;

	while (fd >= 0 && (written = pwrite(fd, zeros, sizeof(zeros), 0)) < 0 && errno == EBUSY)
		; /* in the very instant of the kill: nothing says which file it was */
	if (written != sizeof(zeros) || fdatasync(fd) < 0 || pipe2(pair, O_CLOEXEC) < 0) {
		perror(path);
		return 1;
	}
	child = fork();
	if (child < 0)
		return 1;
	if (child == 0)
		_exit(break_when_told(path, pair[0]));
	signal(SIGBUS, on_bus);
	mapped = map_once(fd);
	write_once(mapped);
	if (munmap((void *)(uintptr_t)mapped, ONCE_PAGES * PAGE) < 0)
		return 1;
	mapped = map_once(fd);
	if (write(pair[1], "", 1) != 1)
		return 1;
	/* Unless it is taken away, the child finds what is written, and ends. */
	if (sigsetjmp(taken_away, 1) == 0) {
		siginfo_t gone;

		do {
			write_once(mapped);
			gone.si_pid = 0;
			waitid(P_PID, (id_t)child, &gone, WEXITED | WNOHANG | WNOWAIT);
		} while (gone.si_pid == 0);
		write_once(mapped);
		fprintf(stderr, "not expected: not taken away\n");
		return 1;
	}
	return waitpid(child, &status, 0) != child || status != 0;
}

/* --- killer --------------------------------------------------------------------------------------------- */

static pid_t child_of(pid_t keeper)
{
	char path[64], text[64] = "";
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	children = fopen(path, "re");
	if (!children)
		return -1;
	if (!fgets(text, sizeof(text), children))
		text[0] = 0;
	fclose(children);
	return (pid_t)atol(text);
}

static int killer(pid_t keeper, unsigned long count, unsigned seconds)
{
	uint64_t until = now_us() + seconds * 1000000ull;
	unsigned long kills = 0;
	pid_t last = 0;

	while (!ended && kills < count && now_us() < until) {
		pid_t pid = child_of(keeper);

		if (pid < 0)
			break;
		if (pid == 0 || pid == last) {
			rest_us(500);
			continue;
		}
		/* often while it starts, often while it works */
		rest_us(any(6) == 0 ? any(8000) : any(120000));
		if (child_of(keeper) != pid || kill(pid, SIGKILL) < 0)
			continue;
		kills++;
		last = pid;
	}
	printf("killer: %lu kills\n", kills);
	return kills == 0;
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_end};

	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	if (argc > 2)
		state = strtoull(argv[2], NULL, 10) * 2654435761u + 1;
	if (argc == 3 && !strcmp(argv[1], "anchor"))
		return anchor(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "once"))
		return once(argv[2]);
	if (argc >= 4 && !strcmp(argv[1], "holder"))
		return holder(argv + 3, (uint32_t)(argc - 3));
	if (argc == 5 && !strcmp(argv[1], "breaker"))
		return breaker(argv[4], strtoull(argv[3], NULL, 10));
	if (argc == 6 && !strcmp(argv[1], "killer"))
		return killer((pid_t)atol(argv[3]), strtoul(argv[4], NULL, 10),
			      (unsigned)atoi(argv[5]));
	fprintf(stderr, "usage: see the top of tests/host/storm.c\n");
	return 2;
}
