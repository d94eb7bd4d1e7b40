package source_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

const (
	hexHash = "0123456789abcdef0123456789abcdef01234567"
	b32Hash = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH" // the same
	plain   = "magnet:?xt=urn:btih:" + hexHash
	v2Hash  = "urn:btmh:1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e"
)

// sumV2 is v2Hash as bytes.
var sumV2 = func() (sum [32]byte) {
	_, err := hex.Decode(sum[:], []byte(v2Hash[len("urn:btmh:1220"):]))
	if err != nil {
		panic(err)
	}
	return sum
}()

var goodMagnets = []struct {
	name, magnet string
	want         source.Spec // without its InfoHash, when that is hexHash
}{
	{"Hex", plain, source.Spec{}},
	{"UpperHex", "magnet:?xt=urn:btih:" + strings.ToUpper(hexHash), source.Spec{}},
	{"Base32", "magnet:?xt=urn:btih:" + b32Hash, source.Spec{}},
	{"LowerBase32", "magnet:?xt=urn:btih:" + strings.ToLower(b32Hash), source.Spec{}},
	{"AnyCase", "MAGNET:?XT=URN:BTIH:" + hexHash + "&DN=a", source.Spec{Name: "a"}},
	{"EscapedTopic", "magnet:?xt=urn%3Abtih%3A" + hexHash, source.Spec{}},
	{"Hybrid", "magnet:?xt=" + v2Hash + "&xt=urn:btih:" + hexHash, source.Spec{InfoHashV2: sumV2}},
	{"V2", "magnet:?xt=" + v2Hash, source.Spec{InfoHash: source.Truncate(sumV2), InfoHashV2: sumV2}},
	{"V2Twice", "magnet:?xt.1=" + v2Hash + "&xt.2=URN:BTMH:1220" + strings.ToUpper(v2Hash[13:]),
		source.Spec{InfoHash: source.Truncate(sumV2), InfoHashV2: sumV2}},
	{"OtherMultihash", "magnet:?xt=urn:btmh:1114" + hexHash + "&xt=urn:btih:" + hexHash, source.Spec{}},
	{"OtherTopics", "magnet:?xt=urn:sha1:abc&xt.1=urn:btih:" + hexHash + "&xt.2=urn:btih:" + b32Hash, source.Spec{}},
	{"Name", plain + "&dn=Big+Buck%20Bunny&dn=other", source.Spec{Name: "Big Buck Bunny"}},
	{"NameBadEscape", plain + "&dn=100%", source.Spec{Name: "100%"}},
	{"Trackers", plain + "&tr=http%3A%2F%2Fa.example%2Fann&tr.1=udp%3A%2F%2Fb.example%3A80&tr=wss%3A%2F%2Fc.example&tr=nonsense&tr=http://a.example/ann",
		source.Spec{Trackers: [][]string{{"http://a.example/ann"}, {"udp://b.example:80"}}}},
	{"CopiedFromHTML", plain + "&amp;dn=a&amp;tr=http://a.example", source.Spec{Name: "a", Trackers: [][]string{{"http://a.example"}}}},
	{"Peers", plain + "&x.pe=192.0.2.1:6881&x.pe=%5B2001:db8::1%5D:6881&x.pe=[2001:DB8:0::1]:6881&x.pe=seed.example.:1",
		source.Spec{Peers: []string{"192.0.2.1:6881", "[2001:db8::1]:6881", "seed.example.:1"}}},
	{"Nodes", plain + "&dht=192.0.2.1:6881&dht=router.example:1&dht=192.0.2.1:6881&dht=[2001:db8::1]:5&dht=nowhere&dht=:1&dht=1.2.3.4:0",
		source.Spec{Nodes: []string{"192.0.2.1:6881", "router.example:1", "[2001:db8::1]:5"}}},
	{"WebSeeds", plain + "&ws=https://s.example/a&ws=ftp://s.example", source.Spec{WebSeeds: []string{"https://s.example/a"}}},
	{"SelectOnly", plain + "&so=4-6,0,2,6-7", source.Spec{SelectOnly: []source.FileSpan{{0, 0}, {2, 2}, {4, 7}}}},
	{"SelectOnlyTwice", plain + "&so=3&so.1=0-2%2C9", source.Spec{SelectOnly: []source.FileSpan{{0, 3}, {9, 9}}}},
	{"SelectOnlyBad", plain + "&so=1&so=0,a&so=2-&so=-2&so=5-4&so=&so=0,16777215&so=1-99999999999999999999&so=%2B3", source.Spec{SelectOnly: []source.FileSpan{{0, 1}}}},
	{"SelectOnlyMost", plain + "&so=0-16777213", source.Spec{SelectOnly: []source.FileSpan{{0, 16777213}}}},
	{"SelectOnlyGaps", plain + "&so=,,1,4-2,7-", source.Spec{SelectOnly: []source.FileSpan{{1, 1}}}},
	{"LastTopic", "magnet:?xt=urn:btih:" + strings.Repeat("a", 40) + "&xt.1=urn:btih:" + hexHash + "&xt=urn:btih:0123", source.Spec{}},
	{"LastTopicV2", "magnet:?xt=" + v2Hash[:len(v2Hash)-1] + "f&xt=" + v2Hash, source.Spec{InfoHash: source.Truncate(sumV2), InfoHashV2: sumV2}},
	{"EmptyNumber", "magnet:?xt.=urn:btih:" + hexHash, source.Spec{}},
	{"BadPeers", plain + "&x.pe=nowhere&x.pe=&x.pe=0.0.0.0:0&x.pe=::1:6881&x.pe=192.0.2.1:1", source.Spec{Peers: []string{"192.0.2.1:1"}}},
	{"WebSeedsEscapedAndNot", plain + "&ws=https%3A%2F%2Fs.example%2Fa%2520b%2F&ws=https://s.example/c%20d/é", source.Spec{WebSeeds: []string{"https://s.example/a%20b/", "https://s.example/c d/é"}}},
	{"BadAddresses", plain + "&tr=&tr=%zz&tr=udp://&ws=&ws=%&xl=abc&dht=a", source.Spec{}},
	{"ZerosBeside", "magnet:?xt=urn:btih:" + strings.Repeat("0", 40) + "&xt=" + v2Hash, source.Spec{InfoHash: source.Truncate(sumV2), InfoHashV2: sumV2}},
	{"Ignored", plain + "&xs=http://127.0.0.1/x.torrent&as=http://127.0.0.1/y&kt=word&xl=5&&=&a", source.Spec{}},
	{"TrailingNewline", plain + "\n", source.Spec{}},
}

