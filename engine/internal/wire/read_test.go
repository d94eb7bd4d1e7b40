package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// message is one of n bytes behind the type.
func message(t pp.MessageType, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+n))
	return append(append(b, byte(t)), make([]byte, n)...)
}

// TestBounds: a message is read as far as one of its type can be long, and a byte
// more is refused from its head alone.
func TestBounds(t *testing.T) {
	extended := func(id byte, n int) []byte {
		b := message(pp.Extended, 1+n)
		b[5] = id
		return b
	}
	for name, c := range map[string]struct {
		pieces   int
		fits     []byte // accepted
		tooLong  []byte
		tooShort []byte // nil if nothing is
	}{
		"Have":          {100, message(pp.Have, 4), message(pp.Have, 5), message(pp.Have, 3)},
		"Request":       {100, message(pp.Request, 12), message(pp.Request, 13), message(pp.Request, 11)},
		"Reject":        {100, message(pp.Reject, 12), message(pp.Reject, 13), message(pp.Reject, 11)},
		"Choke":         {100, message(pp.Choke, 0), message(pp.Choke, 1), nil},
		"Port":          {100, message(pp.Port, 2), message(pp.Port, 3), message(pp.Port, 1)},
		"Piece":         {100, message(pp.Piece, 8+weir.BlockBytes), message(pp.Piece, 9+weir.BlockBytes), message(pp.Piece, 7)},
		"Bitfield":      {100, message(pp.Bitfield, 13), message(pp.Bitfield, 14), message(pp.Bitfield, 12)},
		"BitfieldEarly": {0, message(pp.Bitfield, 512<<10), message(pp.Bitfield, 512<<10+1), nil},
		"Handshake":     {100, extended(0, 64<<10), extended(0, 64<<10+1), nil},
		"Pex":           {100, extended(wire.PexID, 64<<10), extended(wire.PexID, 64<<10+1), nil},
		"DontHave":      {100, extended(wire.DontHaveID, 4), extended(wire.DontHaveID, 5), nil},
		"Plan":          {100, extended(wire.PlanID, 644), extended(wire.PlanID, 645), nil},
		"HashRequest":   {100, message(pp.HashRequest, 48), message(pp.HashRequest, 49), message(pp.HashRequest, 47)},
		"Hashes":        {100, message(pp.Hashes, 48+(8192+64)*32), message(pp.Hashes, 48+(8192+65)*32), message(pp.Hashes, 48+31)},
		"UnknownType":   {100, message(99, 1<<20-1), message(99, 1<<20), nil},
		"UnknownNumber": {100, extended(99, 1<<20-2), extended(99, 1<<20-1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := wire.NewReader(bytes.NewReader(c.fits), pieces(c.pieces)).Next()
			if err != nil {
				t.Errorf("what fits is refused: %v", err)
			}
			if m.Bytes != len(c.fits)-4 {
				t.Errorf("%d bytes are said to be %d", len(c.fits)-4, m.Bytes)
			}
			for _, bad := range [][]byte{c.tooLong, c.tooShort} {
				if bad == nil {
					continue
				}
				if m, err := wire.NewReader(bytes.NewReader(bad[:min(len(bad), 60)]), pieces(c.pieces)).Next(); !errors.Is(err, weir.ErrInvalid) {
					t.Errorf("%d bytes: %+v, %v, want %v", len(bad)-4, m, err, weir.ErrInvalid)
				}
			}
		})
	}
}

// TestMemoryByArrival: a claimed length, of 256 KiB here, takes no memory. The
// race detector adds to what a read takes, but not that much.
func TestMemoryByArrival(t *testing.T) {
	head := message(pp.Hashes, 48+8192*32)[:100]
	r := wire.NewReader(bytes.NewReader(head), pieces(100))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_, _ = wire.NewReader(bytes.NewReader(head), pieces(100)).Next()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 100; got > 128<<10 {
		t.Errorf("%d bytes are allocated for %d that arrived", got, len(head))
	}
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a message: %v", err)
	}
}

// TestManyBlocks: what comes behind the first blocks is read on, whatever is
// buffered where.
func TestManyBlocks(t *testing.T) {
	var b []byte
	for i := range 40 {
		m := message(pp.Piece, 8+weir.BlockBytes-i)
		m[8] = byte(i)
		m[len(m)-1] = byte(i)
		b = append(append(b, m...), message(pp.Have, 4)...)
	}
	for name, src := range map[string]io.Reader{"Whole": bytes.NewReader(b), "Steps": stepReader{bytes.NewReader(b)}} {
		r := wire.NewReader(src, pieces(100))
		for i := range 40 {
			m, err := r.Next()
			if err != nil || m.Index != i || m.Length != weir.BlockBytes-i || m.Data.Bytes()[m.Length-1] != byte(i) {
				t.Fatalf("%s: block %d: %+v, %v", name, i, m, err)
			}
			m.Data.Free()
			if m, err := r.Next(); err != nil || m.Type != pp.Have {
				t.Fatalf("%s: have %d: %+v, %v", name, i, m, err)
			}
		}
	}
}

// stepReader gives 1,000 bytes at a time.
type stepReader struct{ r io.Reader }

func (s stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1000)]) }

func readExtended(t *testing.T, id int, payload string) (wire.Message, error) {
	t.Helper()
	return wire.NewReader(bytes.NewReader(wire.AppendExtended(nil, id, []byte(payload))), pieces(100)).Next()
}

