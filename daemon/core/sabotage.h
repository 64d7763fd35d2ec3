/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deliberately broken variants of the core: the property test must find each (tests/unit/core_runs lists
 * them). Only a core built with -DCORE_BREAKABLE has them, one at a time; else this is a constant 0.
 */
#ifndef DAXLEASE_CORE_SABOTAGE_H
#define DAXLEASE_CORE_SABOTAGE_H

#ifdef CORE_BREAKABLE
extern int core_break; /* the test's */
#define CORE_SABOTAGE(n) (core_break == (n))
#else
#define CORE_SABOTAGE(n) 0
#endif

#endif
