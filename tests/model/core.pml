/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The invariants, what the core decides, and what is committed and restored. */
/* --- invariants ------------------------------------------------------------------------------- */

/* A thread goes on: nobody but liars reaches the blocks, no lease is there. */
inline begins(t)
{
	thread[t] = RUNNING;
	for (i : 0 .. HOLDERS - 1) {
		assert(!reach[i] && !mr_reaches(i)); /* C17, C18 */
		assert(V.lease[i] <= PENDING);	/* core.h, invariant 1 */
	}
}

inline check_records()
{
	for (i : 0 .. HOLDERS - 1) {
		/* C24, C1: none is lost, none ends early */
		assert((!reach[i] && !mr_reaches(i)) || V.lease[i] >= HELD);
		for (j : 0 .. BREAKERS - 1) {
			assert(V.lease[i] <= PENDING || thread[j] != RUNNING); /* C16 */
		}
	}
}

/* --- the core --------------------------------------------------------------------------------- */

#ifdef BREAK_EARLY_VERDICT
#define in_the_way(h) (V.lease[h] > PENDING && V.lease[h] != FENCING)
#else
#define in_the_way(h) (V.lease[h] > PENDING)
#endif

/* Who waits for nothing any more goes on. */
inline settle()
{
	m = 0;
	for (i : 0 .. HOLDERS - 1) {
		m = m + (in_the_way(i) -> 1 : 0);
	}
	for (i : 0 .. BREAKERS - 1) {
		if
		:: !m && V.op[i] == WAITING ->
			V.op[i] = PASSED;
			V.verdict[i] = ALLOW;
		:: else
		fi
	}
}

inline op_end(t)
{
	V.op[t] = NONE;
	V.slot[t] = 0;
	V.generation[t] = 0;
	V.made_of[t] = 0;
}

inline attempt(t)
{
	V.op[t] = WAITING;
	m = 0;
	for (i : 0 .. HOLDERS - 1) {
		m = m + (V.lease[i] == UNPROVEN -> 1 : 0);
	}
	if
	:: m ->
		V.op[t] = REFUSED;
		V.verdict[t] = DENY;
	:: else ->
		for (i : 0 .. HOLDERS - 1) {
			if
#ifndef BREAK_KEEP_PENDING
			:: V.lease[i] == PENDING ->
				V.lease[i] = NONE;
				V.reply[i] = DENY;
#endif
			:: V.lease[i] == HELD -> V.lease[i] = BREAKING;
			:: else
			fi
		}
		settle();
	fi
}

inline lease_end(h)
{
	V.lease[h] = NONE;
	V.revoked[h] = 0;
	V.due[h] = (V.due[h] == REVOKE -> NOTHING : V.due[h]);
}

inline revoke(h)
{
	V.lease[h] = REVOKING;
	V.epoch++;
	V.revoked[h] = V.epoch;
	V.due[h] = REVOKE;
}

inline fence(h)
{
	V.lease[h] = FENCING;
	V.due[h] = (V.fenced[h] -> NOTHING : FENCE);
	V.fenced[h] = true;
}

inline tick(h)
{
#ifdef TIMED
	overdue[h] = false;
#endif
	if
	:: V.lease[h] == BREAKING -> revoke(h);
	:: V.lease[h] == REVOKING -> fence(h);
	:: V.lease[h] == FENCING ->
		V.lease[h] = UNPROVEN;
#ifndef BREAK_NO_REFUSAL
		for (i : 0 .. BREAKERS - 1) {
			if
			:: V.op[i] == WAITING ->
				V.op[i] = REFUSED;
				V.verdict[i] = DENY;
			:: else
			fi
		}
#endif
	fi;
	settle();
}

/* An input is in V. That it is committed in the same step leaves out nothing: killed between the
 * two is killed before both, since nothing else has changed; unless its message was consumed. */
inline taken_in()
{
#if defined(BREAK_RECEIVE_CALLS) || defined(BREAK_RECEIVE_ANSWERS) || defined(BREAK_RECEIVE_MR)
	phase = DIRTY;
#elif defined(BREAK_COMMIT_LATE)
	phase = EFFECTS;
#else
	commit();
#endif
}

inline session_gone(h)
{
	lease_end(h);
	V.gone[h] = true;
	V.due[h] = NOTHING;
	V.reply[h] = NOTHING;
	V.granted[h] = 0;
	V.fenced[h] = false;
	settle();
}

