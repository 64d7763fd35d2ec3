# SPDX-License-Identifier: LGPL-2.1-or-later
bin_PROGRAMS += daxleasectl

daxleasectl_SOURCES = \
	ctl/commands.h \
	ctl/connection.h \
	ctl/daxleasectl.c \
	ctl/daxleasectl_break.c \
	ctl/daxleasectl_commands.c \
	ctl/daxleasectl_connection.c \
	ctl/daxleasectl_stats.c \
	ctl/daxleasectl_table.c \
	ctl/daxleasectl_waiting.c \
	ctl/daxleasectl_watch.c \
	ctl/table.h \
	ctl/waiting.h
daxleasectl_CFLAGS = $(AM_CFLAGS) $(JSON_C_CFLAGS)
daxleasectl_LDADD = libproto.la $(JSON_C_LIBS)
