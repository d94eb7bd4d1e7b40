package merkle_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	theirs "github.com/anacrolix/torrent/merkle"

	"github.com/weirfs/weir/engine/source/merkle"
)

// layerOf makes n different hashes.
func layerOf(n int) (flat []byte, each [][32]byte) {
	for i := range n {
		h := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		flat, each = append(flat, h[:]...), append(each, h)
	}
	return flat, each
}

// TestLayerRoot compares with an implementation that we did not write.
func TestLayerRoot(t *testing.T) {
	for n := 1; n <= 70; n++ {
		flat, each := layerOf(n)
		for _, layer := range []int{0, 1, 4, 9} {
			if got, want := merkle.LayerRoot(flat, layer), theirs.RootWithPadHash(each, merkle.Pad(layer)); got != want {
				t.Fatalf("%d hashes of layer %d: root %x, want %x", n, layer, got, want)
			}
		}
	}
}

func TestPad(t *testing.T) {
	if merkle.Pad(0) != [32]byte{} {
		t.Errorf("leaf behind the end is %x", merkle.Pad(0))
	}
	for layer := 1; layer <= 12; layer++ {
		if got, want := merkle.Pad(layer), theirs.Root(make([][32]byte, 1<<layer)); got != want {
			t.Errorf("layer %d: %x, want %x", layer, got, want)
		}
	}
}

// TestStackDepth is about trees that are wider than what was added to them, as
// that of the last piece of a file.
func TestStackDepth(t *testing.T) {
	var s merkle.Stack
	for n := 1; n <= 33; n++ {
		for depth := merkle.Depth(int64(n)); depth <= 8; depth++ {
			_, each := layerOf(n)
			s.Reset(0)
			for i := range each {
				s.Add(&each[i])
			}
			got := s.Root(depth)
			if want := theirs.Root(append(each, make([][32]byte, 1<<depth-n)...)); got != want {
				t.Fatalf("%d leaves, depth %d: %x, want %x", n, depth, got, want)
			}
		}
	}
}

func TestDepth(t *testing.T) {
	for n, want := range map[int64]int{1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 512: 9, 513: 10, 1 << 46: 46} {
		if got := merkle.Depth(n); got != want {
			t.Errorf("Depth(%d) = %d, want %d", n, got, want)
		}
	}
}

func BenchmarkLayerRoot(b *testing.B) {
	for _, n := range []int{256, 1 << 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			flat, _ := layerOf(n)
			b.ReportAllocs()
			b.SetBytes(int64(len(flat)))
			for b.Loop() {
				merkle.LayerRoot(flat, 4)
			}
		})
	}
}
