# SPDX-License-Identifier: LGPL-2.1-or-later
# libguard: stopping breakers. Included by the top Makefile.am.
noinst_LTLIBRARIES += libguard.la
libguard_la_SOURCES = \
	daemon/guard/armed.c \
	daemon/guard/armed.h \
	daemon/guard/decode.c \
	daemon/guard/decode.h \
	daemon/guard/fanotify.c \
	daemon/guard/fanotify.h \
	daemon/guard/fanotify_abi.h \
	daemon/guard/guard.h \
	daemon/guard/io_uring.c \
	daemon/guard/io_uring.h \
	daemon/guard/proc.c \
	daemon/guard/proc.h \
	daemon/guard/kernel_lease.c \
	daemon/guard/kernel_lease.h \
	daemon/guard/lease_waiters.c \
	daemon/guard/reader.c \
	daemon/guard/settle.c \
	daemon/guard/slots.c \
	daemon/guard/slots.h \
	daemon/guard/thread.c \
	daemon/guard/thread.h
