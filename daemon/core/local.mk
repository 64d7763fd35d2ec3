# SPDX-License-Identifier: LGPL-2.1-or-later
# The pure lease core: no library but libc.
noinst_LTLIBRARIES += libcore.la
libcore_la_SOURCES = \
	daemon/core/breaks.c \
	daemon/core/check.c \
	daemon/core/core.c \
	daemon/core/core.h \
	daemon/core/deadlines.c \
	daemon/core/effects.c \
	daemon/core/leases.c \
	daemon/core/look.c \
	daemon/core/records.h \
	daemon/core/sabotage.h \
	daemon/core/save.c \
	daemon/core/saved.h \
	daemon/core/table.c \
	daemon/core/table.h \
	daemon/core/tree.c \
	daemon/core/tree.h
