/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of leases on one range of one file: protocol, core, guard and restart. README.md says
 * what is modelled, what is not, and what was learnt; tests/model/run checks it, and that every
 * BREAK_x is found out.
 *
 * What runs in the daemon's process has no place of its own in a program: each step is a guarded
 * command on variables, so that a kill can come between any two. What outlives the process: the
 * journal J, the slots, the kernel's lists, the sockets.
 *
 * What at-least-once effects ask of everybody (each has its BREAK_x in tests/model/run):
 * - A verdict names its event by a number that no other event ever has (the slot's generation), not
 *   by its slot or its descriptor: between the verdict and the commit that it was given both can be
 *   another event's.
 * - The number goes out of the slot before the verdict counts as given and before it is closed:
 *   else a number is in two slots, and the old verdict made again lets the new thread go.
 * - Old numbers are occupied before the first read. An unknown number (ENOENT) has been answered:
 *   that is an end, not an error to try again.
 * - Messages are consumed when their effects are out, or else the revocations of all leases being
 *   revoked are made again, not only those that had not left.
 * - A session's record says which request it has taken, and the reply is an effect like others: a
 *   request taken twice leaves a lease that nobody knows of, one that is lost a client that waits.
 * - Clients skip replies to what they asked before, and events older than their grant.
 * - Deadlines that passed while nobody was there begin anew: else who had answered is killed.
 * - Where carrying out an effect changes the core, that is committed before the next one leaves.
 * - Whatever gives names (epochs, generations) goes on from where it was.
 */
#include "state.pml"
#include "core.pml"
#include "daemon.pml"
#include "world.pml"
