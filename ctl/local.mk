# SPDX-License-Identifier: LGPL-2.1-or-later
bin_PROGRAMS += daxleasectl

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = ctl/completion/daxleasectl

daxleasectl_SOURCES = \
	ctl/commands.h \
	ctl/connection.h \
	ctl/daxleasectl.c \
	ctl/daxleasectl_break.c \
	ctl/daxleasectl_commands.c \
	ctl/daxleasectl_connection.c \
	ctl/daxleasectl_doctor.c \
	ctl/daxleasectl_drain.c \
	ctl/daxleasectl_escapes.c \
	ctl/daxleasectl_machine.c \
	ctl/daxleasectl_prepare.c \
	ctl/daxleasectl_processes.c \
	ctl/daxleasectl_show.c \
	ctl/daxleasectl_stats.c \
	ctl/daxleasectl_table.c \
	ctl/daxleasectl_waiting.c \
	ctl/daxleasectl_watch.c \
	ctl/doctor.h \
	ctl/escapes.h \
	ctl/table.h \
	ctl/waiting.h \
	daemon/config.c \
	daemon/config.h
daxleasectl_CPPFLAGS = $(AM_CPPFLAGS) -DSYSCONFDIR='"$(sysconfdir)"' $(INIH_CFLAGS)
daxleasectl_CFLAGS = $(AM_CFLAGS) $(JSON_C_CFLAGS) $(LIBIBVERBS_CFLAGS)
daxleasectl_LDADD = libpool.la libproto.la $(JSON_C_LIBS) $(INIH_LIBS) $(LIBIBVERBS_LIBS)
