package swarmtest_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/mse"
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

const block = weir.BlockBytes

func TestSeederHandshake(t *testing.T) {
	c := newSample(t) // 16 pieces
	firstHalf := func(_ *swarmtest.Content, piece int) bool { return piece < 8 }
	none := func(*swarmtest.Content, int) bool { return false }
	for name, tc := range map[string]struct {
		o        swarmtest.SeederOptions
		reserved string
		check    func(t *testing.T, r *rawClient)
	}{
		"Plain": {reserved: bare, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\xff")
			r.interested()
			r.expect(1, "")
		}},
		"Fast": {reserved: fast, check: func(t *testing.T, r *rawClient) { r.expect(14, "") }},
		"FastPartial": {reserved: fast, o: swarmtest.SeederOptions{Have: firstHalf}, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\x00")
		}},
		"FastNone": {reserved: fast, o: swarmtest.SeederOptions{Have: none}, check: func(t *testing.T, r *rawClient) { r.expect(15, "") }},
		"PlainNone": {reserved: bare, o: swarmtest.SeederOptions{Have: none}, check: func(t *testing.T, r *rawClient) {
			r.expectSilence()
		}},
		"Extended": {reserved: both, o: swarmtest.SeederOptions{RequestQueue: 33}, check: func(t *testing.T, r *rawClient) {
			r.expect(14, "")
			b := string(r.expect(20, "*"))
			for _, s := range []string{"\x00d", "1:md11:ut_metadatai7ee", "4:reqqi33e", "13:metadata_sizei"} {
				if !strings.Contains(b, s) {
					t.Errorf("%q isn't in %q", s, b)
				}
			}
		}},
		"NoFast": {reserved: fast, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{NoFast: true}}, check: func(t *testing.T, r *rawClient) {
			if r.reserved[7]&4 != 0 {
				t.Error("offers the fast extension")
			}
			r.expect(5, "\xff\xff")
		}},
		"NoExtended": {reserved: both, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{NoExtended: true}}, check: func(t *testing.T, r *rawClient) {
			if r.reserved[5]&0x10 != 0 {
				t.Error("offers the extension protocol")
			}
			r.expect(14, "")
			r.expectSilence()
		}},
		"WrongInfoHash": {reserved: bare, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{WrongInfoHash: true}}, check: func(t *testing.T, r *rawClient) {
			if weir.InfoHash(r.infoHash) == c.InfoHash() {
				t.Error("the right one")
			}
		}},
		"BitfieldExtra": {reserved: fast, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{BitfieldExtra: true}}, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\xff\x00")
		}},
		"BadHave": {reserved: bare, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{BadHave: true}}, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\xff")
			r.expect(4, be(16))
			r.expect(4, be(1<<32-1))
		}},
		"Overlong": {reserved: bare, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{Overlong: true}}, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\xff")
			if b := r.read(4); string(b) != be(1<<31) {
				t.Errorf("length %x", b)
			}
		}},
		"Garbage": {reserved: bare, o: swarmtest.SeederOptions{Faults: swarmtest.Faults{Garbage: true}}, check: func(t *testing.T, r *rawClient) {
			r.expect(5, "\xff\xff")
			if b := r.read(4 << 10); b[0]&0x80 == 0 {
				t.Errorf("may be a message: %x", b[:4])
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.Contents = []*swarmtest.Content{newSample(t), c}
			tc.check(t, newRawClient(t, openSeeder(t, tc.o), c, tc.reserved))
		})
	}
	t.Run("SpareBit", func(t *testing.T) {
		odd := newContent(t, swarmtest.ContentOptions{Name: "odd", PieceLength: block, Files: []swarmtest.File{{Path: []string{"f"}, Length: 3 * block}}})
		s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{odd}, Faults: swarmtest.Faults{BitfieldSpare: true}})
		newRawClient(t, s, odd, fast).expect(5, "\xf0")
	})
	t.Run("Mute", func(t *testing.T) {
		s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Faults: swarmtest.Faults{Mute: true}})
		r := &rawClient{tb: t, c: dialRaw(t, s)}
		r.write(strings.Repeat("x", 1000))
		r.expectSilence()
	})
	t.Run("UnknownTorrent", func(t *testing.T) {
		s := openSeeder(t, swarmtest.SeederOptions{})
		r := &rawClient{tb: t, c: dialRaw(t, s)}
		r.write("\x13BitTorrent protocol" + bare + strings.Repeat("h", 20))
		r.expectEnd()
	})
}

