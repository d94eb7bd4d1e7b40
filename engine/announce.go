package engine

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/anacrolix/torrent/tracker"
	"github.com/anacrolix/torrent/types/infohash"

	"github.com/weirfs/weir"
)

// Times of announcing (BEP 3, 12).
const (
	announceTimeout = 15 * time.Second
	goodbyeTimeout  = time.Second
	leastInterval   = 30 * time.Second
	mostInterval    = time.Hour
	usualInterval   = 30 * time.Minute
	wantedPeers     = 100
)

// announce tells the trackers that we are here, each tier beside the others: a
// dead tier must not keep the living ones waiting.
func (s *swarm) announce() {
	for _, tier := range s.trackers {
		tier = slices.Clone(tier)
		rand.Shuffle(len(tier), func(i, j int) { tier[i], tier[j] = tier[j], tier[i] })
		s.spawn(func() { s.announceTier(tier) })
	}
}

// announceTier keeps one tier informed while the swarm runs. Trackers are tried
// in turn; one that answers goes to the front (BEP 12).
func (s *swarm) announceTier(tier []string) {
	event, failures, last := tracker.Started, 0, ""
	for {
		wait, answered := time.Duration(0), false
		for i, url := range tier {
			res, err := s.announceTo(s.ctx, url, event, announceTimeout)
			if s.ctx.Err() != nil {
				break
			}
			if err != nil {
				s.log.Debug("tracker did not answer", "tracker", url, "err", err)
				continue
			}
			copy(tier[1:i+1], tier[:i])
			tier[0], last = url, url
			event, failures, answered = tracker.None, 0, true
			wait = min(max(time.Duration(res.Interval)*time.Second, leastInterval), mostInterval)
			if res.Interval <= 0 {
				wait = usualInterval
			}
			s.do(func() { s.candidates.add(addresses(res.Peers)...) })
			break
		}
		if !answered {
			failures++
			wait = min(5*time.Second<<min(failures, 9), usualInterval)
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			if last != "" {
				_, _ = s.announceTo(context.WithoutCancel(s.ctx), last, tracker.Stopped, goodbyeTimeout)
			}
			return
		}
	}
}

func (s *swarm) announceTo(ctx context.Context, url string, event tracker.AnnounceEvent, timeout time.Duration) (tracker.AnnounceResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := tracker.AnnounceRequest{
		InfoHash:   infohash.T(s.t.ih),
		PeerId:     s.eng.peerID,
		Downloaded: s.t.counts.downloaded.Load(),
		Uploaded:   s.t.counts.uploaded.Load(),
		Left:       s.left(),
		Event:      event,
		NumWant:    wantedPeers,
		Port:       uint16(s.eng.Port()),
	}
	return tracker.Announce{
		TrackerUrl: url,
		Request:    req,
		UserAgent:  s.eng.opts.UserAgent,
		Context:    ctx,
		Slogger:    s.log,
	}.Do()
}

// left returns the bytes that we don't hold. While the size is unknown it is a
// block, because zero would say that we are a seed.
func (s *swarm) left() int64 {
	info := s.t.Info()
	if info == nil {
		return weir.BlockBytes
	}
	left := info.Length
	for i, held := range s.eng.opts.Store.Held(s.t.ih, info.NumPieces()) {
		if held {
			left -= info.PieceRange(i).Len()
		}
	}
	return left
}

// addresses turns a tracker's answer into what can be dialed.
func addresses(peers []tracker.Peer) []string {
	var out []string
	for _, p := range peers {
		if len(p.IP) > 0 && p.Port > 0 && p.Port < 1<<16 {
			out = append(out, net.JoinHostPort(p.IP.String(), strconv.Itoa(p.Port)))
		}
	}
	return out
}