func TestExtensionHandshake(t *testing.T) {
	full := wire.ExtensionHandshake{MetadataID: 3, PexID: 1, DontHaveID: 7, MetadataSize: 31235, Reqq: 500, Port: 6881, YourIP: []byte("\x7f\x00\x00\x01")}
	for name, c := range map[string]struct {
		payload string
		want    *wire.ExtensionHandshake
	}{
		"Full":         {"d1:md11:lt_donthavei7e11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi500e1:v5:Other6:yourip4:\x7f\x00\x00\x01e", &full},
		"Unsorted":     {"d4:reqqi7e1:md6:ut_pexi2eee", &wire.ExtensionHandshake{PexID: 2, Reqq: 7}},
		"UploadOnly":   {"d1:mde11:upload_onlyi1ee", &wire.ExtensionHandshake{UploadOnly: true}},
		"UploadToo":    {"d1:mde11:upload_onlyi0ee", &wire.ExtensionHandshake{}},
		"Unknown":      {"d1:md7:unknownli1eee1:xd1:yl1:zeee", &wire.ExtensionHandshake{}},
		"OutOfRange":   {"d1:md11:ut_metadatai300e6:ut_pexi-1ee1:pi70000e4:reqqi9999999e13:metadata_sizei-5ee", &wire.ExtensionHandshake{Reqq: 1 << 16}},
		"OtherTypes":   {"d1:md11:ut_metadata1:xe1:p1:x4:reqqle6:youripi1ee", &wire.ExtensionHandshake{}},
		"Cut":          {"d1:md11:ut_metadatai3ee4:reqqi5", &wire.ExtensionHandshake{MetadataID: 3}},
		"HugeInteger":  {"d1:md11:ut_metadatai3ee1:xi" + strings.Repeat("9", 1000) + "ee", &wire.ExtensionHandshake{MetadataID: 3}},
		"Deep":         {"d1:md11:ut_metadatai3ee1:x" + strings.Repeat("l", 1000), &wire.ExtensionHandshake{MetadataID: 3}},
		"NoDictionary": {"i1e", nil},
		"Empty":        {"", nil},
		"FalseLength":  {"d1:m4294967295:xe", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := readExtended(t, pp.HandshakeExtendedID, c.payload)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprintf("%+v", m.Handshake), fmt.Sprintf("%+v", c.want); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if m.Ignored != (c.want == nil) {
				t.Errorf("ignored: %v", m.Ignored)
			}
		})
	}
}

// TestLaterHandshakes: one that names little changes little, and 0 takes an extension
// back (BEP 10).
func TestLaterHandshakes(t *testing.T) {
	const first = "d1:md11:lt_donthavei7e11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi500ee"
	full := wire.ExtensionHandshake{MetadataID: 3, PexID: 1, DontHaveID: 7, MetadataSize: 31235, Reqq: 500, Port: 6881}
	var in []byte
	steps := []struct {
		payload string
		change  func(h *wire.ExtensionHandshake)
	}{
		{first, func(*wire.ExtensionHandshake) {}},
		{"de", func(*wire.ExtensionHandshake) {}},
		{"d11:upload_onlyi1ee", func(h *wire.ExtensionHandshake) { h.UploadOnly = true }},
		{"d1:md6:ut_pexi0ee4:reqqi9ee", func(h *wire.ExtensionHandshake) { h.PexID, h.Reqq = 0, 9 }},
		{"x", nil},
		{"d1:md11:ut_metadatai5ee11:upload_onlyi0ee", func(h *wire.ExtensionHandshake) { h.MetadataID, h.UploadOnly = 5, false }},
	}
	for _, step := range steps {
		in = wire.AppendExtended(in, pp.HandshakeExtendedID, []byte(step.payload))
	}
	r, want := wire.NewReader(bytes.NewReader(in), pieces(100)), full
	for _, step := range steps {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if step.change == nil {
			if m.Handshake != nil {
				t.Errorf("%q: %+v", step.payload, m.Handshake)
			}
			continue
		}
		step.change(&want)
		if got, want := fmt.Sprintf("%+v", m.Handshake), fmt.Sprintf("%+v", &want); got != want {
			t.Errorf("%q: %s, want %s", step.payload, got, want)
		}
	}
}

func TestMetadataMessage(t *testing.T) {
	m, err := readExtended(t, wire.MetadataID, "d8:msg_typei1e5:piecei2e10:total_sizei40000e1:xleeDATA")
	if err != nil || m.Metadata.Type != 1 || m.Metadata.Piece != 2 || string(m.Metadata.Data) != "DATA" {
		t.Errorf("%+v, %v", m.Metadata, err)
	}
	m, err = readExtended(t, wire.MetadataID, "d8:msg_typei0e5:piecei99999999999999ee")
	if err != nil || m.Metadata.Piece < 1<<30 {
		t.Errorf("a number out of range: %+v, %v", m.Metadata, err)
	}
	for _, bad := range []string{"x", "i1e", "d8:msg_type1:xe", "d8:msg_typei0e", "d8:msg_typei" + strings.Repeat("1", 30) + "ee"} {
		if m, err := readExtended(t, wire.MetadataID, bad); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %+v, %v, want %v", bad, m.Metadata, err, weir.ErrInvalid)
		}
	}
}