func TestSeederServes(t *testing.T) {
	c := newSample(t)
	rec := &swarmtest.Recorder{}
	s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Trace: rec.Add})
	r := openRaw(t, s, c)
	r.request(3, block, block)
	r.expectBlock(c, 3, block, block, false)
	r.request(3, block, block) // again
	r.expectBlock(c, 3, block, block, false)
	r.request(15, 0, 1_000_000-15*65536) // the last piece, at one go
	r.expectBlock(c, 15, 0, 1_000_000-15*65536, false)

	n := s.Counters()
	if n.Blocks != 3 || n.Repeats != 1 || n.Requests != 3 || n.PayloadBytes != 2*block+1_000_000-15*65536 ||
		n.ConnsOpen != 1 || n.ConnsTotal != 1 || n.Bitfields != 1 || n.Interested != 1 || n.Violations != 0 {
		t.Errorf("counters %+v", n)
	}
	if p := s.PieceBlocks(c); len(p) != 2 || p[3] != 2 || p[15] != 1 {
		t.Errorf("blocks per piece %v", p)
	}
	var order []string
	for _, e := range rec.Events() {
		order = append(order, string(e.Kind))
	}
	want := "request send request send request send"
	if got := strings.Join(order, " "); !strings.HasSuffix(got, want) || !strings.Contains(got, "unchoke") {
		t.Errorf("events %q", got)
	}
	r.c.Close()
	if err := s.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.ConnsOpen == 0 }); err != nil {
		t.Error(err)
	}
}

func TestSeederQueue(t *testing.T) {
	c := newSample(t)
	// 8 KiB/s: after the first blocks that fit the link's queue, requests wait.
	slow := simnet.Link{BytesPerSec: 8 << 10, QueueBytes: 1}
	s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Link: slow, RequestQueue: 4})
	r := openRaw(t, s, c)
	ctx := testContext(t)
	r.request(0, 0, block)
	if err := s.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.Blocks == 1 }); err != nil {
		t.Fatal(err)
	}
	// One is on the link now: four more wait, three are over the limit.
	for i := uint32(1); i < 8; i++ {
		r.request(i, 0, block)
	}
	r.cancel(4, 0, block)
	r.cancel(0, 0, block) // on its way
	if err := s.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.Cancels == 2 }); err != nil {
		t.Fatal(err)
	}
	if n := s.Counters(); n.CancelsInTime != 1 || n.Blocks != 1 || n.Surplus != 3 || n.Rejects != 4 {
		t.Errorf("counters %+v", n)
	}
	s.SetRate(0, 0)
	r.expectBlock(c, 0, 0, block, false)
	var rejected, served []byte
	for range 7 {
		switch id, b := r.message(); id {
		case 7:
			served = append(served, b[3])
		case 16:
			rejected = append(rejected, b[3])
		}
	}
	if !slices.Equal(served, []byte{1, 2, 3}) || !slices.Equal(rejected, []byte{5, 6, 7, 4}) {
		t.Errorf("served %v, rejected %v", served, rejected)
	}
}

func TestSeederGive(t *testing.T) {
	c := newSample(t)
	s := openSeeder(t, swarmtest.SeederOptions{
		Contents: []*swarmtest.Content{c}, Have: func(_ *swarmtest.Content, piece int) bool { return piece == 0 },
	})
	r := newRawClient(t, s, c, fast)
	r.expect(5, "\x80\x00")
	r.haveNone()
	r.interested()
	r.expect(1, "")
	r.request(9, 0, block)
	r.expect(16, be(9, 0, block))
	if v := s.Violations(); len(v) != 1 {
		t.Errorf("violations %q", v)
	}
	s.Give(c, 0, 9)
	r.expect(4, be(9))
	r.request(9, 0, block)
	r.expectBlock(c, 9, 0, block, false)
}

