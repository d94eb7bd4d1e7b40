package webseed

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// How many requests one web seed has under way, by the protocol: over connections of
// HTTP/1.1, of which a host gets no more over all torrents, and as streams of one.
const (
	MaxRuns      = 4
	maxRunsMulti = 16 // streams of one connection
	// firstLatency is how long an answer is expected to take before one was seen.
	firstLatency = 200 * time.Millisecond
	// ahead is how many parts of a body may wait for the owner.
	ahead = 32
)

// Buffer is the memory of a block.
type Buffer interface {
	Bytes() []byte
	// Extend puts zeros around what it has: so many before it, and behind it up to n
	// bytes in all.
	Extend(before, n int)
	// Free gives it back.
	Free()
}

// Owner is what a Seed tells, and how. All but Run, Buffer and Wait are called on the
// owner's goroutine.
type Owner interface {
	// Run runs fn on the owner's goroutine, later and in order. It may wait.
	Run(fn func())
	// Buffer returns memory of n bytes, at most a block's, of unspecified content; it is
	// called on any goroutine.
	Buffer(n int) Buffer
	// Wait waits until n more bytes may be received; it is called on any goroutine.
	Wait(n int)
	// Block hands over a block that was asked for. data is the owner's from now on.
	Block(in weir.Range, data Buffer)
	// Rejected says that a block that was asked for, and may be taken back, won't come.
	Rejected(in weir.Range)
	// Changed says that Has may answer otherwise for some pieces. Blocks of pieces that
	// the seed has no longer are rejected after it.
	Changed()
}

// Seed is one web seed of one torrent (BEP 19): blocks are asked of it as of a peer,
// and it asks the server for ranges of files. Its methods are for one goroutine, the
// owner's, but for Wait.
type Seed struct {
	base    *url.URL
	info    *weir.TorrentInfo
	site    *Site
	client  *Client
	owner   Owner
	sched   schedule
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	multi   bool
	latency time.Duration // the smallest until an answer's head
}

// NewSeed returns a seed at a base URL. Nothing is asked until Ask and Flush.
func NewSeed(ctx context.Context, base *url.URL, info *weir.TorrentInfo, client *Client, owner Owner) *Seed {
	s := &Seed{base: base, info: info, site: NewSite(info), client: client, owner: owner, sched: newSchedule(info, owner.Buffer), latency: firstLatency}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// Close ends all requests. The owner is told nothing any more but through Run.
func (s *Seed) Close() { s.cancel() }

// Wait returns when, after Close, no request is under way.
func (s *Seed) Wait() { s.wg.Wait() }

// Site is what is known of the server's files.
func (s *Seed) Site() *Site { return s.site }

// Ask asks for a block. Flush sends what was asked.
func (s *Seed) Ask(in weir.Range) { s.sched.ask(in) }

// TakeBack takes a block back. If it had not come, it is rejected at once.
func (s *Seed) TakeBack(in weir.Range) {
	if s.sched.takeBack(in) {
		s.owner.Rejected(in)
	}
}

// TakeBackAll takes all blocks back that have not come.
func (s *Seed) TakeBackAll() {
	for _, b := range s.sched.all() {
		s.TakeBack(b)
	}
}

// Flush starts the requests that can be started. The owner calls it when it has asked,
// and after what Run was given.
func (s *Seed) Flush(now time.Time) {
	most := MaxRuns
	if s.multi {
		most = maxRunsMulti
	}
	for len(s.sched.runs) < most {
		r, ok := s.sched.nextRun(now, s.latency)
		if !ok {
			return
		}
		s.start(r)
	}
}

// start makes the request of a run.
func (s *Seed) start(r *run) {
	at := Locate(s.base, s.info, r.file)
	remembered := s.site.Location(r.file)
	if u, err := url.Parse(remembered); remembered != "" && err == nil {
		if u.Host == at.Host {
			u.User = at.User
		}
		at, r.moved = u, true
	}
	f := &s.info.Files[r.file]
	req := Request{URL: at, Asked: Asked{Range: weir.Range{Off: r.in.Off - f.Offset, End: r.in.End - f.Offset}, Length: f.Length}}
	ctx, cancel := context.WithCancel(s.ctx)
	r.stop = cancel
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer cancel()
		b := &body{seed: s, run: r, ctx: ctx, parts: r.parts, room: make(chan struct{}, ahead)}
		res, err := s.client.Get(ctx, req, b)
		if b.part != nil {
			b.part.Free()
		}
		s.owner.Run(func() { s.ended(r, res, err) })
	}()
}

// body takes what a run brings, in memory of blocks, to the owner.
type body struct {
	seed  *Seed
	run   *run
	ctx   context.Context
	parts []int // that have not come
	part  Buffer
	room  chan struct{} // has an entry for each part that waits for the owner
}

var _ Sink = (*body)(nil)

// Next implements Sink.
func (b *body) Next() []byte {
	b.part = b.seed.owner.Buffer(b.parts[0])
	return b.part.Bytes()
}

// Filled implements Sink.
func (b *body) Filled() error {
	select {
	case b.room <- struct{}{}:
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	part := b.part
	b.part, b.parts = nil, b.parts[1:]
	b.seed.owner.Wait(len(part.Bytes()))
	b.seed.owner.Run(func() {
		<-b.room
		b.seed.came(b.run, part)
	})
	return nil
}

// came takes a part of a run.
func (s *Seed) came(r *run, part Buffer) {
	s.site.Delivered(r.file)
	if b, data := s.sched.came(time.Now(), r, part); b != nil {
		s.owner.Block(b.in, data)
	}
}

// ended takes what became of a request.
func (s *Seed) ended(r *run, res Result, err error) {
	now := time.Now()
	if r.moved && !r.stopped && r.at == r.in.Off && s.ctx.Err() == nil && notThere(res, err) {
		// The file is elsewhere by now, and the seed knows where.
		s.site.Redirected(r.file, "")
		r.moved = false
		s.start(r)
		return
	}
	s.multi = s.multi || res.Multi
	if res.First > 0 {
		s.latency = min(s.latency, res.First)
	}
	changed := true
	var body *BodyError
	switch {
	case s.ctx.Err() != nil, errors.Is(err, context.Canceled):
		changed = false // taken back
	case errors.As(err, &body):
		s.site.Broke(now, r.file, body.Reason)
	case errors.Is(err, netrule.ErrInside):
		s.site.GiveUp(plain(err))
	case err != nil && (r.moved || res.Hops > 0):
		s.site.Broke(now, r.file, plain(err)) // another server than the seed's own
	case err != nil:
		s.site.Failed(now, plain(err))
	default:
		if res.Location != "" {
			s.site.Redirected(r.file, res.Location)
		}
		changed = s.site.Answered(now, r.file, res.Answer)
	}
	owed := s.sched.ended(r)
	if changed {
		s.owner.Changed()
	}
	for _, in := range owed {
		s.owner.Rejected(in)
	}
}

// notThere reports whether what became of a request says nothing but that its server
// is the wrong one.
func notThere(res Result, err error) bool {
	return err != nil || res.Verdict == Missing || res.Verdict == FailFile || res.Verdict == Malformed
}
