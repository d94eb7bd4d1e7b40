package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// next reads the only message of b, and sees that nothing is left.
func next(t *testing.T, b []byte, n int) wire.Message {
	t.Helper()
	r := wire.NewReader(bytes.NewReader(b), pieces(n))
	m, err := r.Next()
	if err != nil {
		t.Fatalf("% x: %v", b[:min(len(b), 40)], err)
	}
	if r.Buffered() {
		t.Errorf("% x: something is left", b[:min(len(b), 40)])
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("% x: then %v", b[:min(len(b), 40)], err)
	}
	return m
}

// TestWhatIsSentIsRead: each message that we can write comes back as it was, with its
// length, and so do those that only others write.
func TestWhatIsSentIsRead(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	number := func() int {
		return []int{0, 1, 255, 256, 65535, 1 << 24, math.MaxInt32, math.MaxUint32, r.IntN(math.MaxUint32)}[r.IntN(9)]
	}
	for range 300 {
		index, begin, length := number(), number(), number()
		h := wire.HashMessage{Root: [32]byte{0: byte(index), 31: 7}, BaseLayer: number(), Index: number(), Length: number(), ProofLayers: number()}
		hashes := make([][32]byte, r.IntN(5))
		for i := range hashes {
			hashes[i] = [32]byte{0: byte(i + 1), 31: byte(r.IntN(256))}
		}
		have := make([]bool, 1+r.IntN(40))
		bits := make([]byte, (len(have)+7)/8)
		for i := range have {
			if have[i] = r.IntN(2) == 0; have[i] {
				bits[i/8] |= 1 << (7 - i%8)
			}
		}
		type read struct {
			b    []byte
			want wire.Message
		}
		all := []read{
			{wire.AppendKeepAlive(nil), wire.Message{Ignored: true}},
			{wire.AppendHave(nil, index), wire.Message{Type: pp.Have, Index: index}},
			{wire.AppendAllowedFast(nil, index), wire.Message{Type: pp.AllowedFast, Index: index}},
			{wire.AppendPort(nil, index&0xffff), wire.Message{Type: pp.Port, Port: index & 0xffff}},
			{wire.AppendBitfield(nil, have), wire.Message{Type: pp.Bitfield, Bits: bits}},
			{wire.AppendExtended(nil, wire.PexID, bits), wire.Message{Type: pp.Extended, ExtendedID: wire.PexID, Payload: bits}},
			{wire.AppendExtended(nil, wire.PlanID, bits[:min(644, len(bits))]), wire.Message{Type: pp.Extended, ExtendedID: wire.PlanID, Payload: bits[:min(644, len(bits))]}},
			{wire.AppendExtended(nil, wire.DontHaveID, bits[:min(4, len(bits))]), wire.Message{Type: pp.Extended, ExtendedID: wire.DontHaveID, Payload: bits[:min(4, len(bits))]}},
			{wire.AppendExtended(nil, 200, bits), wire.Message{Type: pp.Extended, ExtendedID: 200, Ignored: true}},
			{wire.AppendHashes(nil, pp.HashRequest, h, nil), wire.Message{Type: pp.HashRequest, Hash: &h}},
			{wire.AppendHashes(nil, pp.HashReject, h, nil), wire.Message{Type: pp.HashReject, Hash: &h}},
			{wire.AppendHashes(nil, pp.Hashes, h, hashes), wire.Message{Type: pp.Hashes, Hash: &h, Hashes: hashes}},
		}
		for _, m := range []pp.MessageType{pp.Request, pp.Cancel, pp.Reject} {
			all = append(all, read{wire.AppendRequest(nil, m, index, begin, length), wire.Message{Type: m, Index: index, Begin: begin, Length: length}})
		}
		for _, m := range []pp.MessageType{pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.HaveAll, pp.HaveNone} {
			all = append(all, read{wire.AppendBare(nil, m), wire.Message{Type: m}})
		}
		suggest := wire.AppendHave(nil, index)
		suggest[4] = byte(pp.Suggest)
		all = append(all, read{suggest, wire.Message{Type: pp.Suggest, Ignored: true}})
		for _, c := range all {
			if n := binary.BigEndian.Uint32(c.b); int(n) != len(c.b)-4 {
				t.Fatalf("% x says that it has %d bytes", c.b, n)
			}
			if !c.want.Ignored || len(c.b) > 4 {
				c.want.Bytes = len(c.b) - 4
			}
			got := next(t, c.b, len(have))
			if len(got.Hashes) == 0 && len(c.want.Hashes) == 0 {
				got.Hashes, c.want.Hashes = nil, nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("% x is read as\n%+v, want\n%+v", c.b, got, c.want)
			}
		}
	}
}