func TestSeederViolations(t *testing.T) {
	c := newSample(t)
	for name, tc := range map[string]struct {
		send string
		ends bool
	}{
		"OddBitfield":       {be(2) + "\x05\x00", true},
		"SecondBitfield":    {be(1) + "\x0f" + be(1) + "\x0f", false},
		"PiecesMissing":     {be(1) + "\x02", false},
		"BeyondTheEnd":      {be(1) + "\x0f" + be(13) + "\x06" + be(15, 0, 65536), false},
		"NoSuchPiece":       {be(1) + "\x0f" + be(13) + "\x06" + be(16, 0, 1), false},
		"EmptyRequest":      {be(1) + "\x0f" + be(13) + "\x06" + be(1, 0, 0), false},
		"ShortRequest":      {be(1) + "\x0f" + be(9) + "\x06" + be(1, 0), true},
		"HaveOutOfRange":    {be(1) + "\x0f" + be(5) + "\x04" + be(16), true},
		"UnaskedBlock":      {be(1) + "\x0f" + be(10) + "\x07" + be(0, 0) + "x", false},
		"ExtendedUnoffered": {be(1) + "\x0f" + be(3) + "\x14\x00d", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}})
			r := newRawClient(t, s, c, fast)
			r.expect(14, "")
			r.write(tc.send)
			if err := s.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.Violations > 0 }); err != nil {
				t.Fatal(err)
			}
			if tc.ends {
				if err := s.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.ConnsOpen == 0 }); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSeederMetadata(t *testing.T) {
	// More than one piece of metadata: 2000 hashes.
	c := newContent(t, swarmtest.ContentOptions{Name: "many", PieceLength: block, Files: []swarmtest.File{{Path: []string{"f"}, Length: 2000 * block, Seed: 1}}})
	info := c.InfoBytes()
	ask := "d8:msg_typei0e5:piecei1ee"
	data := func(size string) string { return "\x03d8:msg_typei1e5:piecei1e10:total_sizei" + size + "ee" }
	size := strconv.Itoa(len(info))
	last := string(info[block : 2*block])
	for name, tc := range map[string]struct {
		f    swarmtest.Faults
		want func(got string) bool
	}{
		"Honest":  {swarmtest.Faults{}, func(got string) bool { return got == data(size)+last }},
		"Rejects": {swarmtest.Faults{MetadataReject: true}, func(got string) bool { return got == "\x03d8:msg_typei2e5:piecei1ee" }},
		"Corrupt": {swarmtest.Faults{MetadataCorrupt: true}, func(got string) bool {
			return strings.HasPrefix(got, data(size)) && len(got) == len(data(size)+last) && got != data(size)+last
		}},
		"Size":  {swarmtest.Faults{MetadataSize: 20_000}, func(got string) bool { return got == data("20000")+last[:20_000-block] }},
		"Huge":  {swarmtest.Faults{MetadataSize: 1 << 40}, func(got string) bool { return got == data("1099511627776")+last }},
		"Delay": {swarmtest.Faults{MetadataDelay: 30 * time.Millisecond}, func(got string) bool { return got == data(size)+last }},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Faults: tc.f})
			r := newRawClient(t, s, c, extends)
			r.expect(5, "*")
			r.expect(20, "*")
			r.extended(0, "d1:md11:ut_metadatai3eee")
			r.extended(7, ask)
			if got := string(r.expect(20, "*")); !tc.want(got) {
				t.Fatalf("%.120q", got)
			}
		})
	}
	t.Run("Silent", func(t *testing.T) {
		s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Faults: swarmtest.Faults{MetadataSilent: true}})
		r := newRawClient(t, s, c, extends)
		r.expect(5, "*")
		r.expect(20, "*")
		r.extended(0, "d1:md11:ut_metadatai3eee")
		r.extended(7, ask)
		r.expectSilence()
	})
}

