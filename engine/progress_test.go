package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/internal/link"
)

func TestProgress(t *testing.T) {
	read := progress{metadata: true, wanted: true, waiting: 1, waited: time.Minute, piece: 7}
	with := func(change func(*progress)) progress {
		f := read
		change(&f)
		return f
	}
	for _, test := range []struct {
		name  string
		f     progress
		state State
		why   string
	}{
		{"NoPeerNoTracker", read, StateStuck, "no peer is known, and there is no tracker to ask"},
		{"TrackerDown", with(func(f *progress) { f.trackers = []string{"http://x: connection refused"} }), StateStuck,
			"no peer is known; http://x: connection refused"},
		{"Dialing", with(func(f *progress) { f.known, f.dialing = 2, 1 }), StateStuck, "connecting to 2 peers"},
		{"Refused", with(func(f *progress) {
			f.known, f.lastDial = 1, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
		}), StateStuck, "1 peer known, none connected: the last one refused the connection"},
		{"Timeout", with(func(f *progress) { f.known, f.lastDial = 1, context.DeadlineExceeded }), StateStuck,
			"1 peer known, none connected: the last one did not answer"},
		{"HungUp", with(func(f *progress) { f.known, f.lastDial = 1, fmt.Errorf("%w: EOF", link.ErrHungUp) }), StateStuck,
			"1 peer known, none connected: the last one hung up in the handshake"},
		{"Other", with(func(f *progress) { f.known, f.lastDial = 1, errors.New("odd") }), StateStuck,
			"1 peer known, none connected: the last one failed: odd"},
		{"NobodyHasIt", with(func(f *progress) { f.peers = 3 }), StateStuck, "3 peers connected, none has piece 7"},
		{"Choked", with(func(f *progress) { f.peers, f.having = 3, 1 }), StateStuck,
			"1 peer with piece 7 connected, waiting for a turn (choked)"},
		{"Silent", with(func(f *progress) { f.peers, f.having, f.serving = 3, 2, 2 }), StateStuck,
			"2 peers with piece 7 connected, none has sent anything lately"},
		{"NobodyHasTheMetadata", progress{peers: 2, waiting: 1}, StateMetadata, "2 peers connected, none has the metadata"},
		{"MetadataComes", progress{peers: 2, withMetadata: 1}, StateMetadata, "the metadata is on its way from 1 peer"},
		{"Reading", with(func(f *progress) { f.arrived = true }), StateReading, ""},
		{"JustBegun", with(func(f *progress) { f.waited = time.Millisecond }), StateReading, ""},
		{"Fetching", progress{metadata: true, wanted: true}, StateFetching, ""},
		{"FetchingNothing", progress{metadata: true, wanted: true, silent: time.Minute, piece: -1, peers: 2, having: 1}, StateStuck,
			"1 peer with what is wanted connected, waiting for a turn (choked)"},
		{"NobodyToFetchFrom", progress{metadata: true, wanted: true, silent: time.Minute, piece: -1}, StateStuck,
			"no peer is known, and there is no tracker to ask"},
		{"Idle", progress{metadata: true}, StateIdle, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.f.state(); got != test.state {
				t.Errorf("state %s, want %s", got, test.state)
			}
			if got := test.f.why(); test.why != "" && got != test.why {
				t.Errorf("why = %q, want %q", got, test.why)
			}
		})
	}
}
