package picker

import "time"

// queue is what one peer was asked for.
type queue struct {
	maxRequests    int                 // that it accepts at a time (BEP 10 reqq)
	oldest, newest *request            // in flight, in the order of sending
	inFlight       int                 // how many
	queued         int64               // their bytes, without what was cancelled
	unreclaimable  int64               // of queued, what a read would have to wait for; see reclaim
	readBehind     bool                // a read's blocks were put behind others that can wait
	askedEarly     bool                // it was asked before it said that it serves us
	behindHedge    bool                // others delivered what it was asked for, and it has not spoken since
	takenBack      map[Block]time.Time // what was taken back and may come yet: when it may be asked for again
}

func (q *queue) append(r *request) {
	r.before = q.newest
	if q.newest == nil {
		q.oldest = r
	} else {
		q.newest.after = r
	}
	q.newest = r
	q.inFlight++
	q.queued += r.bytes()
	q.unreclaimable += r.bytes()
}

func (q *queue) remove(r *request) {
	if r.before == nil {
		q.oldest = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		q.newest = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	q.inFlight--
	if !r.cancelled {
		q.queued -= r.bytes()
	}
}

// mayStillSend remembers that a block which was taken back may still arrive.
func (q *queue) mayStillSend(b Block) {
	if len(q.takenBack) >= 2*maxInFlight {
		clear(q.takenBack) // more than it was ever asked for at a time
	}
	q.takenBack[b] = time.Time{}
}

// maySend reports whether an answer is to come for a block that was taken back.
func (q *queue) maySend(now time.Time, b Block) bool { return now.Before(q.takenBack[b]) }
