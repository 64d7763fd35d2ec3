// SPDX-License-Identifier: LGPL-2.1-or-later
/* Coverage against a naive model: random takings and givings back, every page counted. */
#include "libshim/coverage.h"

#include <sys/stat.h>
#include <fcntl.h>

#include "tests/unit/shim_check.h"
#include "tests/unit/shim_daemon.h"

#define PAGES 64u
#define STEPS 20000u

static struct client client;
static struct coverage coverage;
static struct stat file;
static int file_fd;
static uint64_t page;

static int take_pages(unsigned first, unsigned end)
{
	struct coverage_take take;
	struct dlp_grant_reply reply;
	int error = coverage_begin(&coverage, &take, file.st_dev, file.st_ino, first * page,
				   end * page, 0);

	CHECK(error >= 0);
	if (error > 0)
		error = coverage_ask(&coverage, &take, file_fd, &reply, NULL, NULL);
	coverage_end(&coverage, &take, error == 0);
	return error;
}

static void drop_pages(unsigned first, unsigned end)
{
	coverage_drop(&coverage, file.st_dev, file.st_ino, first * page, end * page);
}

static void counts_references(void)
{
	unsigned before = fake_grants();

	CHECK(take_pages(0, 8) == 0 && fake_held(0, FAKE_PAGES) == 8);
	CHECK(take_pages(2, 4) == 0 && fake_grants() == before + 1);
	drop_pages(0, 8);
	CHECK(fake_wait_held(0, FAKE_PAGES, 2) && fake_held(2, 4) == 2);
	drop_pages(2, 4);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0));
}

static void refusal_leaves_nothing(void)
{
	CHECK(take_pages(4, 6) == 0);
	fake_refuse(DLP_REASON_HOLE);
	CHECK(take_pages(0, 10) == -ENODATA);
	fake_refuse(0);
	CHECK(fake_held(0, FAKE_PAGES) == 2 &&
	      coverage_held(&coverage, file.st_dev, file.st_ino, 4 * page, 6 * page));
	CHECK(!coverage_held(&coverage, file.st_dev, file.st_ino, 3 * page, 6 * page));
	drop_pages(4, 6);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
}

/* A revocation between begin and end takes the references; what comes behind it is another. */
static void revoked_while_asked(void)
{
	struct coverage_take take;
	struct dlp_grant_reply reply;

	CHECK(coverage_begin(&coverage, &take, file.st_dev, file.st_ino, 0, 8 * page, 0) == 1);
	CHECK(coverage_ask(&coverage, &take, file_fd, &reply, NULL, NULL) == 0);
	coverage_forget(&coverage, file.st_dev, file.st_ino, 2 * page, 4 * page);
	CHECK(take_pages(2, 3) == 0);
	coverage_end(&coverage, &take, true);
	/* the older end says of page 3, where nobody stands, that it is not needed; 2 is the newer
	 * one's */
	CHECK(fake_wait_held(3, 4, 0) && fake_held(0, 8) == 7);
	drop_pages(0, 2);
	drop_pages(4, 8);
	CHECK(fake_wait_held(0, FAKE_PAGES, 1) && fake_held(2, 3) == 1);
	drop_pages(2, 3);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
}

/* The older taking's end neither makes the newer one's range held nor takes its reference. */
static void older_end_is_not_the_newer(void)
{
	struct coverage_take older, newer;
	struct dlp_grant_reply reply;

	for (int granted = 0; granted < 2; granted++) {
		CHECK(coverage_begin(&coverage, &older, file.st_dev, file.st_ino, 0, 4 * page, 0) ==
		      1);
		coverage_forget(&coverage, file.st_dev, file.st_ino, 0, 4 * page);
		CHECK(coverage_begin(&coverage, &newer, file.st_dev, file.st_ino, 0, 4 * page, 0) ==
		      1);
		coverage_end(&coverage, &older, granted);
		CHECK(!coverage_held(&coverage, file.st_dev, file.st_ino, 0, page));
		CHECK(coverage_ask(&coverage, &newer, file_fd, &reply, NULL, NULL) == 0);
		coverage_end(&coverage, &newer, true);
		CHECK(coverage_held(&coverage, file.st_dev, file.st_ino, 0, 4 * page) &&
		      fake_held(0, 4) == 4);
		drop_pages(0, 4);
		CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
	}
}

static void last_page_ends_at_its_size(void)
{
	struct coverage_take take;

	CHECK(coverage_begin(&coverage, &take, file.st_dev, file.st_ino, 1, page + 1, 0) == 1);
	CHECK(take.start == 0 && take.end == 2 * page && take.ask_start == 1 &&
	      take.ask_end == page + 1);
	coverage_end(&coverage, &take, false);
	CHECK(coverage.ranges.count == 0);
}

