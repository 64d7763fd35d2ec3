/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much there is of everything, and all variables. */
#ifndef HOLDERS
#define HOLDERS 1
#endif
#ifndef BREAKERS
#define BREAKERS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef GRANTS /* leases each holder asks for */
#define GRANTS 1
#endif
#ifndef OPS /* operations of each breaker */
#define OPS 1
#endif
#ifndef SLOTS /* for events, and as many descriptor numbers */
#define SLOTS 2
#endif
#ifndef KILLS /* of holders or breakers, by whomever */
#define KILLS 0
#endif
#ifndef LIES
#define LIES 2
#endif
#ifndef EVENTS /* as many as a socket takes; each crash can repeat one */
#define EVENTS (CRASHES + 1)
#endif
#define REPLIES (CRASHES + 2)
#ifndef KIND0
#define KIND0 HONEST
#endif
#ifndef KIND1
#define KIND1 HONEST
#endif

/* A SILENT holder does not answer and dies when it is killed; a STUCK one not even that (state D);
 * a LIAR says it has taken away what it has not, and anything else. */
#define HONEST 0
#define SILENT 1
#define STUCK 2
#define LIAR 3
#if HOLDERS > 1
#define kind(h) (h -> KIND1 : KIND0)
#else
#define kind(h) KIND0
#endif
#define NOBODY 255
#define CLOSED 100

/* --- the core's records ----------------------------------------------------------------------- */

#define NONE 0
#define PENDING 1
#define HELD 2
#define BREAKING 3
#define REVOKING 4
#define FENCING 5
#define UNPROVEN 6

#define WAITING 1
#define PASSED 2
#define REFUSED 3 /* gone but for its verdict */

#define NOTHING 0
#define ALLOW 1
#define DENY 2
#define REVOKE 3
#define FENCE 4

typedef records {
	byte lease[HOLDERS];
	byte revoked[HOLDERS]; /* epoch of its newest revocation */
	byte due[HOLDERS];     /* an effect not yet taken: REVOKE, FENCE */
	bool fenced[HOLDERS];
	bool gone[HOLDERS];    /* the session is over */
	byte asked[HOLDERS];   /* seq of the last request that was taken */
	byte reply[HOLDERS];   /* to it, not yet sent: ALLOW, DENY */
	byte granted[HOLDERS]; /* its epoch */
#ifdef MR
	byte mr[HOLDERS];      /* 0 none, MR_BEGIN there may be one, MR_ADD there is this one */
#endif
	byte op[BREAKERS];
	byte verdict[BREAKERS]; /* not yet given: ALLOW, DENY */
	byte slot[BREAKERS];
	byte generation[BREAKERS];
	byte made_of[BREAKERS]; /* ghost: which event */
	byte epoch;
};
records V; /* the process's memory */
records J; /* the journal */

/* --- what outlives the process ---------------------------------------------------------------- */

byte slot_number[SLOTS] = NOBODY; /* the event's descriptor number */
byte slot_generation[SLOTS];
byte slot_thread[SLOTS];

/* Threads that are about to change the file. */
#define IDLE 0
#define QUEUED 1 /* stopped, its event not read */
#define READ 2   /* its event read, not answered */
#define RUNNING 3
byte thread[BREAKERS];
bool unseen[BREAKERS]; /* it went on while the file was not armed */
bool thread_dead[BREAKERS];
byte event[BREAKERS];  /* ghost: counts its events, and tells them from others' */
byte number[BREAKERS] = NOBODY; /* the kernel's list of events read: number, place in the list */
byte place[BREAKERS];
byte ops_left[BREAKERS] = OPS;
bool armed;

/* Holders and their sockets. */
#define ASKS 1
#define HOLDS 2
#define LOST 3
bool alive[HOLDERS] = true;
bool killed[HOLDERS];
bool hung_up[HOLDERS];
bool reach[HOLDERS]; /* its CPU or network card can reach the blocks */
byte client[HOLDERS];
byte seq[HOLDERS];
byte epoch[HOLDERS]; /* of the lease it holds */
byte poison[HOLDERS]; /* while it asks: the newest revocation that has come */
byte asks_left[HOLDERS] = GRANTS;
byte kills_left = KILLS;
byte lies_left = LIES;
#define GRANT 1
#define RELEASE 2
#define MR_BEGIN 3
#define MR_ADD 4
#ifdef MR
bool mr[HOLDERS];    /* a memory region reaches the blocks */
byte mr_step[HOLDERS]; /* how far its registration is */
bool child[HOLDERS]; /* has the device too: the MR outlives the holder */
#define mr_reaches(h) mr[h]
#define mr_unknown(h) (V.mr[h] == MR_BEGIN && child[h])
#else
#define mr_unknown(h) false
#define mr_reaches(h) false
#endif
chan calls[HOLDERS] = [3] of { byte, byte };
chan answers[HOLDERS] = [2] of { byte };
chan replies[HOLDERS] = [REPLIES] of { byte, byte, byte };
chan events[HOLDERS] = [EVENTS] of { byte };

/* --- what dies with the process --------------------------------------------------------------- */

#define DOWN 0
#define LISTENING 1
#define DIRTY 2   /* an input is in V and not in J */
#define EFFECTS 3
byte phase;
bool taken[SLOTS]; /* descriptor numbers */
bool fresh[SLOTS]; /* read, not yet in the core */
byte closing[SLOTS] = NOBODY; /* the number that is to be closed */
byte reader = NOBODY; /* the slot it is about to read into */
#define OF_CALLS(h) (h)
#define OF_ANSWERS(h) (8 + (h))
byte peeked = NOBODY; /* the channel whose message is being handled */
byte crashes_left = CRASHES;
#ifdef TIMED
bool overdue[HOLDERS]; /* its deadline passed while the daemon was away */
#endif

hidden byte i, j, n, m, s;
