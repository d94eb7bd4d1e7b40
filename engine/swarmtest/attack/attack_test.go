package attack_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/swarmtest/attack"
)

// TestKinds: each has a name of its own, and sends something to who shakes hands and
// takes it; only silence does not.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range append(attack.Kinds(), attack.MagnetKinds()...) {
		if seen[k.Name] || strings.TrimSpace(k.Name) == "" {
			t.Errorf("the name %q is taken", k.Name)
		}
		seen[k.Name] = true
		t.Run(k.Name, func(t *testing.T) {
			client, nc := net.Pipe()
			taken := make(chan int64, 1)
			go func() {
				head := make([]byte, 68)
				n, _ := io.ReadFull(client, head)
				go func() { _, _ = client.Write(make([]byte, 68)) }() // nobody reads it from who shakes no hands
				m, _ := io.CopyN(io.Discard, client, 300)
				_ = client.Close()
				taken <- int64(n) + m
			}()
			o, err := k.Run(t.Context(), nc, attack.Target{Pieces: 100, PieceLength: 64 << 10, Metadata: 1000})
			_ = nc.Close()
			if err != nil {
				t.Fatal(err)
			}
			if n := <-taken; n == 0 && k.Name != "silence" {
				t.Errorf("nothing was sent: %+v", o)
			}
		})
	}
}
