/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that change the file, holders, and what befalls them; what must be so at the end. */
proctype Breaker(byte t)
{
end:	do
	:: d_step { thread[t] == IDLE && ops_left[t] && !thread_dead[t] ->
		ops_left[t]--;
		event[t] = event[t] + BREAKERS;
		unseen[t] = !armed;
		if
		:: armed -> thread[t] = QUEUED;
		:: else -> begins(t);
		fi
	}
	:: d_step { thread[t] == RUNNING -> thread[t] = IDLE; unseen[t] = false; }
#if KILLS
	:: d_step { kills_left && !thread_dead[t] && thread[t] != RUNNING ->
		kills_left--;
		thread_dead[t] = true;
		/* an event that was read stays in the kernel's list */
		thread[t] = (thread[t] == QUEUED -> IDLE : thread[t]);
	}
#endif
	od
}

inline let_go(h)
{
	client[h] = NONE;
	epoch[h] = 0;
	reach[h] = false;
#ifdef MR
	mr[h] = false;
	mr_step[h] = 0;
#endif
}

inline hold(h, granted_)
{
	client[h] = HOLDS;
	poison[h] = 0;
	epoch[h] = granted_;
	reach[h] = (kind(h) != LIAR);
	assert(kind(h) == LIAR || J.lease[h] >= HELD); /* C24 */
}

/* A grant that came after all revocations that have come since it was asked for. */
#ifdef BREAK_ANY_POISON
#define still_good(h, of) (poison[h] == 0)
#else
#define still_good(h, of) (poison[h] < of)
#endif

proctype Holder(byte h)
{
end:	do
	:: d_step { alive[h] && !client[h] && asks_left[h] && nfull(calls[h]) ->
		asks_left[h]--;
		seq[h]++;
		client[h] = ASKS;
		calls[h]!GRANT, seq[h];
	}
	:: d_step { alive[h] && client[h] == ASKS && nempty(replies[h]) && nfull(calls[h]) ->
		replies[h]?n, m, s;
		if
		:: m == seq[h] && n == ALLOW && still_good(h, s) -> hold(h, s);
		:: m == seq[h] && n == ALLOW && !still_good(h, s) ->
			assert(poison[h] >= s); /* C1: not for a revocation of something older */
			calls[h]!RELEASE, 0;
			client[h] = NONE;
			poison[h] = 0;
		:: m == seq[h] && n == DENY ->
			client[h] = NONE;
			poison[h] = 0;
		:: m != seq[h] -> /* an answer made again */
#ifdef BREAK_STRICT_CLIENT
			assert(false); /* it would take the connection for dead */
#endif
		fi
	}
#ifdef MR
#ifdef BREAK_MR_REPORTED_LATE
#define MR_FIRST 0
#define MR_NEXT MR_ADD
#else
#define MR_FIRST MR_BEGIN
#define MR_NEXT MR_ADD
	:: d_step { alive[h] && client[h] == HOLDS && mr_step[h] == 0 && nfull(calls[h]) ->
		mr_step[h] = MR_BEGIN;
		calls[h]!MR_BEGIN, 0;
	}
#endif
	:: d_step { alive[h] && client[h] == HOLDS && mr_step[h] == MR_FIRST && !mr[h] ->
		mr[h] = true;
	}
	:: d_step { alive[h] && client[h] == HOLDS && mr_step[h] == MR_FIRST && mr[h] && nfull(calls[h]) ->
		mr_step[h] = MR_ADD;
		calls[h]!MR_ADD, 0;
	}
	:: d_step { alive[h] && !child[h] -> child[h] = true; }
	:: d_step { !alive[h] && child[h] && kind(h) == HONEST -> child[h] = false; mr[h] = false; }
#endif
	:: d_step { alive[h] && client[h] == HOLDS && kind(h) == HONEST && nfull(calls[h]) ->
		let_go(h);
		calls[h]!RELEASE, 0;
	}
	:: d_step { alive[h] && kind(h) == HONEST && nempty(events[h]) && nfull(answers[h]) ->
		events[h]?n;
		if
#ifdef BREAK_ANY_EVENT
		:: client[h] == HOLDS ->
#else
		:: client[h] == HOLDS && epoch[h] <= n ->
#endif
			assert(epoch[h] <= n); /* not one that was granted since */
			let_go(h);
		:: client[h] == ASKS && n > poison[h] -> poison[h] = n;
		:: else
		fi;
		answers[h]!n;
	}
	:: d_step { alive[h] && kind(h) == LIAR && lies_left && nfull(answers[h]) ->
		lies_left--;
		answers[h]!3;
	}
	:: d_step { alive[h] && kind(h) == LIAR && lies_left && nfull(calls[h]) ->
		lies_left--;
		calls[h]!RELEASE, 0;
	}
#ifdef HANG_UP
	:: d_step { alive[h] && kind(h) == SILENT && client[h] == HOLDS && !hung_up[h] ->
		hung_up[h] = true;
	}
	:: d_step { hung_up[h] && reach[h] -> reach[h] = false; }
#endif
#if KILLS
	:: d_step { alive[h] && (killed[h] || kills_left) && kind(h) != STUCK ->
		kills_left = (killed[h] -> kills_left : kills_left - 1);
#else
	:: d_step { alive[h] && killed[h] && kind(h) != STUCK ->
#endif
		alive[h] = false;
		reach[h] = false;
#ifdef MR
		mr[h] = mr[h] && child[h];
#endif
		client[h] = LOST;
		epoch[h] = 0;
		poison[h] = 0;
	}
	od
}

proctype Crash()
{
end:	do
	:: d_step { crashes_left && phase > DOWN -> die(); }
	od
}

/* When nothing more can happen, nothing is left over. */
proctype End()
{
	timeout ->
	d_step {
		for (i : 0 .. BREAKERS - 1) {
			assert(thread[i] == IDLE); /* every break has ended */
			assert(V.op[i] == NONE && number[i] == NOBODY);
		}
		for (i : 0 .. HOLDERS - 1) {
			assert(client[i] != ASKS); /* every request has its reply */
			assert(!alive[i] || kind(i) != HONEST || client[i] == HOLDS ||
			       V.lease[i] == NONE); /* C1: nothing leaks */
			/* who was fenced is dead, who is dead has nothing but what a child keeps */
			assert(!V.fenced[i] || (killed[i] && (!alive[i] || kind(i) == STUCK)));
			assert(alive[i] || V.gone[i] || mr_unknown(i));
		}
		for (i : 0 .. SLOTS - 1) {
			assert(slot_number[i] == NOBODY && !taken[i]);
		}
	}
}

init
{
	atomic {
		run Records();
		run Crash();
		run End();
		for (i : 0 .. HOLDERS - 1) {
			run Session(i);
			run Holder(i);
		}
		for (i : 0 .. BREAKERS - 1) {
			event[i] = i;
			run Operation(i);
			run Reader(i);
			run Breaker(i);
		}
		for (i : 0 .. SLOTS - 1) {
			run Slot(i);
		}
	}
}
