/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's loop and the guard's threads. */
/* --- effects ---------------------------------------------------------------------------------- */

/* To the kernel: by the number, to the first in its list that has it. */
inline answer_number(which, verdict_, meant)
{
	j = NOBODY;
	for (i : 0 .. BREAKERS - 1) {
		if
		:: number[i] == which && (j == NOBODY || place[i] < place[j]) -> j = i;
		:: else
		fi
	}
	if
	:: j == NOBODY /* ENOENT: it was answered before a crash */
	:: else ->
		number[j] = NOBODY;
		for (i : 0 .. BREAKERS - 1) {
			if
			:: number[i] != NOBODY && place[i] > place[j] -> place[i]--;
			:: else
			fi
		}
		place[j] = 0;
		if
		:: thread_dead[j] -> thread[j] = IDLE;
		:: else ->
			assert(event[j] == meant); /* each event has its own verdict */
			if
			:: verdict_ == DENY -> thread[j] = IDLE;
			:: else -> begins(j);
			fi
		fi
	fi
}

#define slot_is_its(t) (same_event(t, V.slot[t]) && slot_number[V.slot[t]] != NOBODY)

inline clear_slot(k)
{
	slot_number[k] = NOBODY;
	slot_thread[k] = 0;
}

inline give_verdict(t)
{
	s = V.slot[t];
	if
	:: slot_is_its(t) ->
		n = slot_number[s];
		answer_number(n, V.verdict[t], V.made_of[t]);
#ifdef BREAK_TRY_AGAIN
		closing[s] = (j == NOBODY -> NOBODY : n);
#else
		closing[s] = n;
#endif
	:: else
	fi
#ifdef BREAK_CLEAR_LATE
	verdict_given(t);
#else
	if
	:: !slot_is_its(t) -> verdict_given(t); /* its event is answered and over */
	:: else
	fi
#endif
}

inline verdict_given(t)
{
	V.verdict[t] = NOTHING;
	if
	:: V.op[t] == REFUSED -> op_end(t);
	:: else
	fi
}

inline carry_out(h)
{
	if
	:: V.due[h] == FENCE ->
#ifdef TIMED
		assert(kind(h) != HONEST); /* who answers is not punished for our absence */
#endif
		killed[h] = true;
		V.due[h] = NOTHING;
#ifdef BREAK_TRUST_FENCE
		session_gone(h);
		taken_in();
#endif
	:: V.due[h] == REVOKE ->
		V.due[h] = NOTHING;
		if
		:: !alive[h] || hung_up[h]
		:: else ->
			if
			:: len(events[h]) < EVENTS -> events[h]!V.revoked[h];
			:: else -> /* it does not read; the core has changed */
				fence(h);
				taken_in();
			fi
		fi
	fi
}

inline send_reply(h)
{
	if
	:: alive[h] && !hung_up[h] && len(replies[h]) < REPLIES ->
		replies[h]!V.reply[h], V.asked[h], V.granted[h];
	:: else
	fi
	V.reply[h] = NOTHING;
	V.granted[h] = 0;
}

#if HOLDERS > 1
#define any_h(x) (x(0) || x(1))
#else
#define any_h(x) x(0)
#endif
#if BREAKERS > 1
#define any_b(x) (x(0) || x(1))
#else
#define any_b(x) x(0)
#endif
#define is_pending(h) (V.lease[h] == PENDING)
#define has_lease(h) (V.lease[h] != NONE)
#define has_due(h) (V.due[h] || V.reply[h])
#define has_verdict(t) (V.verdict[t] != NOTHING)
#define is_waiting(t) (V.op[t] == WAITING)
#define must_clear(s) (closing[s] != NOBODY && slot_number[s] != NOBODY)
#define has_number (!taken[0] || !taken[SLOTS - 1])
#define unseen_now(t) (unseen[t] && thread[t] == RUNNING)
#ifdef BREAK_LOOK_FIRST
#define must_arm (any_h(has_lease) && !any_h(is_pending) && !armed)
#define look_ends(h) (V.lease[h] == PENDING && !any_b(unseen_now))
#else
#define must_arm (any_h(is_pending) && !armed)
#define look_ends(h) (V.lease[h] == PENDING && armed && !any_b(unseen_now))
#endif

