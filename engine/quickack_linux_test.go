package engine_test

import (
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestQuickAck: the delay of acknowledgements that the kernel falls back to is off
// again after a read, plain and encrypted.
func TestQuickAck(t *testing.T) {
	for name, e := range map[string]engine.Encryption{"Plain": engine.EncryptionOff, "Encrypted": engine.EncryptionRequired} {
		t.Run(name, func(t *testing.T) {
			c := newContent(t, 1<<20, 64<<10)
			s := openSeeder(t, c, swarmtest.SeederOptions{Encryption: swarmtest.EncryptionAllowed})
			tor := addTorrent(t, openEngine(t, engine.Options{Encryption: e}), specOf(c, s.Addr()))
			ctx := testContext(t, time.Minute)
			wantBytes(t, ctx, tor, c, 0, 4096)
			if !tor.DelayAcks() {
				t.Fatal("the kernel does not delay acknowledgements")
			}
			wantBytes(t, ctx, tor, c, 512<<10, 4096)
			for !tor.AcksAtOnce() {
				if ctx.Err() != nil {
					t.Fatal("acknowledgements stay delayed")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}
