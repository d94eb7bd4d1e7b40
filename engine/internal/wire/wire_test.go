package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// conversation is one message of each kind as the library encodes it.
func conversation() (b []byte, want []wire.Message) {
	add := func(m pp.Message, w wire.Message) {
		b = append(b, m.MustMarshalBinary()...)
		w.Type = m.Type
		want = append(want, w)
	}
	bits := make([]bool, 16)
	bits[3] = true
	add(pp.Message{Type: pp.Bitfield, Bitfield: bits}, wire.Message{Bits: []byte{0x10, 0}})
	add(pp.Message{Type: pp.Unchoke}, wire.Message{})
	b = append(b, 0, 0, 0, 0) // keep-alive
	want = append(want, wire.Message{Ignored: true})
	add(pp.Message{Type: pp.Have, Index: 7}, wire.Message{Index: 7})
	b = append(b, 0, 0, 0, 3, 99, 1, 2) // of no known type
	want = append(want, wire.Message{Type: 99, Ignored: true})
	add(pp.Message{Type: pp.Piece, Index: 5, Begin: 16384, Piece: []byte("data")}, wire.Message{Index: 5, Begin: 16384, Length: 4})
	add(pp.Message{Type: pp.Request, Index: 1, Begin: 2, Length: 3}, wire.Message{Index: 1, Begin: 2, Length: 3})
	add(pp.Message{Type: pp.Extended, ExtendedID: 9, ExtendedPayload: []byte("de")}, wire.Message{ExtendedID: 9, Ignored: true})
	add(pp.Message{Type: pp.Extended, ExtendedID: wire.PexID, ExtendedPayload: []byte("de")}, wire.Message{ExtendedID: wire.PexID, Payload: []byte("de")})
	add(pp.Message{Type: pp.Suggest, Index: 3}, wire.Message{Ignored: true})
	return b, want
}

// pieces is a torrent of so many.
func pieces(n int) func() int { return func() int { return n } }

func TestReader(t *testing.T) {
	b, want := conversation()
	for name, src := range map[string]io.Reader{"Whole": bytes.NewReader(b), "ByteByByte": iotest.OneByteReader(bytes.NewReader(b))} {
		t.Run(name, func(t *testing.T) {
			r := wire.NewReader(src, pieces(0))
			for i, w := range want {
				m, err := r.Next()
				if err != nil {
					t.Fatal(i, err)
				}
				if m.Data != nil {
					if string(m.Data.Bytes()) != "data" {
						t.Errorf("block %q", m.Data.Bytes())
					}
					m.Data.Free()
				}
				if m.Type != w.Type || m.Index != w.Index || m.Begin != w.Begin || m.Length != w.Length || m.ExtendedID != w.ExtendedID || m.Ignored != w.Ignored ||
					!bytes.Equal(m.Bits, w.Bits) || !bytes.Equal(m.Payload, w.Payload) {
					t.Errorf("message %d: %+v, want %+v", i, m, w)
				}
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v, want EOF", err)
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"TooLong":      {0xff, 0xff, 0xff, 0xff, 5},
		"ShortPiece":   {0, 0, 0, 5, 7, 0, 0, 0, 0},
		"BlockTooLong": append([]byte{0, 0, 0x80, 9, 7}, make([]byte, 0x8009)...),
		"Truncated":    {0, 0, 0, 13, 6, 0, 0},
		"LongChoke":    {0, 0, 0, 3, 0, 1, 2},
	} {
		if m, err := wire.NewReader(bytes.NewReader(b), pieces(0)).Next(); err == nil {
			t.Errorf("%s: accepted as %+v", name, m)
		}
	}
}

// TestAppend compares what we encode ourselves with the library.
func TestAppend(t *testing.T) {
	have := []bool{true, false, true, false, false, false, false, false, true}
	for name, c := range map[string]struct {
		got  []byte
		want pp.Message
	}{
		"Request":  {wire.AppendRequest(nil, pp.Request, 1, 2, 3), pp.Message{Type: pp.Request, Index: 1, Begin: 2, Length: 3}},
		"Cancel":   {wire.AppendRequest(nil, pp.Cancel, 1, 2, 3), pp.Message{Type: pp.Cancel, Index: 1, Begin: 2, Length: 3}},
		"Reject":   {wire.AppendRequest(nil, pp.Reject, 1, 2, 3), pp.Message{Type: pp.Reject, Index: 1, Begin: 2, Length: 3}},
		"Have":     {wire.AppendHave(nil, 77), pp.Message{Type: pp.Have, Index: 77}},
		"HaveAll":  {wire.AppendBare(nil, pp.HaveAll), pp.Message{Type: pp.HaveAll}},
		"Bitfield": {wire.AppendBitfield(nil, have), pp.Message{Type: pp.Bitfield, Bitfield: have}},
		"Extended": {wire.AppendExtended(nil, 3, []byte("x")), pp.Message{Type: pp.Extended, ExtendedID: 3, ExtendedPayload: []byte("x")}},
		"Piece":    {append(wire.AppendPieceHeader(nil, 4, 5, 2), 8, 9), pp.Message{Type: pp.Piece, Index: 4, Begin: 5, Piece: []byte{8, 9}}},
		"Keep":     {wire.AppendKeepAlive(nil), pp.Message{Keepalive: true}},
	} {
		if want := c.want.MustMarshalBinary(); !bytes.Equal(c.got, want) {
			t.Errorf("%s: % x, want % x", name, c.got, want)
		}
	}
}

func TestHello(t *testing.T) {
	h := wire.Handshake{InfoHash: weir.InfoHash{1, 2}, PeerID: [20]byte{3, 4}, Bits: wire.OurBits()}
	b := h.Append(nil)
	if len(b) != wire.HandshakeBytes {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := wire.ReadHandshake(bytes.NewReader(b))
	if err != nil || got != h {
		t.Errorf("%+v, %v, want %+v", got, err, h)
	}
	if !got.Bits.SupportsFast() || !got.Bits.SupportsExtended() {
		t.Error("our bits do not say BEP 6 and BEP 10")
	}
	b[1] = 'b'
	if _, err := wire.ReadHandshake(bytes.NewReader(b)); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("another protocol: %v", err)
	}
	if _, err := wire.ReadHandshake(bytes.NewReader(b[:40])); err == nil {
		t.Error("a short handshake was accepted")
	}
}

// FuzzReader: no bytes make the reader panic, wait or hold more than its bounds.
func FuzzReader(f *testing.F) {
	b, _ := conversation()
	f.Add(b)
	f.Add(b[5:])
	f.Add([]byte{0, 0, 0, 1, 20})
	f.Add([]byte{0, 0, 0, 0x31, 22, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(bytes.NewReader(b), pieces(0))
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			if m.Data != nil {
				if len(m.Data.Bytes()) != m.Length || m.Length > weir.BlockBytes {
					t.Fatalf("a block of %d bytes says %d", len(m.Data.Bytes()), m.Length)
				}
				m.Data.Free()
			}
		}
	})
}
