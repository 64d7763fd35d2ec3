// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A program that maps a file and lives through the end of its lease, and others that make fencing it hard.
 *
 *   fence_holder [options] FILE     maps FILE, says "mapped PID"; then, whenever it gets
 *       SIGUSR2   writes a byte into every page and says "looked: N gone, M written"
 *       SIGUSR1   unmaps FILE, maps it again, writes into it and says "again: N gone, M written"
 *     --raw           takes the lease itself, and never reads what the daemon says
 *     --deaf          blocks all signals, and says "looked" in a loop
 *     --wait FILE     on SIGUSR2 truncates that file: waits for its holder
 *     --no-mmap HOW   from then on a seccomp filter refuses mmap(2), or (HOW "kill") ends the process for it
 *   fence_holder --trace PID        becomes the tracer of all its threads, which stop, and says "tracing N"
 *   fence_holder --hang PID         the same with the thread "daxlease" only
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libshim/client.h"

#define PAGE 4096

static volatile sig_atomic_t wanted;
static sigjmp_buf fault;
static char *map;
static size_t length;
static struct client client;

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	siglongjmp(fault, info->si_code == BUS_ADRERR ? 1 : 2);
}

static void on_signal(int sig)
{
	wanted = sig;
}

static bool write_byte(volatile char *page)
{
	int code = sigsetjmp(fault, 1);

	if (code == 2)
		puts("SIGBUS, but not BUS_ADRERR");
	if (code)
		return false;
	*page = 'h';
	return true;
}

static void look(const char *how)
{
	volatile unsigned written = 0;

	for (volatile size_t at = 0; at < length; at += PAGE)
		written += write_byte(map + at);
	printf("%s: %zu gone, %u written\n", how, length / PAGE - written, written);
}

static void map_file(const char *file)
{
	int fd = open(file, O_RDWR);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(file);
	length = (size_t)st.st_size;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	close(fd);
}

static void take_lease(const char *file)
{
	struct dlp_grant ask = {.head.opcode = DLP_GRANT, .flags = DLP_GRANT_WRITE};
	struct dlp_grant_reply reply;
	int fd = open(file, O_RDWR);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(file);
	ask.end = (uint64_t)st.st_size;
	if (client_connect(&client, getenv("DAXLEASE_SOCKET"), DLP_ROLE_HOLDER) < 0)
		die("client_connect");
	if (client_request(&client, &ask.head, sizeof(ask), fd, &reply, sizeof(reply)) < 0 || reply.head.error)
		die("DLP_GRANT");
	close(fd);
}

static void refuse_mmap(bool kill_it)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, kill_it ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
		die("seccomp");
}

/* --- a tracer --------------------------------------------------------------------------------------------- */

static bool is_named(const char *task, const char *tid, const char *name)
{
	char path[512], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/comm", task, tid);
	file = fopen(path, "re");
	if (file && !fgets(comm, sizeof(comm), file))
		comm[0] = 0;
	if (file)
		fclose(file);
	return strncmp(comm, name, strlen(name)) == 0 && comm[strlen(name)] == '\n';
}

__attribute__((noreturn)) static void trace(const char *pid, bool hang)
{
	char task[64];
	const struct dirent *entry;
	int traced = 0;
	DIR *dir;

	snprintf(task, sizeof(task), "/proc/%s/task", pid);
	dir = opendir(task);
	if (!dir)
		die(task);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || (hang && !is_named(task, entry->d_name, "daxlease")))
			continue;
		if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
			die("PTRACE_SEIZE");
		if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 || waitpid(tid, NULL, __WALL) < 0)
			die("PTRACE_INTERRUPT");
		traced++;
	}
	printf("tracing %d\n", traced);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	enum { RAW = 1, DEAF, WAIT, NO_MMAP, TRACE, HANG };
	static const struct option table[] = {
		{"raw", 0, NULL, RAW},	       {"deaf", 0, NULL, DEAF},	  {"wait", 1, NULL, WAIT},
		{"no-mmap", 1, NULL, NO_MMAP}, {"trace", 1, NULL, TRACE}, {"hang", 1, NULL, HANG},
		{NULL, 0, NULL, 0},
	};
	struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	struct sigaction act = {.sa_handler = on_signal};
	const char *wait_for = NULL, *no_mmap = NULL;
	bool raw = false, deaf = false;
	sigset_t all, before;
	int c;

	setvbuf(stdout, NULL, _IONBF, 0);
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (c == TRACE || c == HANG)
			trace(optarg, c == HANG);
		raw |= c == RAW;
		deaf |= c == DEAF;
		wait_for = c == WAIT ? optarg : wait_for;
		no_mmap = c == NO_MMAP ? optarg : no_mmap;
	}
	if (optind != argc - 1)
		return 2;
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR2, &act, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigprocmask(SIG_BLOCK, &all, &before);
	if (raw)
		take_lease(argv[optind]);
	map_file(argv[optind]);
	map[0] = 'h';
	if (no_mmap)
		refuse_mmap(strcmp(no_mmap, "kill") == 0);
	printf("mapped %d\n", getpid());
	for (;;) {
		if (deaf)
			usleep(10000);
		else
			sigsuspend(&before);
		if (wanted == SIGUSR2 && wait_for)
			printf("truncate %d\n", truncate(wait_for, 0));
		else if (wanted == SIGUSR2)
			look("looked");
		if (wanted == SIGUSR1) {
			munmap(map, length);
			map_file(argv[optind]);
			look("again");
		}
		wanted = 0;
	}
}
