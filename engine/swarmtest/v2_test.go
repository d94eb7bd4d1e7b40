package swarmtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/merkle"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
)

// newSampleV2 has a file of 19 blocks and a bit in pieces of four blocks, an empty
// one, and one of a single block, in no order.
func newSampleV2(tb testing.TB, v swarmtest.Version) *swarmtest.Content {
	tb.Helper()
	return newContent(tb, swarmtest.ContentOptions{
		Name: "sample", PieceLength: 4 * block, Version: v,
		Files: []swarmtest.File{
			{Path: []string{"x", "small"}, Bytes: []byte("hello")},
			{Path: []string{"film"}, Length: 19*block + 100, Seed: 7},
			{Path: []string{"empty"}, Bytes: []byte{}},
			{Path: []string{"x", "exact"}, Length: 4 * block, Seed: 8},
		},
	})
}

func TestContentV2(t *testing.T) {
	for name, v := range map[string]swarmtest.Version{"V2": swarmtest.V2, "Hybrid": swarmtest.Hybrid} {
		t.Run(name, func(t *testing.T) {
			c := newSampleV2(t, v)
			mi, err := metainfo.Load(bytes.NewReader(c.Torrent(swarmtest.Hints{})))
			if err != nil {
				t.Fatal(err)
			}
			info, err := mi.UnmarshalInfo()
			if err != nil {
				t.Fatal(err)
			}
			if sum, ok := c.InfoHashV2(); !ok || sum != sha256.Sum256(mi.InfoBytes) {
				t.Errorf("v2 info hash %x, %v", sum, ok)
			}
			if err := metainfo.ValidatePieceLayers(mi.PieceLayers, &info.FileTree, info.PieceLength); err != nil {
				t.Errorf("piece layers: %v", err)
			}
			if info.HasV1() != (v == swarmtest.Hybrid) || !info.HasV2() || c.Info().V2 == info.HasV1() || info.NumPieces() != c.Info().NumPieces() {
				t.Errorf("v1 %v, v2 %v, %d pieces, want %d", info.HasV1(), info.HasV2(), info.NumPieces(), c.Info().NumPieces())
			}
			checkTrees(t, c)
			want := map[swarmtest.Version]string{swarmtest.V2: "magnet:?xt=urn:btmh:1220", swarmtest.Hybrid: "magnet:?xt=urn:btih:" + c.InfoHash().String() + "&xt=urn:btmh:1220"}[v]
			if m := c.Magnet(swarmtest.Hints{}); !strings.HasPrefix(m, want) {
				t.Errorf("magnet %s", m)
			}
			bare, err := metainfo.Load(bytes.NewReader(c.Torrent(swarmtest.Hints{NoLayers: true})))
			if err != nil || bare.PieceLayers != nil || bare.HashInfoBytes() != mi.HashInfoBytes() {
				t.Errorf("without layers: %v, %v", bare.PieceLayers, err)
			}
		})
	}
	t.Run("Refused", func(t *testing.T) {
		_, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: "a", Version: swarmtest.V2, PieceLength: 100_000, Files: []swarmtest.File{{Path: []string{"a"}, Length: 1}},
		})
		if err == nil {
			t.Error("odd piece length was taken")
		}
	})
}

// checkTrees computes roots and, of a v2-only torrent, piece hashes with an
// implementation that we did not write.
func checkTrees(t *testing.T, c *swarmtest.Content) {
	t.Helper()
	var all []byte
	for i, f := range c.Info().Files {
		if f.Padding || f.Length == 0 {
			if c.Roots()[i] != [32]byte{} {
				t.Errorf("file %d has a root", i)
			}
			continue
		}
		data := make([]byte, f.Length)
		if _, err := c.ReadFileAt(i, data, 0); err != nil {
			t.Fatal(err)
		}
		leaves := leavesOf(data)
		n := (len(data) + block - 1) / block
		if got := merkle.Root(leaves); c.Roots()[i] != got {
			t.Errorf("file %d: root %x, want %x", i, c.Roots()[i], got)
		}
		for at := 0; at < n && n > 4; at += 4 {
			h := merkle.Root(leaves[at : at+4])
			all = append(all, h[:]...)
		}
		if n <= 4 {
			h := merkle.Root(leaves)
			all = append(all, h[:]...)
		}
	}
	if c.Info().V2 && !bytes.Equal(all, c.PieceHashes()) {
		t.Error("piece hashes are wrong")
	}
}

func leavesOf(data []byte) (leaves [][32]byte) {
	for off := 0; off < len(data); off += block {
		leaves = append(leaves, sha256.Sum256(data[off:min(off+block, len(data))]))
	}
	n := int(merkle.RoundUpToPowerOfTwo(uint(len(leaves))))
	return append(leaves, make([][32]byte, n-len(leaves))...)
}

// hashRequest sends a hash request (BEP 52).
func (r *rawClient) hashRequest(root [32]byte, fields ...uint32) string {
	body := string(root[:]) + be(fields...)
	r.write(be(uint32(1+len(body))) + "\x15" + body)
	return body
}