func TestParseMagnet(t *testing.T) {
	for _, c := range goodMagnets {
		t.Run(c.name, func(t *testing.T) {
			spec, err := source.ParseMagnet(c.magnet)
			if err != nil {
				t.Fatal(err)
			}
			if c.want.InfoHash.IsZero() {
				c.want.InfoHash, _ = weir.ParseInfoHash(hexHash)
			}
			if !reflect.DeepEqual(*spec, c.want) {
				t.Errorf("got  %+v\nwant %+v", *spec, c.want)
			}
			if want := c.want.Name; want != "" && spec.DisplayName() != want || want == "" && spec.DisplayName() != spec.InfoHash.String() {
				t.Errorf("display name %q", spec.DisplayName())
			}
		})
	}
}

var badMagnets = []struct{ name, magnet, says string }{
	{"Empty", "", "does not begin"},
	{"OtherScheme", "http://a.example/?xt=urn:btih:" + hexHash, "does not begin"},
	{"NoQuery", "magnet:xt=urn:btih:" + hexHash, `no "?"`},
	{"NoTopic", "magnet:?dn=a", "no xt=urn:btih:"},
	{"V2Short", "magnet:?xt=" + v2Hash[:len(v2Hash)-1], "1220 and 64 hexadecimal digits"},
	{"V2Long", "magnet:?xt=" + v2Hash + "0", "1220 and 64 hexadecimal digits"},
	{"V2NotHex", "magnet:?xt=" + v2Hash[:len(v2Hash)-1] + "z", "1220 and 64 hexadecimal digits"},
	{"V2OtherMultihash", "magnet:?xt=urn:btmh:1114" + hexHash, "1220 and 64 hexadecimal digits"},
	{"V2NoMultihash", "magnet:?xt=urn:btmh:" + v2Hash[13:], "1220 and 64 hexadecimal digits"},
	{"V2Empty", "magnet:?xt=urn:btmh:", "1220 and 64 hexadecimal digits"},
	{"V2Zeros", "magnet:?xt=urn:btmh:1220" + strings.Repeat("0", 64), "1220 and 64 hexadecimal digits"},
	{"Zeros", "magnet:?xt=urn:btih:" + strings.Repeat("0", 40), "has no info hash"},
	{"ShortHash", "magnet:?xt=urn:btih:0123", "40 hexadecimal digits"},
	{"EmptyHash", "magnet:?xt=urn:btih:", "40 hexadecimal digits"},
	{"NotHex", "magnet:?xt=urn:btih:" + strings.Repeat("z", 40), "40 hexadecimal digits"},
	{"NotBase32", "magnet:?xt=urn:btih:" + strings.Repeat("1", 32), "40 hexadecimal digits"},
	{"PaddedBase32", "magnet:?xt=urn:btih:" + strings.Repeat("B", 26) + "======", "40 hexadecimal digits"},
	{"Base32WithNewlines", "magnet:?xt=urn:btih:" + strings.Repeat("B", 24) + strings.Repeat("%0A", 8), "40 hexadecimal digits"},
	{"Zeros", "magnet:?xt=urn:btih:" + strings.Repeat("0", 40), "40 hexadecimal digits"},
	{"TooLong", plain + "&dn=" + strings.Repeat("a", source.MaxMagnetBytes), "limit 65536"},
}

