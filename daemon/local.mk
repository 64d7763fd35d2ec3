# SPDX-License-Identifier: LGPL-2.1-or-later
include daemon/core/local.mk
include daemon/guard/local.mk
include daemon/pool/local.mk

sbin_PROGRAMS += daxleased
daxleased_SOURCES = \
	daemon/admin.c \
	daemon/answers.c \
	daemon/breaks.c \
	daemon/closer.c \
	daemon/closer.h \
	daemon/closures.c \
	daemon/config.c \
	daemon/config.h \
	daemon/daemon.h \
	daemon/devices.c \
	daemon/fence.c \
	daemon/files.c \
	daemon/grants.c \
	daemon/holders.c \
	daemon/hook.c \
	daemon/hook.h \
	daemon/journal.c \
	daemon/journal.h \
	daemon/keeper.c \
	daemon/keeper.h \
	daemon/keeper_start.c \
	daemon/keeper_start.h \
	daemon/keeper_table.c \
	daemon/keeper_table.h \
	daemon/leased.c \
	daemon/log.c \
	daemon/log.h \
	daemon/main.c \
	daemon/modified.c \
	daemon/mrs.c \
	daemon/notify.c \
	daemon/notify.h \
	daemon/pools.c \
	daemon/receive.c \
	daemon/reports.c \
	daemon/returned.c \
	daemon/saved.c \
	daemon/saved.h \
	daemon/saved_inside.h \
	daemon/saved_open.c \
	daemon/sessions.c \
	daemon/store.c \
	daemon/store.h \
	daemon/store_ask.c \
	daemon/store_inside.h \
	daemon/store_kinds.c \
	daemon/store_kinds.h \
	daemon/store_start.c \
	daemon/test_build.h \
	daemon/users.c \
	daemon/uverbs.c \
	daemon/uverbs.h \
	daemon/worker.c \
	daemon/worker.h \
	daemon/worker_fence.c \
	daemon/worker_jobs.c \
	daemon/worker_jobs.h \
	daemon/worker_maps.c \
	daemon/worker_spawn.c
daxleased_CPPFLAGS = $(AM_CPPFLAGS) -DSYSCONFDIR='"$(sysconfdir)"' $(LIBEVENT_CFLAGS) $(LIBSYSTEMD_CFLAGS) $(INIH_CFLAGS) \
	$(LIBIBVERBS_CFLAGS) $(LIBDAXCTL_CFLAGS)
daxleased_LDADD = libcore.la libguard.la libpool.la libproto.la $(LIBEVENT_LIBS) $(LIBSYSTEMD_LIBS) $(INIH_LIBS) $(LIBDAXCTL_LIBS) \
	-lpthread