func TestSeederV2(t *testing.T) {
	c := newSampleV2(t, swarmtest.V2)
	film := slices.IndexFunc(c.Info().Files, func(f weir.FileInfo) bool { return f.Path[0] == "film" })
	data := make([]byte, 19*block+100)
	if _, err := c.ReadFileAt(film, data, 0); err != nil {
		t.Fatal(err)
	}
	root, leaves := c.Roots()[film], leavesOf(data) // 32 leaves, 20 of them real
	row := func(width int) (out [][32]byte) {
		for at := 0; at < len(leaves); at += width {
			out = append(out, merkle.Root(leaves[at:at+width]))
		}
		return out
	}
	flat := func(rows ...[]([32]byte)) (s string) {
		for _, h := range slices.Concat(rows...) {
			s += string(h[:])
		}
		return s
	}
	pieces, eights, sixteens := row(4), row(8), row(16)
	s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}})
	r := openRaw(t, s, c)
	if r.reserved[7]&0x10 == 0 {
		t.Error("does not offer v2")
	}
	for _, q := range []struct {
		fields []uint32 // base layer, index, length, proof layers
		want   string
	}{
		{[]uint32{2, 0, 8, 0}, flat(pieces)},
		{[]uint32{2, 0, 8, 2}, flat(pieces)},
		{[]uint32{2, 2, 2, 1}, flat(pieces[2:4], eights[0:1])},
		{[]uint32{2, 2, 2, 2}, flat(pieces[2:4], eights[0:1], sixteens[1:2])},
		{[]uint32{2, 4, 4, 2}, flat(pieces[4:8], sixteens[0:1])},
		{[]uint32{0, 16, 4, 4}, flat(leaves[16:20], pieces[5:6], eights[3:4], sixteens[0:1])},
		{[]uint32{0, 0, 32, 0}, flat(leaves)},
	} {
		body := r.hashRequest(root, q.fields...)
		if got := r.expect(22, "*"); string(got) != body+q.want {
			t.Errorf("%v: %d bytes, want %d", q.fields, len(got), len(body)+len(q.want))
		}
	}
	// Nonsense is rejected, and noted.
	for _, fields := range [][]uint32{
		{5, 0, 2, 0}, {2, 1, 2, 0}, {2, 8, 2, 0}, {2, 0, 16, 0}, {2, 0, 3, 0}, {2, 0, 0, 0}, {2, 0, 1, 0}, {2, 0, 2, 3}, {1 << 31, 0, 2, 0}, {0, 1<<32 - 2, 2, 0},
	} {
		body := r.hashRequest(root, fields...)
		r.expect(23, body)
	}
	r.expect(23, r.hashRequest([32]byte{1}, 2, 0, 8, 0))
	if n := s.Counters(); n.HashRequests != 18 || n.Violations != 11 || n.Hashes != 8+8+3+4+5+7+32 {
		t.Errorf("counters %+v, violations %q", n, s.Violations())
	}
	for name, f := range map[string]swarmtest.Faults{"Wrong": {HashesWrong: true}, "Reject": {HashesReject: true}, "Silent": {HashesSilent: true}} {
		s.SetFaults(f)
		body := r.hashRequest(root, 2, 0, 8, 0)
		switch {
		case f.HashesReject:
			r.expect(23, body)
		case f.HashesSilent:
			r.expectSilence()
		default:
			if got := r.expect(22, "*"); string(got) == body+flat(pieces) || len(got) != len(body)+8*32 {
				t.Errorf("%s: right, or of the wrong length", name)
			}
		}
	}
	s.SetFaults(swarmtest.Faults{})
	// Pieces end with their files, and zeros follow for who asks.
	r.request(4, 3*block, 100)
	r.expectBlock(c, 4, 3*block, 100, false)
	r.request(5, 0, 4*block)
	r.expectBlock(c, 5, 0, 4*block, false)
	r.request(6, 0, 5)
	r.expectBlock(c, 6, 0, 5, false)
	r.request(4, 3*block, block)
	if b := r.expect(7, "*"); !bytes.Equal(b[8+100:], make([]byte, block-100)) || !bytes.Equal(b[8:8+100], data[19*block:]) {
		t.Error("a block with a gap is not what the file has, and zeros")
	}
	if n := s.Counters(); n.GapBytes != block-100 || n.Violations != 11 {
		t.Errorf("counters %+v", n)
	}
	s.SetFaults(swarmtest.Faults{NoGaps: true})
	r.request(4, 3*block, 101)
	r.expect(16, be(4, 3*block, 101))
	s.SetFaults(swarmtest.Faults{})
	for _, q := range [][3]uint32{{4, 3 * block, block + 1}, {6, 0, 6}, {7, 0, 1}} { // behind the piece, the torrent
		r.request(q[0], q[1], q[2])
		r.expect(16, be(q[:]...))
	}
}

// TestSeederHybrid joins the swarm of either half.
func TestSeederHybrid(t *testing.T) {
	c := newSampleV2(t, swarmtest.Hybrid)
	s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}})
	sum, _ := c.InfoHashV2()
	for _, ih := range []weir.InfoHash{c.InfoHash(), weir.InfoHash(sum[:20])} {
		ctx, cancel := context.WithCancel(testContext(t))
		l, err := swarmtest.DialLeech(ctx, s.Addr(), ih, swarmtest.LeechOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		cancel()
	}
	v1 := newSample(t)
	if _, ok := v1.InfoHashV2(); ok || v1.Roots() != nil {
		t.Error("a v1 torrent has a v2 half")
	}
	if r := newRawClient(t, openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{v1}}), v1, fast); r.reserved[7]&0x10 != 0 {
		t.Error("offers v2 for a v1 torrent")
	} else {
		r.expect(14, "")
		r.haveNone()
		r.expect(23, r.hashRequest([32]byte{}, 0, 0, 2, 0))
	}
}