func TestParseMagnetRefuses(t *testing.T) {
	for _, c := range badMagnets {
		t.Run(c.name, func(t *testing.T) {
			spec, err := source.ParseMagnet(c.magnet)
			if err == nil {
				t.Fatalf("was taken: %+v", spec)
			}
			if !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not wrap ErrInvalid or say %q", err, c.says)
			}
		})
	}
}

// TestMagnet reads what Magnet writes.
func TestMagnet(t *testing.T) {
	v1 := source.Spec{InfoHash: weir.InfoHash{1, 2, 3}}
	hybrid := source.Spec{InfoHash: weir.InfoHash{1}, InfoHashV2: [32]byte{2}, Name: "a b+c & é?", Trackers: [][]string{{"udp://t.example:80/x?a=b&c"}, {"https://u.example/"}},
		WebSeeds: []string{"https://w.example/a%20b/"}}
	v2 := source.Spec{InfoHash: weir.InfoHash{2}, InfoHashV2: [32]byte{2}}
	fromV2 := v2
	fromV2.InfoHashV1 = hybrid.InfoHash
	for name, s := range map[string]source.Spec{"V1": v1, "Hybrid": hybrid, "V2": v2, "HybridByV2": fromV2} {
		t.Run(name, func(t *testing.T) {
			m := s.Magnet()
			got, err := source.ParseMagnet(m)
			if err != nil {
				t.Fatal(err)
			}
			if got.Names() != s.Names() || got.InfoHashV2 != s.InfoHashV2 || got.Name != s.Name || !reflect.DeepEqual(got.Trackers, s.Trackers) || !reflect.DeepEqual(got.WebSeeds, s.WebSeeds) {
				t.Errorf("%s is read as %+v", m, got)
			}
			if strings.ContainsAny(m, " +") {
				t.Errorf("%s has a space or a plus in it", m)
			}
		})
	}
}

