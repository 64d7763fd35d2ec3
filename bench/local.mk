# SPDX-License-Identifier: LGPL-2.1-or-later
# What bench/run takes the times of.
EXTRA_DIST += bench/figures.py bench/rows.py bench/run bench/scratch.py

bench_programs = bench_calls bench_core bench_leases bench_verbs
check_PROGRAMS += $(bench_programs)
bench-programs: $(bench_programs)
.PHONY: bench-programs

# Not sanitized: it runs under the shim.
bench_calls_SOURCES = bench/calls.c bench/subject.c bench/subject.h
bench_calls_CFLAGS = -std=gnu17 $(WARNINGS)
bench_calls_LDFLAGS =
bench_calls_LDADD = -lpthread

bench_core_SOURCES = bench/core.c bench/subject.c bench/subject.h
bench_core_LDADD = libcore.la

bench_leases_SOURCES = bench/leases.c bench/subject.c bench/subject.h
bench_leases_LDADD = libdaxlease.la

# Not sanitized, as bench_calls.
bench_verbs_SOURCES = bench/verbs.c bench/subject.c bench/subject.h
bench_verbs_CFLAGS = -std=gnu17 $(WARNINGS)
bench_verbs_LDFLAGS =
bench_verbs_LDADD = $(LIBIBVERBS_LIBS)
