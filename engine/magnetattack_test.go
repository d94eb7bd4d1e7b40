package engine_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/attack"
)

// TestAttacksOnMagnets: while the metadata is unknown, forty connections, in each way
// to lie about it, keep neither the metadata nor the content from being read, and
// what is kept of them is no more than what they have sent.
func TestAttacksOnMagnets(t *testing.T) {
	const attackers = 40
	c := numberedContent(t, 1)
	for _, k := range attack.MagnetKinds() {
		t.Run(k.Name, func(t *testing.T) {
			e := openEngine(t, engine.Options{})
			tor := addTorrent(t, e, magnetOf(c))
			ctx, stop := context.WithCancel(testContext(t, time.Minute))
			target := attack.Target{InfoHash: c.InfoHash(), Pieces: 4, PieceLength: 256 << 10, Metadata: len(c.InfoBytes())}
			before := heap()
			done := make(chan attack.Outcome, attackers)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
			for range attackers {
				nc, err := d.DialContext(ctx, "tcp", portOf(e))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = nc.Close() })
				go func() {
					o, _ := k.Run(ctx, nc, target) // it may be banned before its turn
					done <- o
				}()
			}
			// One more who only waits: it gets the metadata when the honest one has given it.
			waiting := make(chan error, 1)
			go func() {
				_, err := tor.WaitInfo(ctx)
				waiting <- err
			}()
			var sent int64
			for range attackers {
				o := <-done
				sent += o.Sent
			}
			kept := heap() - before
			t.Logf("%d bytes sent, %d kept", sent, kept)
			if kept > sent+32<<20 {
				t.Errorf("%d bytes are kept after %d were sent", kept, sent)
			}
			tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{}).Addr()})
			if err := <-waiting; err != nil {
				t.Fatalf("metadata: %v; %s", err, tor.Stats().Why)
			}
			wantBytes(t, ctx, tor, c, 0, 1<<20)
			stop()
		})
	}
}

// TestLargeMetadata: a dictionary that is only hashed at first comes all the same.
func TestLargeMetadata(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "large", Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 1 << 20, Seed: 7}},
		InfoExtra: map[string]string{"source": strings.Repeat("x", 9<<20)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{})
	wantBytes(t, testContext(t, time.Minute), addTorrent(t, e, magnetOf(c, s.Addr())), c, 0, 1<<20)
}

// TestMetadataAboveTheBound: what is larger than MaxMetadata is not fetched, and the
// torrent says why it waits; with a larger bound it is.
func TestMetadataAboveTheBound(t *testing.T) {
	c := numberedContent(t, 1)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	size := int64(len(c.InfoBytes()))
	e := openEngine(t, engine.Options{MaxMetadata: size - 1})
	tor := addTorrent(t, e, magnetOf(c, s.Addr()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := tor.WaitInfo(ctx)
		ended <- err
	}()
	patient := testContext(t, 30*time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for tor.Stats().Why == "" || tor.Stats().Peers == 0 || !strings.Contains(tor.Stats().Why, "--max-metadata allows") {
		select {
		case <-tick.C:
		case <-patient.Done():
			t.Fatalf("it says %q", tor.Stats().Why)
		}
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("the metadata is there")
	}
	e = openEngine(t, engine.Options{MaxMetadata: size})
	wantBytes(t, patient, addTorrent(t, e, magnetOf(c, s.Addr())), c, 0, 1<<20)
}