func TestParseAddresses(t *testing.T) {
	for in, want := range map[string][2]bool{
		"http://a.example/": {true, true}, " https://a.example/x ": {true, true}, "udp://a.example:1": {true, false},
		"ftp://a.example/": {}, "a.example": {}, "http:///x": {}, "": {}, "http://a.example/\x7f": {},
	} {
		tracker, err1 := source.ParseTracker(in)
		seed, err2 := source.ParseWebSeed(in)
		if (err1 == nil) != want[0] || (err2 == nil) != want[1] {
			t.Errorf("%q: %v and %v, want %v", in, err1, err2, want)
		}
		if err1 == nil && tracker != strings.TrimSpace(in) || err2 == nil && seed != strings.TrimSpace(in) {
			t.Errorf("%q is taken as %q and %q", in, tracker, seed)
		}
		for _, err := range []error{err1, err2} {
			if err != nil && !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("%q: %v does not wrap ErrInvalid", in, err)
			}
		}
	}
}

func TestParseMagnetBounds(t *testing.T) {
	var b strings.Builder
	b.WriteString(plain)
	for i := range 1500 {
		fmt.Fprintf(&b, "&tr=http://t%d&ws=http://s%d&x.pe=h%d:1", i, i, i)
	}
	spec, err := source.ParseMagnet(b.String())
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Trackers) != 200 || len(spec.WebSeeds) != 200 || len(spec.Peers) != 1000 {
		t.Errorf("%d trackers, %d web seeds, %d peers", len(spec.Trackers), len(spec.WebSeeds), len(spec.Peers))
	}
}

func TestParseMagnetSelectionBounds(t *testing.T) {
	items := make([]string, 10_000)
	for i := range items {
		items[i] = fmt.Sprint(2 * i)
	}
	for so, want := range map[string]int{
		strings.Join(items, ","):                      10_000,
		strings.Join(items, ",") + ",30000":           10_000,
		strings.Join(items[:5], ",") + "&so=1,3,5,7":  1,
		strings.Join(items, ",") + "&so=30000&so=1,3": 10_000,
	} {
		spec, err := source.ParseMagnet(plain + "&so=" + so)
		if err != nil {
			t.Fatal(err)
		}
		if len(spec.SelectOnly) != want {
			t.Errorf("%d spans of so=%.20s…%s, want %d", len(spec.SelectOnly), so, so[len(so)-8:], want)
		}
	}
}

func TestParsePeer(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:1":                     "127.0.0.1:1",
		"[::1]:65535":                     "[::1]:65535",
		"[::ffff:192.0.2.1]:80":           "192.0.2.1:80",
		"[fe80::1%eth0]:80":               "[fe80::1%eth0]:80",
		"localhost:6881":                  "localhost:6881",
		"my_seed-1.example:6881":          "my_seed-1.example:6881",
		"127.0.0.1":                       "",
		"127.0.0.1:0":                     "",
		"127.0.0.1:65536":                 "",
		"127.0.0.1:-1":                    "",
		"127.0.0.1:+1":                    "",
		"127.0.0.1:http":                  "",
		"0.0.0.0:80":                      "",
		"[::]:80":                         "",
		"::1:80":                          "",
		"[::1:80":                         "",
		"999.0.0.1:80":                    "",
		"12345:80":                        "",
		":80":                             "",
		"":                                "",
		"a b:80":                          "",
		"a..b:80":                         "",
		"a/b:80":                          "",
		strings.Repeat("a", 64) + ":80":   "",
		strings.Repeat("a.", 150) + ":80": "",
	} {
		got, err := source.ParsePeer(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParsePeer(%q) = %q, %v, want %q", in, got, err, want)
		}
		if err != nil && !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("ParsePeer(%q): error %v does not wrap ErrInvalid", in, err)
		}
	}
}
