# SPDX-License-Identifier: LGPL-2.1-or-later
# What both ends share: position independent, so that the shim can take it in.
noinst_LTLIBRARIES += libproto.la
libproto_la_SOURCES = \
	proto/proto.h \
	proto/protocol.h \
	proto/validate.c \
	proto/wire.c \
	proto/words.c