// TestPieceMessage: blocks of every length, with what lies around them.
func TestPieceMessage(t *testing.T) {
	for _, n := range []int{0, 1, 100, weir.BlockBytes - 1, weir.BlockBytes} {
		data := bytes.Repeat([]byte{byte(n), 7}, n/2+1)[:n]
		m := next(t, append(wire.AppendPieceHeader(nil, 1<<31, 1<<20, n), data...), 0)
		if m.Type != pp.Piece || m.Index != 1<<31 || m.Begin != 1<<20 || m.Length != n || m.Bytes != n+9 || !bytes.Equal(m.Data.Bytes(), data) {
			t.Fatalf("a block of %d: %+v", n, m)
		}
		var used []*wire.Block // what was in a buffer before is not to be seen
		for range 8 {
			b := wire.NewBlock(weir.BlockBytes)
			copy(b.Bytes(), bytes.Repeat([]byte{0xee}, weir.BlockBytes))
			used = append(used, b)
		}
		for _, b := range used {
			b.Free()
		}
		for _, pad := range [][2]int{{0, n}, {0, n + 5}, {3, n + 3}, {3, n + 10}, {0, n - 1}} {
			if pad[1] > weir.BlockBytes || pad[1] < 0 {
				continue
			}
			b := wire.NewBlock(n)
			copy(b.Bytes(), data)
			b.Extend(pad[0], pad[1])
			want := append(make([]byte, pad[0]), data...)
			want = append(want, make([]byte, max(0, pad[1]-len(want)))...)
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("a block of %d with %d before it, up to %d: %d bytes", n, pad[0], pad[1], len(b.Bytes()))
			}
			b.Free()
		}
		m.Data.Free()
	}
}

// TestCut: a message that ends early, wherever, is an error and no message.
func TestCut(t *testing.T) {
	h := wire.HashMessage{Length: 2}
	for name, b := range map[string][]byte{
		"Have": wire.AppendHave(nil, 5), "Request": wire.AppendRequest(nil, pp.Request, 1, 2, 3), "Port": wire.AppendPort(nil, 5),
		"Piece": append(wire.AppendPieceHeader(nil, 1, 0, 50), make([]byte, 50)...), "Bitfield": wire.AppendBitfield(nil, make([]bool, 30)),
		"Pex": wire.AppendExtended(nil, wire.PexID, []byte("de")), "Unknown": wire.AppendExtended(nil, 77, make([]byte, 9)), "NoType": message(99, 20),
		"Hashes": wire.AppendHashes(nil, pp.Hashes, h, make([][32]byte, 3)), "HashReject": wire.AppendHashes(nil, pp.HashReject, h, nil),
		"Metadata": wire.AppendExtended(nil, wire.MetadataID, []byte("d8:msg_typei0e5:piecei0ee")),
	} {
		for n := range len(b) {
			if m, err := wire.NewReader(bytes.NewReader(b[:n]), pieces(0)).Next(); err == nil {
				t.Errorf("%s: %d of %d bytes are read as %+v", name, n, len(b), m)
			}
		}
	}
}

// TestBuffers: a peer that sends no blocks costs a buffer of 4 KiB; from the fourth
// block on much is read at a time.
func TestBuffers(t *testing.T) {
	var b []byte
	for range 5 {
		b = append(b, wire.AppendHave(nil, 1)...)
	}
	for range 40 {
		b = append(append(b, wire.AppendPieceHeader(nil, 0, 0, 1000)...), make([]byte, 1000)...)
	}
	src := &sizes{r: bytes.NewReader(append(b, make([]byte, 1<<20)...))}
	r := wire.NewReader(src, pieces(0))
	for i := range 45 {
		before := src.most
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Data != nil {
			m.Data.Free()
		}
		switch blocks := i - 4; {
		case blocks < 4 && src.most > 4<<10:
			t.Fatalf("%d bytes are asked for at the %d. block", src.most, blocks)
		case blocks == 39 && src.most != 256<<10:
			t.Fatalf("%d bytes are asked for at a time, before %d", src.most, before)
		}
	}
}

// sizes remembers the most that was asked for at a time.
type sizes struct {
	r    io.Reader
	most int
}

func (s *sizes) Read(p []byte) (int, error) {
	s.most = max(s.most, len(p))
	return s.r.Read(p)
}

// TestHelloBits: what the handshake says, and what it doesn't.
func TestHelloBits(t *testing.T) {
	h := wire.Handshake{InfoHash: weir.InfoHash{19: 1}, PeerID: [20]byte{0: 2, 19: 3}, Bits: wire.OurBits()}
	if h.Bits.SupportsDHT() || !wire.WithDHT(h.Bits).SupportsDHT() || h.Bits.SupportsDHT() {
		t.Error("a node in the DHT is said or not said")
	}
	if h.UpgradesToV2() || !h.Upgrading().UpgradesToV2() || h.UpgradesToV2() {
		t.Error("the upgrade is said or not said")
	}
	h.Bits = wire.WithDHT(h.Upgrading().Bits)
	b := h.Append([]byte("x"))
	if len(b) != 69 || b[0] != 'x' || b[1] != 19 || b[1+20+7] != 0x15 || b[1+20+5] != 0x10 {
		t.Errorf("% x", b)
	}
	for n := range 68 {
		if _, err := wire.ReadHandshake(bytes.NewReader(b[1 : 1+n])); err == nil {
			t.Fatalf("%d bytes are a handshake", n)
		}
	}
	if got, err := wire.ReadHandshake(bytes.NewReader(append(b[1:], 1, 2, 3))); err != nil || got != h {
		t.Errorf("%+v, %v, want %+v", got, err, h)
	}
}

