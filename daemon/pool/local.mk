# SPDX-License-Identifier: LGPL-2.1-or-later
# What a file is and whether it may be leased. Needs libproto.la (dlp_reason_errno).
noinst_LTLIBRARIES += libpool.la
libpool_la_SOURCES = \
	daemon/pool/extents.c \
	daemon/pool/extents.h \
	daemon/pool/mount.c \
	daemon/pool/pool.h
