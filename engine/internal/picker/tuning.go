package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// The constants of all decisions.

// Of the requests kept at a peer.
const (
	// DefaultMaxRequests is assumed of a peer that does not say how many requests
	// it queues: the smallest that common clients use.
	DefaultMaxRequests = 250
	// maxInFlight bounds the requests at one peer, 32 MiB.
	maxInFlight = 2048
	// startBlocks are asked at first of a peer that was never measured; they double with
	// each round trip, as TCP's slow start does.
	startBlocks = 16
	// minBlocks are asked of the slowest: one on its way and one queued.
	minBlocks = 2
	// EarlyBlocks is how many blocks to ask of a peer that has not spoken yet: what is
	// asked at first of any.
	EarlyBlocks = startBlocks
	// What is queued at a peer beyond its round trip lies in its send buffer and in the
	// routers between, where no cancel reaches it, and a read outside every window waits
	// behind it. So for shortQueueFor after such a read the queues are kept to
	// shortQueueTime. A peer's rate is then measured upwards only: it may lack requests.
	shortQueueFor  = 3 * time.Second
	shortQueueTime = 30 * time.Millisecond
)

const (
	// besideOthers is the share of the rate of a peer with runs that others must give for it
	// to be beside them.
	besideOthers = 0.25
	// besideQueues is how many times as much as at peers is kept queued there then. A
	// request costs a round trip, and what the server takes to answer.
	besideQueues = 2
)

// etaSlack is how much later than the earliest possible delivery a block may be expected
// and still be asked of a peer that has room. Beyond, it waits for a better peer to have
// room.
var etaSlack = [...]time.Duration{
	weir.Background: time.Hour,
	weir.Window:     500 * time.Millisecond,
	weir.Blocked:    20 * time.Millisecond,
}

// Of whose turn it is.
const (
	// blocksPerTurn is how much one window is given before the next one's turn.
	blocksPerTurn = 32
	// backgroundRetry is for how long what is wanted in the background is not looked at
	// again when there was nobody to ask for any of it: it may be a million pieces that
	// no peer has.
	backgroundRetry = time.Second
	// worthReclaiming is how much earlier a read must be served for it to be worth
	// taking requests back.
	worthReclaiming = 20 * time.Millisecond
	// A block that a read waits for is taken back from a peer that needs longAnswer for it
	// when another one needs a soonerBy-th of that.
	longAnswer = 500 * time.Millisecond
	soonerBy   = 3
	// hedgeEvery is how often blocks that are late are looked for.
	hedgeEvery = 20 * time.Millisecond
	// trialEvery is how long the trials of a piece may take before there is one more.
	trialEvery = 2 * time.Second
	// A peer that left in the middle of its trial maxBrokenOff times sends the same
	// beginning again and again: until its next trial passes twice trialEvery, doubled each
	// time up to maxTrialDoublings.
	maxBrokenOff      = 3
	maxTrialDoublings = 5
)

// Of a peer's rate.
const (
	assumedRate = 4 << 20 // bytes per second, of a peer that was never measured
	// A sample takes so long at least; the longer one counts once the peer has
	// delivered youngBytes, because then a burst (what waited in a router, or for
	// us) is a larger mistake than a slow ramp.
	sampleTime     = 50 * time.Millisecond
	longSampleTime = 200 * time.Millisecond
	youngBytes     = 8 << 20
	// After a pause TCP starts slowly again: samples below the known rate count
	// only when the peer has been busy for so long.
	settleTime = 300 * time.Millisecond
	// Over so many blocks their mean length is taken. Of files that are much smaller than
	// a block, each with a piece of its own, a window in bytes would be no window at all:
	// a peer that delivers 1.6 KB a round trip would be asked for one such block.
	blocksInMean = 16
	// A pause counts for so long.
	jitterTime = 5 * time.Second
	// Pulses are looked for over so long, and believed to be no longer than so much:
	// Transmission sends every 500 ms.
	pulseTime = time.Second
	maxPulse  = 600 * time.Millisecond
)

// Of a peer that is silent.
const (
	// What is added to the round trip before silence means something, at least and
	// at most.
	minSilence = 50 * time.Millisecond
	maxSilence = 150 * time.Millisecond
	// The same when a read waits for this peer alone.
	shortSilence = 75 * time.Millisecond
	// maxPatience bounds a peer's patience, however slow it is.
	maxPatience = 4 * time.Second
	// earlyPatience is what a peer is given beyond two round trips, the handshake's and
	// its own, to answer what it was asked for before it had unchoked us.
	earlyPatience = 50 * time.Millisecond
	// forgottenAfter is how late a block may be while others of its peer arrive.
	forgottenAfter = 10 * time.Second
	// A peer that speaks after everything was taken back was given up too soon: the silence
	// that it takes to give it up doubles, at most so often. One doubling is forgotten in
	// each spell of earlySnubTime.
	maxEarlySnubs = 5
	earlySnubTime = time.Minute
	// maxGiveUp bounds that silence.
	maxGiveUp = 3 * maxPatience
	// snubbedPenalty is how much later a block is expected of a peer that is snubbed.
	snubbedPenalty = 10 * time.Second
	// askAgainAfter is how long a peer with BEP 6, which should answer each request, is not
	// asked again for a block that was taken back because it was silent. If its line is
	// slow, the block may be on its way, and would come twice; but Transmission 3.00 drops
	// what was cancelled without a word, and a read may have nobody else to ask.
	askAgainAfter = 4 * time.Second
	// maxRefusals of blocks of one piece mean that the peer does not have it.
	maxRefusals = 3
)

// Of pieces that others want too.
const (
	// judgeEvery is how long it stands whether a piece is left to others.
	judgeEvery = 20 * time.Millisecond
	// turnTime is how much later each peer in turn begins a piece that nobody has begun,
	// more than a claim takes to reach the others; maxTurns of it at most.
	turnTime = 100 * time.Millisecond
	maxTurns = 20
	// No more is fetched from the seeds at a time than what they send in frontTime, at least
	// so many pieces and bytes, in the order of reading: if each fellow fetched a piece of its
	// own, each piece would come late.
	frontTime     = time.Second
	minFront      = 4
	minFrontBytes = 4 << 20
	// A claim is believed while its peer makes progress within claimStall, and until it is
	// claimGrace older than claimPatience times as long as its claims should take, of which no
	// more than maxClaimsWaited count. It is taken to get minShare blocks per second at least.
	claimStall      = 2 * time.Second
	claimGrace      = 4 * time.Second
	claimPatience   = 2.0
	maxClaimsWaited = 2
	minShare        = 16
	// It is not believed when the rest of it would take slowClaim times as long as all of
	// it would take the fastest, and slowGrace. How fast they are is measured over progressTime.
	slowClaim    = 5.0
	slowGrace    = 1000 * time.Millisecond
	progressTime = 1000 * time.Millisecond
	// After so many claims that came to nothing, and fewer that came true, those of the peer
	// are ignored for claimIgnored, and twice as long after each more, up to maxClaimFailures.
	claimFailures    = 3
	claimIgnored     = time.Minute
	maxClaimFailures = 6
	// A piece that another holds is waited for at most so much longer than it should take,
	// and claimStall, and not at all if the seeds are so much faster. A read waits no longer
	// than strangerPatience for those whose rate is not known, and where they are too slow no
	// longer than readPatience for another that fetches it from the seeds.
	holderPatience   = 2.0
	seedsWorth       = 2.0
	strangerPatience = 300 * time.Millisecond
	readPatience     = time.Second
)
