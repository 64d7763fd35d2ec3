/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations for breakers (guard_harness.h): each prepares (opens what it needs, before there is a
 * lease), then does one call. `argument` is the offset in bytes at which it acts, or the new size.
 * The result is the call's own: < 0 with errno, else what it returns.
 *
 *   breaker_write.c   writing and copying
 *   breaker_size.c    sizes and allocation; opens that truncate
 *   breaker_remap.c   sharing, exchanging and moving blocks
 *   breaker_place.c   the same calls from elsewhere: other mounts, namespaces, names, kernel users
 *   breaker_i386.c    32-bit calls
 *   breaker_free.c    what never waits (C11)
 *   guard_uring_calls.c  io_uring
 */
#ifndef DAXLEASE_TESTS_BREAKER_CALLS_H
#define DAXLEASE_TESTS_BREAKER_CALLS_H

#include "tests/host/guard_harness.h"

typedef long breaker_step(struct breaker *);

/* Opens and maps the whole file. */
breaker_step prepare_map;

breaker_step act_pwrite; /* one byte */
breaker_step act_write, act_write_appending, act_pwrite_unaligned, act_writev, act_pwritev;
breaker_step act_pwritev2, act_pwritev2_append, act_direct_write, act_aio;
breaker_step act_splice_into, act_vmsplice_into, act_sendfile_into, act_copy_into, act_copy_from;

breaker_step act_truncate, act_ftruncate;
breaker_step act_allocate, act_allocate_behind, act_keep_size, act_punch, act_zero, act_zero_keep;
breaker_step act_collapse, act_insert, act_unshare, act_write_zeroes;
breaker_step act_ioctl_resvsp, act_ioctl_unresvsp, act_ioctl_zero;
breaker_step act_open_trunc, act_openat_trunc, act_openat2_trunc, act_creat;
breaker_step prepare_handle, act_handle_trunc;
breaker_step act_madvise_remove;

breaker_step act_clone, act_clone_from; /* the other file into this one, this one into the other */
breaker_step act_clone_range, act_clone_range_from, act_dedupe_into, act_dedupe_from;
breaker_step act_exchange, act_exchange_other, act_swapext, act_swapext_other;
breaker_step act_move_ext, act_move_ext_other, act_swap_boot, act_migrate, act_setflags;

breaker_step prepare_bind_mount, prepare_pid_namespace, act_in_pid_namespace, prepare_hard_link;
breaker_step prepare_unlinked, prepare_old_descriptor;
breaker_step prepare_nfs, act_nfs_write;
breaker_step prepare_overlay, prepare_loop, act_loop_write, act_loop_discard;

breaker_step act_i386_write, act_i386_pwrite, act_i386_truncate, act_i386_ftruncate;
breaker_step act_i386_ftruncate64, act_i386_fallocate, act_i386_open_trunc, act_i386_creat;

breaker_step act_read, act_pread, act_readv, act_preadv, act_preadv2, act_direct_read, act_mmap;
breaker_step act_store, act_populate, act_open_read, act_open_write, act_openat2_read, act_execute;
breaker_step act_chmod, act_xattr, act_times, act_link_rename_unlink, act_fsync, act_sync_range;
breaker_step act_advise, act_fiemap, act_lock, act_sendfile_from, act_splice_from, act_aio_read;
breaker_step prepare_map_half, act_mremap_growth;

/* io_uring: a write of one page at argument, inline or by an io-wq worker; a punch, which only
 * workers do; a write linked behind a poll, which task work does in a thread that shows read(2) of
 * a pipe; by a ring that another process made. */
breaker_step prepare_uring, prepare_uring_map, prepare_uring_sqpoll;
breaker_step act_uring_write, act_uring_worker_write, act_uring_punch, act_uring_disguised;
breaker_step act_uring_read, act_uring_shared, act_uring_ftruncate, act_uring_open_trunc;
breaker_step act_uring_splice, act_uring_madvise;

#endif
