/* One link for two hosts: docs/protocol.md, Choice of the link; proto/src/link_choice.rs.
 *
 * Host 0 has the smaller name and decides. Both may dial, at once and again whenever they have nothing. A link may
 * die, once in all: what is sent on it vanishes, and one host or both see it end. A probe is answered in time unless the link is dead; with -DSLOW it may be late at any time.
 *
 * Leave a rule out with -DNO_PROBE (a newcomer is always closed), -DNO_DECIDER (each host chooses for itself) or
 * -DNO_DOUBT (the host that does not decide believes every <chosen/> at once).
 */
mtype = { chosen, ping, pong, close };
#ifndef LINKS
#define LINKS 5
#endif
#define PLACES 6                     /* LINKS + 1: link 0 is none */
typedef Ends { chan to[PLACES] = [4] of { mtype } };
typedef Links { bool is[PLACES] };
Ends wire[2];
byte links;                          /* dialled so far */
bool dead[PLACES];
Links sees[2];                       /* sees that the link has ended */
Links opening[2];                    /* not authenticated yet */
Links ready[2];                      /* authenticated, waits for <chosen/> */
byte uses[2];                        /* the chosen link */
byte dialling[2];
byte newcomer;                       /* probing: the link that takes over if the chosen one is silent */
byte heard;                          /* the same at host 1: <chosen/> came on it while another is in use */

#define other(h) (1 - (h))
#define some_ready(h) (ready[h].is[1] || ready[h].is[2] || ready[h].is[3] || ready[h].is[4] || ready[h].is[5])
#define idle(h) (dialling[h] == 0 && uses[h] == 0 && !some_ready(h))

inline say(h, l, what) { if :: dead[l] :: else -> wire[other(h)].to[l]!what fi }

inline choose(l) {
	ready[0].is[l] = false;
	if :: uses[0] != 0 -> say(0, uses[0], close) :: else fi;
	uses[0] = l;
	say(0, l, chosen)
}

/* LinkChoice::ready */
inline is_ready(h, l) {
	opening[h].is[l] = false;
	if :: dialling[h] == l -> dialling[h] = 0 :: else fi;
	ready[h].is[l] = true;
	if
#ifdef NO_DECIDER
	:: h == 1 && uses[1] == 0 -> ready[1].is[l] = false; uses[1] = l
	:: h == 1 && uses[1] != 0
#else
	:: h == 1
#endif
	:: h == 0 && uses[0] == 0 -> choose(l)
	:: h == 0 && uses[0] != 0 ->
#ifdef NO_PROBE
		ready[0].is[l] = false; say(0, l, close)
#else
		if
		:: newcomer != 0 -> ready[0].is[l] = false; say(0, l, close)
		:: else -> newcomer = l; say(0, uses[0], ping)
		fi
#endif
	fi
}

/* LinkChoice::ended */
inline has_ended(h, l) {
	ready[h].is[l] = false;
	opening[h].is[l] = false;
	if :: dialling[h] == l -> dialling[h] = 0 :: else fi;
	if :: h == 0 && newcomer == l -> newcomer = 0 :: else fi;
	if :: h == 1 && heard == l -> heard = 0 :: else fi;
	if
	:: uses[h] == l ->
		uses[h] = 0;
		if
		:: h == 0 && newcomer != 0 -> i = newcomer; newcomer = 0; choose(i)
		:: h == 0 && newcomer == 0 && some_ready(0) -> select_ready(); choose(i)
		:: h == 1 && heard != 0 -> uses[1] = heard; heard = 0
		:: else
		fi
	:: else
	fi
}

inline select_ready() { i = 1; do :: ready[0].is[i] -> break :: else -> i++ od }

inline take(h, l) {
	wire[h].to[l]?what;
	if
	:: what == chosen && uses[h] != l ->
		ready[h].is[l] = false;
#ifdef NO_DOUBT
		if :: uses[h] != 0 -> say(h, uses[h], close) :: else fi;
		uses[h] = l
#else
		if
		:: uses[h] == 0 -> uses[h] = l
		:: uses[h] != 0 ->
			if :: heard != 0 -> say(h, heard, close) :: else fi;
			heard = l;
			say(h, uses[h], ping)
		fi
#endif
	:: what == chosen && uses[h] == l
	:: what == ping -> say(h, l, pong)
	:: what == pong ->
		if
		:: h == 0 && newcomer != 0 && uses[0] == l ->
			i = newcomer; newcomer = 0; ready[0].is[i] = false; say(0, i, close)
		:: h == 1 && heard != 0 && uses[1] == l -> i = heard; heard = 0; say(1, i, close)
		:: else
		fi
	:: what == close -> has_ended(h, l)
	fi
}

proctype Link(byte h; byte l) {
	mtype what; byte i;
end:	do
	:: atomic { opening[h].is[l] && !dead[l] -> is_ready(h, l) }
	:: atomic { opening[h].is[l] && dead[l] -> has_ended(h, l) }
	:: atomic { !opening[h].is[l] && !dead[l] && nempty(wire[h].to[l]) -> take(h, l) }
	:: atomic { dead[l] && sees[h].is[l] -> sees[h].is[l] = false; has_ended(h, l) }
	od
}

active [2] proctype Host() {
	byte h = _pid; byte i;
end:	do
	:: atomic { idle(h) && links < LINKS ->
		links++;
		dialling[h] = links;
		opening[0].is[links] = true;
		opening[1].is[links] = true;
		run Link(0, links);
		run Link(1, links) }
#ifdef SLOW
	:: atomic { h == 0 && newcomer != 0 -> i = newcomer; newcomer = 0; choose(i) }
#else
	:: atomic { h == 0 && newcomer != 0 && dead[uses[0]] -> i = newcomer; newcomer = 0; choose(i) }
#endif
	:: atomic { h == 1 && heard != 0 && dead[uses[1]] -> uses[1] = heard; heard = 0 }
	od
}

active proctype Network() {
	byte l;
	select(l : 1 .. LINKS);
	if
	:: atomic { l <= links && !dead[l] -> dead[l] = true; sees[0].is[l] = true }
	:: atomic { l <= links && !dead[l] -> dead[l] = true; sees[1].is[l] = true }
	:: atomic { l <= links && !dead[l] -> dead[l] = true; sees[0].is[l] = true; sees[1].is[l] = true }
	:: true
	fi
}

/* In the end both use one link, which lives. Nothing can go round for ever: there are no more links to dial. */
ltl one_link { <> [] (uses[0] != 0 && uses[0] == uses[1] && !dead[uses[0]]) }
