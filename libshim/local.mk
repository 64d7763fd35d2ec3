# libdaxlease, the preload shim, and daxlease-run. Both libraries take in what they share, hidden, and the shim is never
# sanitized: a sanitizer's runtime cannot come into a program by preload. (The tests link the shim's objects.)
shim_shared_sources = \
	libshim/arena.c \
	libshim/arena.h \
	libshim/client.c \
	libshim/client.h \
	libshim/coverage.c \
	libshim/coverage.h \
	libshim/inherit.c \
	libshim/inherit.h \
	libshim/tree.c \
	libshim/tree.h \
	proto/proto.h \
	proto/protocol.h \
	proto/validate.c \
	proto/wire.c \
	proto/words.c

shim_sources = \
	$(shim_shared_sources) \
	daemon/uverbs.c \
	daemon/uverbs.h \
	libshim/shim_end.c \
	libshim/shim_end.h \
	libshim/shim_fork.c \
	libshim/shim_fork.h \
	libshim/shim_hook.c \
	libshim/shim_hook.h \
	libshim/shim_memory.c \
	libshim/shim_mr.c \
	libshim/shim_mr.h \
	libshim/shim_real_verbs.c \
	libshim/shim_real_verbs.h \
	libshim/shim_revoke.c \
	libshim/shim_session.c \
	libshim/shim_session.h \
	libshim/shim_start.c \
	libshim/shim_table.c \
	libshim/shim_table.h \
	libshim/shim_unmap.c \
	libshim/shim_verbs.c

include_HEADERS += libshim/daxlease.h

lib_LTLIBRARIES += libdaxlease.la
libdaxlease_la_SOURCES = $(shim_shared_sources) libshim/daxlease.h libshim/lease.c
libdaxlease_la_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
libdaxlease_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
libdaxlease_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined \
	-Wl,--version-script=$(top_srcdir)/libshim/daxlease.map
libdaxlease_la_DEPENDENCIES = libshim/daxlease.map

pkglib_LTLIBRARIES += libdaxlease-shim.la
libdaxlease_shim_la_SOURCES = $(shim_sources)
libdaxlease_shim_la_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBIBVERBS_CFLAGS)
libdaxlease_shim_la_CFLAGS = -std=gnu17 $(WARNINGS) -fvisibility=hidden
libdaxlease_shim_la_LDFLAGS = -module -avoid-version -no-undefined -Wl,-z,nodelete -Wl,-z,now \
	-Wl,--version-script=$(top_srcdir)/libshim/shim.map
libdaxlease_shim_la_DEPENDENCIES = libshim/shim.map

bin_PROGRAMS += daxlease-run
daxlease_run_SOURCES = ctl/daxlease-run.c
daxlease_run_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE -DPKGLIBDIR='"$(pkglibdir)"'

# Answers revocations without taking anything away: for tests of the tests, never installed.
check_LTLIBRARIES += libdaxlease-shim-norevoke.la
libdaxlease_shim_norevoke_la_SOURCES = $(shim_sources)
libdaxlease_shim_norevoke_la_CPPFLAGS = $(libdaxlease_shim_la_CPPFLAGS) -DSHIM_TEST_NO_REVOKE
libdaxlease_shim_norevoke_la_CFLAGS = $(libdaxlease_shim_la_CFLAGS)
libdaxlease_shim_norevoke_la_LDFLAGS = $(libdaxlease_shim_la_LDFLAGS) -rpath /nowhere

EXTRA_DIST += libshim/daxlease.map libshim/shim.map

# The shim in a program of its own: so that sanitizers see it all.
shim_test_sources = $(shim_sources) tests/unit/shim_check.h tests/unit/shim_daemon.c tests/unit/shim_daemon.h \
	tests/unit/shim_names.h
shim_test_cppflags = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBIBVERBS_CFLAGS) -include $(top_srcdir)/tests/unit/shim_names.h

# Each source is compiled once for all of them.
check_LTLIBRARIES += libshimtest.la
libshimtest_la_SOURCES = $(shim_test_sources)
libshimtest_la_CPPFLAGS = $(shim_test_cppflags)

shim_tests = shim_coverage shim_hooks shim_threads
check_PROGRAMS += $(shim_tests)
TESTS += $(shim_tests)
shim_coverage_SOURCES = tests/unit/shim_coverage.c
shim_coverage_CPPFLAGS = $(shim_test_cppflags)
shim_coverage_LDADD = libshimtest.la -lpthread
shim_hooks_SOURCES = tests/unit/shim_hooks.c
shim_hooks_CPPFLAGS = $(shim_test_cppflags)
shim_hooks_LDADD = libshimtest.la -lpthread
shim_threads_SOURCES = tests/unit/shim_threads.c
shim_threads_CPPFLAGS = $(shim_test_cppflags)
shim_threads_LDADD = libshimtest.la -lpthread

# What MRs keep: run under daxlease-run in the guest.
check_PROGRAMS += shim_mr
shim_mr_SOURCES = tests/guest/shim_mr.c tests/unit/shim_check.h daemon/uverbs.c daemon/uverbs.h
shim_mr_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBIBVERBS_CFLAGS)
shim_mr_LDADD = $(LIBIBVERBS_LIBS)

check_PROGRAMS += devdax_map
devdax_map_SOURCES = tests/guest/devdax_map.c tests/unit/shim_check.h
devdax_map_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBIBVERBS_CFLAGS)
devdax_map_LDADD = $(LIBIBVERBS_LIBS)

# Speaks the protocol without the shim.
check_PROGRAMS += mr_begun
mr_begun_SOURCES = tests/guest/mr_begun.c tests/unit/shim_check.h $(shim_shared_sources)
mr_begun_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBIBVERBS_CFLAGS)
mr_begun_LDADD = $(LIBIBVERBS_LIBS) -lpthread

EXTRA_DIST += tests/host/shim_threads
