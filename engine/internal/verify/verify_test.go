package verify_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
)

// odd are file lengths around everything that counts: blocks, pieces, powers of two.
var odd = []int64{1, 0, block - 1, block, block + 1, 0, 3*block + 5, 4 * block, 4*block + 1, 11 * block, 5*block + 7, 16*block + 1, 2}

func TestCheck(t *testing.T) {
	for name, s := range map[string]*sample{
		"V1":                newSampleV1(4*block, 19*block+100),
		"V1OddPieces":       newSampleV1(99_999, 300_001),
		"V2":                newSampleV2(4*block, odd...),
		"V2PiecesOfABlock":  newSampleV2(block, odd...),
		"V2EverythingSmall": newSampleV2(64*block, odd...),
	} {
		t.Run(name, func(t *testing.T) {
			h := s.full(t)
			for i := range s.info.NumPieces() {
				p := s.piece(i)
				if !h.Known(i) {
					t.Fatalf("piece %d is not known", i)
				}
				for _, n := range []int{block, 1000, block + 3, 2 * block, 1 << 20} {
					if !h.Check(i, cut(p, n)) {
						t.Fatalf("piece %d in slices of %d bytes is refused", i, n)
					}
				}
				if !h.Check(i, append([][]byte{nil}, slices.Insert(cut(p, block), 1, []byte{})...)) {
					t.Fatalf("piece %d with empty slices is refused", i)
				}
				for name, wrong := range map[string][]byte{
					"Flipped": flip(p), "Short": p[:len(p)-1], "Long": append(slices.Clone(p), 0), "None": nil,
				} {
					if h.Check(i, cut(wrong, block)) {
						t.Fatalf("%s: piece %d is taken", name, i)
					}
				}
			}
			for _, i := range []int{-1, s.info.NumPieces()} {
				if h.Known(i) || h.Check(i, nil) {
					t.Errorf("piece %d is known", i)
				}
			}
		})
	}
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// TestCheckRootsOnly is about a v2 torrent whose layers nobody has told.
func TestCheckRootsOnly(t *testing.T) {
	s := newSampleV2(4*block, odd...)
	h := s.empty(t)
	for i := range s.info.NumPieces() {
		file, _ := s.info.FilesIn(s.info.PieceRange(i))
		one := s.layers[file] == nil
		if h.Known(i) != one || h.Check(i, cut(s.piece(i), block)) != one {
			t.Errorf("piece %d of file %d: known %v", i, file, h.Known(i))
		}
	}
	for file, layer := range s.layers {
		if h.Layer(file) != nil {
			t.Errorf("file %d has a layer from nowhere", file)
		}
		if layer == nil {
			if err := h.SetLayer(file, s.roots[file][:]); !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("file %d of one piece: %v", file, err)
			}
			continue
		}
		if err := h.SetLayer(file, flip(layer)); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("file %d, wrong layer: %v", file, err)
		}
		for _, wrong := range [][]byte{nil, layer[:len(layer)-32], layer[1:], append(slices.Clone(layer), layer[:32]...)} {
			if err := h.SetLayer(file, wrong); !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("file %d, layer of %d bytes: %v", file, len(wrong), err)
			}
		}
		if err := h.SetLayer(file, layer); err != nil {
			t.Errorf("file %d: %v", file, err)
		}
		if got := h.Layer(file); !slices.Equal(got, layer) {
			t.Errorf("file %d: layer %x, want %x", file, got, layer)
		}
	}
	for i := range s.info.NumPieces() {
		if !h.Check(i, cut(s.piece(i), block)) {
			t.Errorf("piece %d is refused", i)
		}
	}
	full := s.full(t)
	for file, layer := range s.layers {
		if got := full.Layer(file); !slices.Equal(got, layer) {
			t.Errorf("file %d: layer %x, want %x", file, got, layer)
		}
		if layer != nil && (full.SetLayer(file, layer) != nil || !errors.Is(full.SetLayer(file, flip(layer)), weir.ErrCorrupt)) {
			t.Errorf("file %d: a layer that is known already", file)
		}
	}
	for _, file := range []int{-1, len(s.layers)} {
		if h.Layer(file) != nil || h.SetLayer(file, nil) == nil {
			t.Errorf("there is no file %d", file)
		}
	}
}

// TestSameContent is about files that share a root.
func TestSameContent(t *testing.T) {
	s := newSampleV2(block, 5*block, 5*block, 3*block)
	s.roots[1] = s.roots[0]
	h := s.empty(t)
	if err := h.SetLayer(1, s.layers[0]); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if !h.Check(i, [][]byte{s.piece(i % 5)}) {
			t.Errorf("piece %d is refused", i)
		}
	}
	if h.Known(10) {
		t.Error("a piece of the third file is known")
	}
	// A root can't be true for two lengths.
	s.roots[2] = s.roots[0]
	h = s.empty(t)
	req, _ := h.RequestFor(0)
	answer, _ := newHashes(t, s.info, s.flat, s.roots).Answer(req)
	if err := h.Accept(req, answer); err != nil {
		t.Fatal(err)
	}
	if !h.Known(9) || h.Known(10) {
		t.Error("known are not the first two files")
	}
	other, ok := h.RequestFor(10)
	if err := h.Accept(other, answer); !ok || !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("%+v: %v", other, err)
	}
}

func TestNewRefuses(t *testing.T) {
	v1, v2 := newSampleV1(block, 5*block), newSampleV2(block, 5*block)
	odd := *v2.info
	odd.PieceLength = block + 1
	for name, c := range map[string]struct {
		info  *weir.TorrentInfo
		flat  []byte
		roots [][32]byte
	}{
		"V1None":      {v1.info, nil, nil},
		"V1Short":     {v1.info, v1.flat[1:], nil},
		"V2Short":     {v2.info, v2.flat[32:], v2.roots},
		"V2NoRoots":   {v2.info, v2.flat, nil},
		"V2OddPieces": {&odd, v2.flat, v2.roots},
	} {
		if _, err := verify.New(c.info, c.flat, c.roots); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	h := v1.full(t)
	if h.Layer(0) != nil || h.SetLayer(0, nil) == nil || h.Requests(0) != nil {
		t.Error("a v1 torrent has layers")
	}
	if _, ok := h.Answer(verify.HashRequest{Length: 2}); ok {
		t.Error("a v1 torrent has hashes to tell")
	}
	if err := h.Accept(verify.HashRequest{Length: 2}, nil); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("a v1 torrent takes hashes: %v", err)
	}
}

func TestCheckAllocates(t *testing.T) {
	for name, s := range map[string]*sample{"V1": newSampleV1(64*block, 64*block), "V2": newSampleV2(64*block, 130*block)} {
		h, blocks := s.full(t), cut(s.piece(0), block)
		// Below one on average: the race detector makes pools forget now and then.
		if n := testing.AllocsPerRun(100, func() { h.Check(0, blocks) }); n > 2 {
			t.Errorf("%s: %v allocations for a piece of 64 blocks", name, n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	const piece = 4 << 20
	for name, s := range map[string]*sample{"V1": newSampleV1(piece, piece), "V2": newSampleV2(piece, 2*piece)} {
		h := s.full(b)
		for _, n := range []int{block, block / 2} {
			blocks := cut(s.piece(0), n)
			b.Run(fmt.Sprintf("%s/SlicesOf%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(piece)
				for b.Loop() {
					if !h.Check(0, blocks) {
						b.Fatal("wrong")
					}
				}
			})
		}
	}
}
