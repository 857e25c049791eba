/* Both hosts ask for one pair at once: docs/protocol.md, Glare.
 *
 * Host 0 has the smaller name and decides. A run is prepared (identities, signature), sent, and answered; it may
 * fail while it is prepared. Elements arrive in the order in which they were sent. `force[h]` is the aid of the
 * activation that host h has in force, 0 for none. An aid is 1 or 2 more than that of the last run of its host,
 * so that odd ones are host 0's.
 *
 * Leave a rule out with -DNO_RETRY (who lost does not ask again) or -DNO_GLARE (nobody refuses, nobody drops).
 */
mtype = { request, response, activate, active_, refused };
chan wire[2] = [6] of { mtype, byte };

#define MAX_RUNS 2
byte own[2];       /* aid of the run that the host asks for */
bool sent[2];      /* its request is under way */
byte served[2];    /* aid of the run that the host answers */
byte force[2];
byte runs[2];
bool lost[2];      /* refused, or dropped its own: waits for the other's request, then asks again */
bool wants[2] = true;
byte told[2];      /* activations that came into force at a host */

#define other(h) (1 - (h))
#define idle(h) (own[h] == 0 && served[h] == 0 && force[h] == 0)
#define end_of_run(h) own[h] = 0; sent[h] = false

inline in_force(h, a) { force[h] = a; told[h]++; lost[h] = false; served[h] = 0; end_of_run(h) }

active [2] proctype Host() {
	byte h = _pid; byte a; mtype what;
end:	do
	/* It asks, for the first time or, where it lost, when 5 seconds brought no request. */
	:: atomic { wants[h] && idle(h) && !lost[h] && runs[h] == 0 -> runs[h]++; own[h] = 1 + h }
#ifndef NO_RETRY
	:: atomic { lost[h] && idle(h) && runs[h] < MAX_RUNS && timeout -> lost[h] = false; runs[h]++; own[h] = 3 + h }
#endif
	/* The request goes out; or the first run fails before that, and the host does not want the pair any more. */
	:: atomic { own[h] != 0 && !sent[h] -> sent[h] = true; wire[other(h)]!request, own[h] }
	:: atomic { own[h] != 0 && !sent[h] && runs[h] == 1 && h == 0 -> end_of_run(h); wants[h] = false }
	:: atomic { wire[h]?what, a ->
		if
		:: what == request ->
			if
#ifndef NO_GLARE
			:: h == 0 && own[h] != 0 -> wire[other(h)]!refused, a
			:: h == 1 && own[h] != 0 -> end_of_run(h); lost[h] = true; served[h] = a; wire[other(h)]!response, a
			:: own[h] == 0 -> served[h] = a; wire[other(h)]!response, a
#else
			:: served[h] = a; wire[other(h)]!response, a
#endif
			fi
		:: what == response ->
			/* Of a run that was dropped: nobody waits for it. */
			if
			:: own[h] == a -> in_force(h, a); wire[other(h)]!activate, a
			:: else
			fi
		:: what == activate ->
			if
			:: served[h] == a -> in_force(h, a); wire[other(h)]!active_, a
			:: else -> assert(false)
			fi
		:: what == active_ -> skip
		:: what == refused ->
			if
			:: own[h] == a -> end_of_run(h); lost[h] = true
			:: else
			fi
		fi }
	od
}

/* Whatever happens, both have the same activation in force in the end, the only one that there ever was. */
ltl one_survives { <> [] (force[0] != 0 && force[0] == force[1] && told[0] == 1 && told[1] == 1) }