/* DLP_GRANT, the first step: PENDING. */
inline request(h)
{
	m = 0;
	for (i : 0 .. BREAKERS - 1) {
#ifdef BREAK_HOLD_OFF
		m = m + (V.op[i] == WAITING -> 1 : 0);
#else
		m = m + (V.op[i] == WAITING || V.op[i] == PASSED -> 1 : 0);
#endif
	}
	if
	:: m || V.fenced[h] || V.lease[h] > HELD -> V.reply[h] = DENY;
	:: else -> V.lease[h] = (V.lease[h] == HELD -> HELD : PENDING);
	fi
	if
	:: V.lease[h] == HELD && !V.reply[h] -> /* it had asked before a crash */
		V.epoch++;
		V.granted[h] = V.epoch;
		V.reply[h] = ALLOW;
	:: else
	fi
}

/* The second step: the file system has been looked at. */
inline looked(h)
{
	V.lease[h] = HELD;
	V.epoch++;
	V.granted[h] = V.epoch;
	V.reply[h] = ALLOW;
}

inline answered(h, upto)
{
	if
#ifdef BREAK_ANY_ANSWER
	:: V.lease[h] > PENDING ->
#else
	:: (V.lease[h] == REVOKING || V.lease[h] == FENCING) && V.revoked[h] <= upto ->
#endif
		lease_end(h);
		settle();
	:: else
	fi
}

inline released(h)
{
	if
	:: V.lease[h] > PENDING ->
		lease_end(h);
		settle();
	:: else
	fi
}

/* --- the journal ------------------------------------------------------------------------------ */

inline copy(to, from)
{
	for (i : 0 .. HOLDERS - 1) {
		to.lease[i] = from.lease[i];
		to.revoked[i] = from.revoked[i];
		to.due[i] = from.due[i];
		to.fenced[i] = from.fenced[i];
		to.gone[i] = from.gone[i];
		to.asked[i] = from.asked[i];
		to.reply[i] = from.reply[i];
		to.granted[i] = from.granted[i];
#ifdef MR
		to.mr[i] = from.mr[i];
#endif
	}
	for (i : 0 .. BREAKERS - 1) {
		to.op[i] = from.op[i];
		to.verdict[i] = from.verdict[i];
		to.slot[i] = from.slot[i];
		to.generation[i] = from.generation[i];
		to.made_of[i] = from.made_of[i];
	}
	to.epoch = from.epoch;
}

#ifdef BREAK_NO_GENERATION
#define same_event(t, s) (V.slot[t] == s)
#else
#define same_event(t, s) (V.slot[t] == s && V.generation[t] == slot_generation[s])
#endif

/* A new process: the records as they were committed; what had been begun is ended or repeated. */
inline restore()
{
	copy(V, J);
#ifdef BREAK_LOST_COUNTER
	V.epoch = 0;
#endif
	for (i : 0 .. HOLDERS - 1) {
		if
		:: V.lease[i] == PENDING ->
			V.lease[i] = NONE;
#ifndef BREAK_FORGET_PENDING
			V.reply[i] = DENY;
#endif
#ifndef BREAK_PENDING_EFFECTS_ONLY
		:: V.lease[i] == REVOKING -> V.due[i] = REVOKE;
#endif
		:: else
		fi
#ifndef BREAK_FENCE_ONCE
		if
		:: V.fenced[i] -> V.due[i] = FENCE;
		:: else
		fi
#endif
#if defined(TIMED) && !defined(BREAK_OLD_DEADLINE)
		overdue[i] = false;
#endif
	}
	for (s : 0 .. SLOTS - 1) {
		if
		:: slot_number[s] != NOBODY ->
#ifndef BREAK_FREE_NUMBERS
			taken[slot_number[s]] = true;
#endif
			fresh[s] = true;
			for (i : 0 .. BREAKERS - 1) {
				if
				:: V.op[i] && same_event(i, s) ->
					fresh[s] = false;
#ifdef BREAK_CLEAR_LATE
					closing[s] = (V.op[i] == PASSED && !V.verdict[i] -> slot_number[s] : NOBODY);
#endif
				:: else
				fi
			}
		:: else
		fi
	}
	taken_in();
}

inline die()
{
	phase = DOWN;
	peeked = NOBODY;
	reader = NOBODY;
	for (i : 0 .. SLOTS - 1) {
		taken[i] = false;
		fresh[i] = false;
		closing[i] = NOBODY;
	}
#ifdef TIMED
	for (i : 0 .. HOLDERS - 1) {
		overdue[i] = true;
	}
#endif
	crashes_left--;
}