/* An event that comes late is not about what was granted after it. */
static void later_grants_are_not_meant(void)
{
	struct coverage_take take;
	struct dlp_grant_reply reply;
	uint64_t start = 0, end, epoch;

	CHECK(take_pages(0, 4) == 0);
	CHECK(coverage_begin(&coverage, &take, file.st_dev, file.st_ino, 4 * page, 6 * page, 0) ==
	      1);
	CHECK(coverage_ask(&coverage, &take, file_fd, &reply, NULL, NULL) == 0);
	epoch = reply.epoch;
	coverage_end(&coverage, &take, true);
	CHECK(coverage_meant(&coverage, file.st_dev, file.st_ino, &start, 10 * page, epoch - 1,
			     &end));
	CHECK(start == 0 && end == 4 * page);
	start = end;
	CHECK(coverage_meant(&coverage, file.st_dev, file.st_ino, &start, 10 * page, epoch - 1,
			     &end));
	CHECK(start == 6 * page && end == 10 * page);
	start = end;
	CHECK(!coverage_meant(&coverage, file.st_dev, file.st_ino, &start, 10 * page, epoch - 1,
			      &end));
	start = 0;
	CHECK(coverage_meant(&coverage, file.st_dev, file.st_ino, &start, 10 * page, epoch, &end));
	CHECK(start == 0 && end == 10 * page);
	drop_pages(0, 6);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
}

/* What is held to freeze only is asked for again by whoever maps it; the other way round nothing is
 * asked. */
static void freeze_and_mapping(void)
{
	struct coverage_take freeze, mapped;
	struct dlp_grant_reply reply;

	CHECK(coverage_begin(&coverage, &freeze, file.st_dev, file.st_ino, 0, page,
			     DLP_GRANT_FREEZE) == 1);
	CHECK(coverage_ask(&coverage, &freeze, file_fd, &reply, NULL, NULL) == 0);
	coverage_end(&coverage, &freeze, true);
	CHECK(coverage_begin(&coverage, &mapped, file.st_dev, file.st_ino, 0, page, 0) == 1);
	CHECK(coverage_ask(&coverage, &mapped, file_fd, &reply, NULL, NULL) == 0);
	coverage_end(&coverage, &mapped, true);
	CHECK(coverage_begin(&coverage, &freeze, file.st_dev, file.st_ino, 0, page,
			     DLP_GRANT_FREEZE) == 0);
	coverage_end(&coverage, &freeze, true);
	drop_pages(0, 1);
	drop_pages(0, 1);
	drop_pages(0, 1);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
}

static void like_a_naive_model(void)
{
	unsigned model[PAGES] = {0}, taken[12][2], count = 0;
	unsigned random = 1;

	for (unsigned step = 0; step < STEPS; step++) {
		unsigned held = 0, first, end;

		random = random * 1103515245u + 12345u;
		if (count == 12 || (count > 0 && (random >> 16) % 2)) {
			unsigned which = (random >> 20) % count;

			first = taken[which][0];
			end = taken[which][1];
			drop_pages(first, end);
			for (unsigned i = first; i < end; i++)
				model[i]--;
			memcpy(taken[which], taken[--count], sizeof(taken[0]));
		} else {
			first = (random >> 8) % PAGES;
			end = first + 1 + (random >> 24) % 16;
			end = end > PAGES ? PAGES : end;
			CHECK(take_pages(first, end) == 0);
			for (unsigned i = first; i < end; i++)
				model[i]++;
			taken[count][0] = first;
			taken[count++][1] = end;
		}
		for (unsigned i = 0; i < PAGES; i++) {
			held += model[i] > 0;
			CHECK(coverage_held(&coverage, file.st_dev, file.st_ino, i * page,
					    (i + 1) * page) == (model[i] > 0));
		}
		if (step % 64 == 0)
			CHECK(fake_wait_held(0, FAKE_PAGES, held));
	}
	while (count-- > 0)
		drop_pages(taken[count][0], taken[count][1]);
	CHECK(fake_wait_held(0, FAKE_PAGES, 0) && coverage.ranges.count == 0);
}

int main(void)
{
	static const struct check_test tests[] = {
		{"references are counted", counts_references},
		{"a refusal leaves nothing behind", refusal_leaves_nothing},
		{"a revocation while the daemon is asked", revoked_while_asked},
		{"two takings with a revocation between", older_end_is_not_the_newer},
		{"ends that are no page's", last_page_ends_at_its_size},
		{"an event that comes late", later_grants_are_not_meant},
		{"freezing and mapping one range", freeze_and_mapping},
		{"twenty thousand steps like a naive model", like_a_naive_model},
		{0},
	};
	char dir[] = "/tmp/shim_coverage.XXXXXX", path[64], socket_path[64];
	int result;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	file_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(file_fd >= 0 && fstat(file_fd, &file) == 0);
	fake_start(socket_path, file.st_dev, file.st_ino, DLP_POOL_MOUNT);
	CHECK(client_connect(&client, socket_path, DLP_ROLE_HOLDER) == 0);
	coverage_init(&coverage, &client);
	result = check_all(tests);
	unlink(path);
	unlink(socket_path);
	rmdir(dir);
	return result;
}
