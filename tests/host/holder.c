// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A program that maps a file and uses the mapping, and knows nothing of leases. Says on stdout what happens to it.
 *
 *   holder [options] FILE [OFFSET LENGTH]
 *     --let-go        unmaps on SIGUSR1 (DAXLEASE_SIGNAL=USR1), then says "let go"
 *     --child         forks a child that outlives it (it says "child N")
 *     --sharer        starts a process that shares its memory and writes to the mapping without end ("sharer N")
 *     --truncate F    on SIGUSR2 truncates the file F to 0, and says how that ended
 *     --twice         maps the range a second time, and says "mapped" then
 *     --once          touches the mapping once and waits, instead of writing all the time
 *     --exec          on SIGUSR2 executes sleep(1)
 *     --unmap-half    on SIGUSR2 unmaps the second half of the range
 * It ends with 0 on SIGTERM, and with 3 after SIGBUS ("SIGBUS adrerr ADDRESS-OFFSET").
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t let_go, act, end;
static char *map;
static size_t length;

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(9);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	char line[80];

	(void)sig;
	(void)context;
	snprintf(line, sizeof(line), "SIGBUS %s %td\n", info->si_code == BUS_ADRERR ? "adrerr" : "other",
		 (char *)info->si_addr - map);
	say(line);
	_exit(3);
}

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		let_go = 1;
	else if (sig == SIGUSR2)
		act = 1;
	else
		end = 1;
}

/* Knows nothing of its parent's end. No C library: its thread data is the parent's. */
static int share(void *unused)
{
	(void)unused;
	while (map) {
		*(volatile char *)map = 'S';
		syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return 0;
}

static void start_sharer(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	printf("sharer %d\n", clone(share, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL));
}

static void say_result(const char *what, int rc)
{
	printf("%s %d %s\n", what, rc, rc < 0 ? strerror(errno) : "ok");
	fflush(stdout);
}

static char *map_file(const char *file, off_t offset)
{
	int fd = open(file, O_RDWR);
	struct stat st;
	char *address;

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(file);
		exit(1);
	}
	if (length == 0)
		length = (size_t)(st.st_size - offset);
	address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (address == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	close(fd);
	return address;
}

int main(int argc, char **argv)
{
	enum { LET_GO = 1, CHILD, SHARER, TRUNCATE, TWICE, ONCE, EXEC, HALF };
	static const struct option table[] = {
		{"let-go", 0, NULL, LET_GO}, {"child", 0, NULL, CHILD}, {"sharer", 0, NULL, SHARER},
		{"truncate", 1, NULL, TRUNCATE}, {"twice", 0, NULL, TWICE},   {"once", 0, NULL, ONCE},	  {"exec", 0, NULL, EXEC},
		{"unmap-half", 0, NULL, HALF}, {NULL, 0, NULL, 0},
	};
	struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	struct sigaction act_on = {.sa_handler = on_signal};
	const char *other = NULL;
	int c, child = 0, sharer = 0, twice = 0, once = 0, exec = 0, half = 0;
	off_t offset;

	while ((c = getopt_long(argc, argv, "+", table, NULL)) != -1) {
		if (c == '?')
			return 2;
		other = c == TRUNCATE ? optarg : other;
		child |= c == CHILD;
		sharer |= c == SHARER;
		twice |= c == TWICE;
		once |= c == ONCE;
		exec |= c == EXEC;
		half |= c == HALF;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGUSR1, &act_on, NULL);
	sigaction(SIGUSR2, &act_on, NULL);
	sigaction(SIGTERM, &act_on, NULL);
	offset = optind + 1 < argc ? atoll(argv[optind + 1]) : 0;
	length = optind + 2 < argc ? (size_t)atoll(argv[optind + 2]) : 0;
	map = map_file(argv[optind], offset);
	if (twice)
		map_file(argv[optind], offset);
	if (child) {
		pid_t pid = fork();

		if (pid == 0) {
			pause();
			_exit(0);
		}
		printf("child %d\n", pid);
	}
	if (sharer)
		start_sharer();
	map[0] = 'h';
	printf("mapped %d\n", getpid());
	fflush(stdout);
	for (unsigned i = 0; !end; i++) {
		if (let_go) {
			munmap(map, length);
			say("let go\n");
			while (!end)
				pause();
			break;
		}
		if (act && other)
			say_result("truncate", truncate(other, 0));
		if (act && exec)
			execlp("sleep", "sleep", "1000", NULL);
		if (act && half)
			say_result("munmap", munmap(map + length / 2, length / 2));
		act = 0;
		if (!once)
			map[(i * 64) % (half ? length / 2 : length)] = (char)('a' + i % 26);
		usleep(1000);
	}
	say("end\n");
	return 0;
}