// TestHandshakeLimits: numbers of an extension handshake at the ends of what they may
// be.
func TestHandshakeLimits(t *testing.T) {
	for payload, want := range map[string]wire.ExtensionHandshake{
		"d1:md6:ut_pexi255eee":                {PexID: 255},
		"d1:md6:ut_pexi256eee":                {},
		"d1:md11:lt_donthavei0eee":            {},
		"d1:mde1:pi65535ee":                   {Port: 65535},
		"d1:mde1:pi65536ee":                   {},
		"d1:mde1:pi0ee":                       {},
		"d1:mde13:metadata_sizei2147483647ee": {MetadataSize: math.MaxInt32},
		"d1:mde13:metadata_sizei2147483648ee": {},
		"d1:mde4:reqqi65535ee":                {Reqq: 65535},
		"d1:mde4:reqqi65536ee":                {Reqq: 65536},
		"d1:mde4:reqqi65537ee":                {Reqq: 65536},
		"d1:mde4:reqqi-1ee":                   {},
		"d1:mde11:upload_onlyi2ee":            {UploadOnly: true},
		"d1:mde11:upload_onlyi-1ee":           {},
		"d1:mde6:yourip2:abe":                 {YourIP: []byte("ab")},
		"d6:youripi5e4:reqqi4ee":              {Reqq: 4},
		"d1:mi5e4:reqqi3ee":                   {Reqq: 3},
	} {
		m := next(t, wire.AppendExtended(nil, 0, []byte(payload)), 0)
		if m.Ignored || !reflect.DeepEqual(*m.Handshake, want) {
			t.Errorf("%s: %+v, want %+v", payload, m.Handshake, want)
		}
	}
	// Without an m nothing but its order says that it is a handshake.
	m := next(t, wire.AppendExtended(nil, 0, []byte("d6:youripi5e1:mi1e4:reqqi4ee")), 0)
	if m.Ignored || m.Handshake.Reqq != 4 || m.Handshake.YourIP != nil {
		t.Errorf("an address of another type: %+v", m.Handshake)
	}
	for payload, want := range map[string]wire.MetadataMessage{
		"d8:msg_typei0e5:piecei2147483647ee":  {Type: 0, Piece: math.MaxInt32, Data: []byte{}},
		"d8:msg_typei1e5:piecei2147483648eeX": {Type: 1, Piece: math.MaxInt32, Data: []byte("X")},
		"d8:msg_typei2e5:piecei-1ee":          {Type: 2, Piece: math.MaxInt32, Data: []byte{}},
		"d5:piecei0ee":                        {Type: -1, Piece: 0, Data: []byte{}},
		"d8:msg_typei0ee":                     {Type: 0, Piece: -1, Data: []byte{}},
	} {
		m := next(t, wire.AppendExtended(nil, wire.MetadataID, []byte(payload)), 0)
		if m.Metadata.Type != want.Type || m.Metadata.Piece != want.Piece || !bytes.Equal(m.Metadata.Data, want.Data) {
			t.Errorf("%s: %+v, want %+v", payload, m.Metadata, want)
		}
	}
	// Of BEP 9 a piece with its dictionary, up to a KiB of that.
	long := "d1:x" + "1006:" + string(make([]byte, 1006)) + "8:msg_typei1e5:piecei0ee"
	for _, over := range []int{0, 1} {
		b := wire.AppendExtended(nil, wire.MetadataID, append([]byte(long), make([]byte, 2+16<<10+1<<10-len(long)+over)...))
		if _, err := wire.NewReader(bytes.NewReader(b), pieces(0)).Next(); (err == nil) != (over == 0) {
			t.Errorf("%d bytes of BEP 9: %v", len(b), err)
		}
	}
}

// TestShortest: the shortest message of a type is one.
func TestShortest(t *testing.T) {
	for name, c := range map[string]struct {
		b      []byte
		pieces int
		ok     bool
	}{
		"UnknownType": {message(99, 0), 0, true}, "NoBitsEarly": {message(pp.Bitfield, 0), 0, true}, "NoBits": {message(pp.Bitfield, 0), 1, false},
		"OnePiece": {message(pp.Bitfield, 1), 1, true}, "OnePieceTwoBytes": {message(pp.Bitfield, 2), 1, false}, "EightPieces": {message(pp.Bitfield, 1), 8, true},
		"NinePieces": {message(pp.Bitfield, 2), 9, true}, "Extension": {message(pp.Extended, 1), 1, true}, "NoExtension": {message(pp.Extended, 0), 1, false},
	} {
		_, err := wire.NewReader(bytes.NewReader(c.b), pieces(c.pieces)).Next()
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