#ifdef BREAK_NO_DEADLINE
#define may_be_due(h) false
#elif defined(TIMED) /* an honest holder is quicker than its margin, if it was told and is heard */
#define may_be_due(h)                                                                              \
	(V.lease[h] == BREAKING || kind(h) != HONEST || overdue[h] ||                              \
	 (empty(events[h]) && empty(answers[h])))
#else
#define may_be_due(h) true
#endif

#define no_effects (!must_arm && !any_h(has_due) && !any_b(has_verdict))

inline commit()
{
	copy(J, V);
#ifdef BREAK_AT_MOST_ONCE
	for (i : 0 .. BREAKERS - 1) {
		J.verdict[i] = NOTHING;
	}
#endif
	check_records();
	phase = EFFECTS;
	if
	:: peeked == NOBODY && no_effects -> phase = LISTENING;
	:: else
	fi
}

/* --- the daemon: its loop, for each source of inputs ------------------------------------------ */

/* A message is consumed when its effects are out: who is killed before handles it again. */
#ifdef BREAK_RECEIVE_CALLS
#define take_call(h) calls[h]?n, m
#else
#define take_call(h) calls[h]?<n, m>; peeked = OF_CALLS(h)
#endif
#ifdef BREAK_RECEIVE_ANSWERS
#define take_answer(h) answers[h]?n
#else
#define take_answer(h) answers[h]?<n>; peeked = OF_ANSWERS(h)
#endif

inline consume()
{
	if
	:: peeked == NOBODY
	:: else ->
		if
		:: peeked < 8 -> calls[peeked]?_, _;
		:: else -> answers[peeked - 8]?_;
		fi
		peeked = NOBODY;
	fi
}

inline handle_call(h)
{
	take_call(h);
	if
	:: n == RELEASE ->
#ifdef MR
		V.mr[h] = 0;
#endif
		released(h);
#ifdef MR
	:: n == MR_BEGIN || n == MR_ADD ->
#ifdef BREAK_RECEIVE_MR
		calls[h]?_, _;
		peeked = NOBODY;
#endif
		V.mr[h] = n;
#endif
#ifdef BREAK_FORGET_ASKED
	:: n == GRANT ->
#else
	:: n == GRANT && m > V.asked[h] ->
#endif
		V.asked[h] = m;
		request(h);
	:: else
	fi
}

proctype Records()
{
end:	do
	:: d_step { phase == DOWN -> restore(); }
	:: d_step { phase == DIRTY -> commit(); }
	:: d_step { phase == EFFECTS && must_arm -> armed = true; }
	:: d_step { phase == EFFECTS && no_effects ->
#ifdef BREAK_COMMIT_LATE
		copy(J, V);
#endif
		consume();
		phase = LISTENING;
	}
	:: d_step { phase == LISTENING && armed && !any_h(has_lease) && !any_b(is_waiting) ->
		armed = false;
	}
	od
}