func TestSeederEncryption(t *testing.T) {
	c := newSample(t)
	ih := c.InfoHash()
	hello := "\x13BitTorrent protocol" + bare + string(ih[:]) + "-XX0000-abcdefghijkl"
	for name, tc := range map[string]struct {
		mode     swarmtest.Encryption
		plain    bool
		provides mse.CryptoMethod
		ok       bool
	}{
		"OffTakesPlain":      {swarmtest.EncryptionOff, true, 0, true},
		"OffRefusesMSE":      {swarmtest.EncryptionOff, false, mse.AllSupportedCrypto, false},
		"AllowedTakesPlain":  {swarmtest.EncryptionAllowed, true, 0, true},
		"AllowedTakesRC4":    {swarmtest.EncryptionAllowed, false, mse.CryptoMethodRC4, true},
		"AllowedTakesHeader": {swarmtest.EncryptionAllowed, false, mse.AllSupportedCrypto, true},
		"RequiredTakesRC4":   {swarmtest.EncryptionRequired, false, mse.AllSupportedCrypto, true},
		"RequiredNotPlain":   {swarmtest.EncryptionRequired, true, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Encryption: tc.mode})
			nc := dialRaw(t, s)
			var rw io.ReadWriter = nc
			var err error
			if !tc.plain {
				rw, _, err = mse.InitiateHandshakeContext(testContext(t), nc, ih[:], nil, tc.provides)
			}
			b := make([]byte, 68+4+3)
			if err == nil {
				io.WriteString(rw, hello)
				_, err = io.ReadFull(rw, b)
			}
			if (err == nil) != tc.ok {
				t.Fatalf("outcome %v", err)
			}
			if tc.ok && !bytes.HasSuffix(b, []byte("\x05\xff\xff")) {
				t.Fatalf("%q", b)
			}
		})
	}
}

func TestSeederConnect(t *testing.T) {
	c := newSample(t)
	a := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Link: simnet.Link{RTT: 10 * time.Millisecond, Connect: true}})
	b := openSeeder(t, swarmtest.SeederOptions{Addr: "127.0.0.3:0", Contents: []*swarmtest.Content{c}})
	if err := a.Connect(testContext(t), b.Addr(), c); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.ConnsOpen == 1 && n.Bitfields == 1 }); err != nil {
		t.Fatal(err)
	}
	other := newContent(t, swarmtest.ContentOptions{Name: "other", Files: []swarmtest.File{{Path: []string{"f"}, Length: 1}}})
	if err := a.Connect(testContext(t), b.Addr(), other); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("content that it doesn't have: %v", err)
	}
	a.Close()
	if err := a.Connect(testContext(t), b.Addr(), c); err == nil {
		t.Error("a closed seeder connects")
	}
}

// TestSeederSurvivesNoise throws bytes at a seeder that no client would send.
func TestSeederSurvivesNoise(t *testing.T) {
	c := newSample(t)
	s := openSeeder(t, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Encryption: swarmtest.EncryptionAllowed})
	for i := range 40 {
		nc := dialRaw(t, s)
		noise := make([]byte, 2000)
		rand.Read(noise)
		if i%2 == 0 {
			ih := c.InfoHash()
			nc.Write([]byte("\x13BitTorrent protocol" + both + string(ih[:]) + "-XX0000-abcdefghijkl"))
			noise[0], noise[1], noise[2] = 0, 0, 0
		}
		nc.Write(noise)
		nc.Close()
	}
	if err := s.WaitFor(testContext(t), func(n swarmtest.Counters) bool { return n.ConnsTotal == 40 }); err != nil {
		t.Fatal(err)
	}
	r := openRaw(t, s, c)
	r.request(0, 0, block)
	r.expectBlock(c, 0, 0, block, false)
}
