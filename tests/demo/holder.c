// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An ordinary program that knows nothing of daxlease: it maps a file and keeps writing to it, as a
 * database or key-value store would. The demo runs it under daxlease-run.
 *
 * usage: holder FILE Says when it has mapped and written, and which address SIGBUS came from. Exit
 * status: 10 after SIGBUS.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SIGBUS 10

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	static const char adrerr[] = "SIGBUS (BUS_ADRERR): the mapping has been taken away\n";
	static const char other[] = "SIGBUS, but not BUS_ADRERR\n";
	const char *text = info->si_code == BUS_ADRERR ? adrerr : other;

	(void)signal;
	(void)context;
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_SIGBUS);
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	volatile unsigned char *data;
	struct stat st;
	int fd;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: holder FILE");
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, NULL) != 0)
		err(EXIT_FAILURE, "sigaction");
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		err(EXIT_FAILURE, "%s", argv[1]);
	data = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		err(EXIT_FAILURE, "mmap %s", argv[1]);
	close(fd);

	for (unsigned long round = 0;; round++) {
		/* One byte a page, never 0: what is written after a hole was punched would show. */
		for (off_t at = 0; at < st.st_size; at += 4096)
			data[at] = (unsigned char)(round | 1);
		if (round == 0) {
			printf("mapped and wrote %lld KiB, goes on writing\n",
			       (long long)st.st_size / 1024);
			fflush(stdout);
		}
		nanosleep(&pause, NULL);
	}
}
