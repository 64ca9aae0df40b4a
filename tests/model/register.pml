/* The head register's protocol (src/volume/REGISTER.md) as a model for spin: two proposers, three keepers of one
 * configuration, compare-and-swap. Messages travel one by one: each may be late, overtaken by others, or lost for ever,
 * for a proposer may at any time go on without waiting for the rest of its answers, and give up a round.
 *
 * Checked in every reachable state:
 *   agreement    of two values accepted by majorities, the one of the lower ballot is the other or before it: one chain
 *   durability   a value whose writer was told that it was chosen stays in the chain
 *   no loss      of two compare-and-swaps on one parent at most one is in the chain
 *
 * A value is the history of writers that led to it: its number in base 4, the last writer in the lowest digit; 0 is the
 * empty register. So "v is before w" is "some w / 4^n is v".
 *
 * Breaches that must be found: BROKEN_FORGET (a keeper forgets a promise in a crash), BROKEN_LOWER (it accepts below its
 * promise), BROKEN_BLIND (a proposer writes over the value of the highest ballot that it was shown).
 */

#define KEEPERS 3
#define PROPOSERS 2
#define ROUNDS 2     /* of each proposer */
#define MAJORITY 2
#define NOBODY 255

/* A ballot is round * PROPOSERS + proposer + 1; 0 is none. */
#define BALLOTS 5
#define BALLOT(round, me) ((round) * PROPOSERS + (me) + 1)

/* --- keepers --- */
byte promised[KEEPERS];
byte accepted[KEEPERS];  /* the ballot of value */
byte value[KEEPERS];

/* --- what was ever accepted, for the assertions only --- */
byte proposal[BALLOTS];   /* what this ballot proposes */
byte acceptors[BALLOTS];  /* how many keepers accepted it */
byte told[PROPOSERS];     /* a value whose writer was told that it is chosen; 0: none */

inline is_before(v, w, result) {
  /* up to 4 writes lead to a value here: 2 proposers, 2 rounds */
  result = (v == w) || (v == w / 4) || (v == w / 16) || (v == w / 64) || (v == 0)
}

/* Called whenever a keeper has accepted. */
inline check() {
  byte low, high;
  bool ordered;
  low = 1;
  do
  :: low < BALLOTS ->
     high = low;
     do
     :: high < BALLOTS ->
        if
        :: acceptors[low] >= MAJORITY && acceptors[high] >= MAJORITY ->
           is_before(proposal[low], proposal[high], ordered);
           assert(ordered)
        :: else
        fi;
        high++
     :: else -> break
     od;
     low++
  :: else -> break
  od;
  low = 0; high = 0
}

inline check_told(me) {
  byte other;
  bool fits, fits_back;
  other = 0;
  do
  :: other < PROPOSERS ->
     is_before(told[me], told[other], fits);
     is_before(told[other], told[me], fits_back);
     assert(fits || fits_back);
     other++
  :: else -> break
  od;
  other = 0; fits = false; fits_back = false
}

proctype Proposer(byte me) {
  byte round, ballot, k, answers, best, seen, write, expected;
  bool contained;

  expected = 0;  /* the value on which it means to write; its own compare-and-swap */
  write = 0;     /* its value, once it has one: the same in each round */
  round = 0;
  do
  :: round < ROUNDS ->
     ballot = BALLOT(round, me);

     /* Prepare: the requests reach the keepers one by one, with anything in between, or are lost; so are answers. Their
      * order is fixed, for keepers know nothing of one another: what differs is only what happens in between. */
     answers = 0;
     best = 0;
     seen = 0;
     k = 0;
     do
     :: k < KEEPERS ->
        atomic {
          if
          :: ballot > promised[k] ->
             promised[k] = ballot;
             answers++;
             if
             :: accepted[k] > best -> best = accepted[k]; seen = value[k]
             :: else
             fi
          :: ballot > promised[k] -> promised[k] = ballot  /* the answer is lost */
          :: true  /* the request is lost, or refused */
          fi;
          k++
        }
     :: else -> break
     od;
     k = 0;

     if
     :: answers >= MAJORITY ->
        atomic {
#ifdef BROKEN_BLIND
          proposal[ballot] = expected * 4 + me + 1;
          write = proposal[ballot];
#else
          if
          :: write == 0 && seen == expected -> write = expected * 4 + me + 1; proposal[ballot] = write
          :: write != 0 && seen == expected -> proposal[ballot] = write   /* its earlier try has come to nothing so far */
          :: else -> proposal[ballot] = seen  /* carries on what it found, be it its own or another's */
          fi
#endif
        }
        /* Accept: the messages travel by themselves (Network), so that they may arrive long after the proposer has
         * gone on to its next round. The proposer waits for a majority or gives up. */
        if
        :: atomic {
             acceptors[ballot] >= MAJORITY ->
             if
             :: write != 0 ->
                is_before(write, proposal[ballot], contained);
                if
                :: contained -> told[me] = write; check_told(me); expected = proposal[ballot]; write = 0
                :: else -> write = 0; expected = proposal[ballot]  /* conflict: somebody else was first; it reads again */
                fi
             :: else -> expected = proposal[ballot]
             fi;
             contained = false
           }
        :: skip  /* a time-out: what its proposal did is unknown */
        fi
     :: else
     fi;
     round++
  :: else -> break
  od
}

/* All accept messages: each arrives at any time after it was sent, or never. One that finds a higher promise is as good as
 * lost, and one that is late may arrive after all that was sent later. */
short arrived;  /* one bit for each keeper and ballot */

#define MESSAGE(k, b) (1 << ((k) * (BALLOTS - 1) + (b) - 1))
#ifdef BROKEN_LOWER
#define MAY_ACCEPT(k, b) true
#else
#define MAY_ACCEPT(k, b) ((b) >= promised[k])
#endif

inline accept(k, b) {
  arrived = arrived | MESSAGE(k, b);
  promised[k] = b;
  accepted[k] = b;
  value[k] = proposal[b];
  acceptors[b]++;
  check()
}
#define DELIVERS(k, b) proposal[b] != 0 && (arrived & MESSAGE(k, b)) == 0 && MAY_ACCEPT(k, b)

proctype Network() {
  byte k, b;
  end: do
  :: atomic {
       if
       :: DELIVERS(0, 1) -> k = 0; b = 1
       :: DELIVERS(0, 2) -> k = 0; b = 2
       :: DELIVERS(0, 3) -> k = 0; b = 3
       :: DELIVERS(0, 4) -> k = 0; b = 4
       :: DELIVERS(1, 1) -> k = 1; b = 1
       :: DELIVERS(1, 2) -> k = 1; b = 2
       :: DELIVERS(1, 3) -> k = 1; b = 3
       :: DELIVERS(1, 4) -> k = 1; b = 4
       :: DELIVERS(2, 1) -> k = 2; b = 1
       :: DELIVERS(2, 2) -> k = 2; b = 2
       :: DELIVERS(2, 3) -> k = 2; b = 3
       :: DELIVERS(2, 4) -> k = 2; b = 4
       fi;
       accept(k, b);
       k = 0;
       b = 0
     }
  od
}

#ifdef BROKEN_FORGET
/* A keeper loses its power before the promise was synced: it comes back without it. */
proctype Crash(byte k) {
  atomic { promised[k] > accepted[k] -> promised[k] = accepted[k] }
}
#endif

init {
  atomic {
    run Proposer(0);
    run Proposer(1);
    run Network();
#ifdef BROKEN_FORGET
    run Crash(0)
#endif
  }
}
