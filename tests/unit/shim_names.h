/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Included before everything (-include) in the tests the shim is linked into: its hooks get names
 * of their own there, and the tests call them by these. The thread sanitizer's runtime calls mmap
 * through the PLT before it is ready to watch anything; a hook under that name would be
 * instrumented code it is not ready for.
 */
#ifndef DAXLEASE_TESTS_SHIM_NAMES_H
#define DAXLEASE_TESTS_SHIM_NAMES_H

#define mmap hooked_mmap
#define mmap64 hooked_mmap64
#define munmap hooked_munmap
#define mremap hooked_mremap
#define madvise hooked_madvise

#endif