proctype Session(byte h)
{
end:	do
	:: d_step { phase == LISTENING && !V.gone[h] && V.lease[h] != PENDING && nempty(calls[h]) ->
		handle_call(h);
		taken_in();
	}
	:: d_step { phase == LISTENING && !V.gone[h] && nempty(answers[h]) ->
		take_answer(h);
		answered(h, n);
		taken_in();
	}
	:: d_step { phase == LISTENING && look_ends(h) -> looked(h); taken_in(); }
	:: d_step { phase == LISTENING && V.lease[h] >= BREAKING && V.lease[h] < UNPROVEN &&
		    may_be_due(h) -> tick(h); taken_in(); }
#ifdef MR
	/* what it had said is read first; then what is known of is destroyed, by a worker */
	:: d_step { phase == LISTENING && !V.gone[h] && !alive[h] && empty(calls[h]) &&
		    V.mr[h] == MR_ADD ->
		mr[h] = false;
		V.mr[h] = 0;
		taken_in();
	}
	:: d_step { phase == LISTENING && !V.gone[h] && !alive[h] && empty(calls[h]) &&
		    (V.mr[h] != MR_ADD && !mr_unknown(h)) ->
		session_gone(h);
		taken_in();
	}
#else
	:: d_step { phase == LISTENING && !V.gone[h] && !alive[h] -> session_gone(h); taken_in(); }
#endif
#ifdef BREAK_HANG_UP_ENDS
	:: d_step { phase == LISTENING && !V.gone[h] && hung_up[h] -> session_gone(h); taken_in(); }
#else
	:: d_step { phase == LISTENING && !V.gone[h] && hung_up[h] && !reach[h] -> /* its maps say so */
		session_gone(h);
		taken_in();
	}
#endif
	:: d_step { phase == EFFECTS && V.due[h] && !must_arm -> carry_out(h); }
	:: d_step { phase == EFFECTS && V.reply[h] && !must_arm -> send_reply(h); }
	od
}

proctype Operation(byte t)
{
end:	do
	:: d_step { phase == EFFECTS && V.verdict[t] && !must_arm && !must_clear(V.slot[t]) ->
		give_verdict(t);
	}
#ifndef BREAK_CLEAR_LATE
	/* its number is out of the slot before the record says that it has its verdict */
	:: d_step { phase == EFFECTS && V.verdict[t] && must_clear(V.slot[t]) ->
		clear_slot(V.slot[t]);
		verdict_given(t);
	}
#endif
	:: d_step { phase == LISTENING && V.op[t] == PASSED && thread[t] != RUNNING ->
		op_end(t); /* known to have finished */
		taken_in();
	}
	od
}

/* --- the daemon: the guard's threads ---------------------------------------------------------- */

proctype Slot(byte k)
{
end:	do
	:: d_step { phase > DOWN && reader == NOBODY && slot_number[k] == NOBODY &&
		    closing[k] == NOBODY ->
		reader = k;
		slot_generation[k]++;
	}
	:: d_step { phase == LISTENING && fresh[k] ->
		fresh[k] = false;
		V.slot[slot_thread[k]] = k;
		V.generation[slot_thread[k]] = slot_generation[k];
		V.made_of[slot_thread[k]] = event[slot_thread[k]];
		attempt(slot_thread[k]);
		taken_in();
	}
	/* the closer */
#ifdef BREAK_CLEAR_LATE
	:: d_step { closing[k] < CLOSED -> taken[closing[k]] = false; closing[k] = CLOSED; }
	:: d_step { closing[k] == CLOSED -> clear_slot(k); closing[k] = NOBODY; }
#else
	:: d_step { closing[k] != NOBODY && !must_clear(k) ->
		taken[closing[k]] = false;
		closing[k] = NOBODY;
	}
#endif
	od
}

/* read(2) of the group: the kernel takes the lowest free number and writes it into the slot. */
proctype Reader(byte t)
{
end:	do
	:: d_step { phase > DOWN && reader != NOBODY && thread[t] == QUEUED && has_number ->
		n = 0;
		do
		:: taken[n] -> n++;
		:: else -> break;
		od;
		taken[n] = true;
		slot_number[reader] = n;
		slot_thread[reader] = t;
		fresh[reader] = true;
		reader = NOBODY;
		m = 0;
		for (i : 0 .. BREAKERS - 1) {
			m = m + (number[i] != NOBODY -> 1 : 0);
		}
		place[t] = m;
		number[t] = n;
		thread[t] = READ;
	}
	od
}
