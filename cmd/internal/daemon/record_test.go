package daemon

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/source"
)

// testSpec says all that a source can say.
func testSpec() *source.Spec {
	return &source.Spec{
		InfoHash: weir.InfoHash{1, 2, 3}, InfoHashV2: [32]byte{4, 5}, Name: "na\xffme",
		Trackers: [][]string{{"udp://a.example:1/announce"}, {"http://b.example/announce"}},
		Peers:    []string{"192.0.2.1:6881"}, WebSeeds: []string{"http://c.example/"}, Nodes: []string{"node.example:6881"},
		SelectOnly: []source.FileSpan{{First: 0, Last: 1}, {First: 4, Last: 4}},
	}
}

func TestRecord(t *testing.T) {
	spec := testSpec()
	r := newRecord(spec)
	r.Seq, r.Dir, r.Shown = 7, []byte("a/\xfeb"), []byte("na\xffme [01020300]")
	r.Shape = &recShape{Size: 10, Length: 12, PieceLength: 4, Files: 2, Created: time.Unix(1e9, 0).UTC()}
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	ih, got, err := parseRecord(spec.InfoHash[:], b)
	if err != nil || ih != spec.InfoHash {
		t.Fatalf("%v, %v", ih, err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	if back := got.spec(ih); !reflect.DeepEqual(back, spec) {
		t.Errorf("the source again: %+v\nwant %+v", back, spec)
	}
}

func TestRecordLearns(t *testing.T) {
	r := newRecord(&source.Spec{Trackers: [][]string{{"http://a.example"}}})
	r.learn(testSpec())
	r.learn(testSpec())
	r.learn(&source.Spec{Trackers: [][]string{{"http://b.example/announce", "http://d.example"}}})
	want := [][]string{{"http://a.example"}, {"udp://a.example:1/announce"}, {"http://b.example/announce"}, {"http://d.example"}}
	if !reflect.DeepEqual(r.Trackers, want) {
		t.Errorf("trackers %q, want %q", r.Trackers, want)
	}
	if len(r.Peers) != 1 || len(r.Nodes) != 1 || len(r.WebSeeds) != 1 || len(r.HashV2) != 32 || string(r.Name) != "na\xffme" {
		t.Errorf("%+v", r)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	key := weir.InfoHash{1}
	for name, value := range map[string]string{
		"Empty":      "",
		"NoJSON":     "weir",
		"NoName":     `{"v":1}`,
		"NewVersion": `{"v":2,"shown":"eA=="}`,
		"BadHash":    `{"v":1,"shown":"eA==","hash_v2":"eA=="}`,
		"BadSizes":   `{"v":1,"shown":"eA==","shape":{"size":2,"length":1,"piece_length":1}}`,
	} {
		if _, _, err := parseRecord(key[:], []byte(value)); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, _, err := parseRecord([]byte("short"), []byte(`{"v":1,"shown":"eA=="}`)); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("short key: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	r := newRecord(testSpec())
	r.Shown = []byte("x")
	b, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"shown":"eA==","shape":{"size":1,"length":1,"piece_length":1}}`))
	key := weir.InfoHash{1}
	f.Fuzz(func(t *testing.T, b []byte) {
		ih, r, err := parseRecord(key[:], b)
		if err != nil {
			if !errors.Is(err, weir.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		_ = magnet(ih, &r)
		if r.spec(ih).InfoHash != key {
			t.Fatal("another info hash")
		}
	})
}

// TestRefusedShowsNothing: what is in a file that is refused doesn't get into logs.
func TestRefusedShowsNothing(t *testing.T) {
	const secret = "$y$j9T$SeCrEt"
	for _, content := range []string{
		"root:" + secret + ":19000:0:99999:7:::\ndaemon:*:19000::::::\n", // begins like a text
		"daemon:" + secret + ":19000::::::\n",                            // begins like a .torrent
		secret + "\n" + secret + "\n",
		"magnet:?xt=urn:btih:" + secret + "\n",
		"[InternetShortcut]\nURL=file://" + secret + "\n",
		"[" + secret + "]\n" + secret + "\n",
		"\xff\xfe" + secret,
		"\"" + secret + "\\\"\n",
		"d4:infod6:lengthi4e4:name16:../" + secret + "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
	} {
		_, err := readDropped([]byte(content))
		if err == nil || strings.Contains(err.Error(), "SeCrEt") || strings.Contains(err.Error(), "j9T") {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil && !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, weir.ErrHostile) {
			t.Errorf("%q: %v has no kind", content, err)
		}
	}
}

func TestLoadNamed(t *testing.T) {
	for _, arg := range []string{
		"0123456789abcdef0123456789abcdef01234567",
		" 0123456789ABCDEF0123456789abcdef01234567\n",
		"AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH",
		strings.Repeat("ab", 32),
		"magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567",
	} {
		if spec, err := loadNamed(t.Context(), source.Loader{}, arg); err != nil || spec.InfoHash.IsZero() {
			t.Errorf("%q: %+v, %v", arg, spec, err)
		}
	}
	for _, arg := range []string{"", "/etc/passwd", "record.go", "magnet:?dn=x", "ftp://a.example/x", strings.Repeat("xy", 32)} {
		if _, err := loadNamed(t.Context(), source.Loader{}, arg); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", arg, err)
		}
	}
}

func TestOutside(t *testing.T) {
	for _, c := range []struct {
		run    [2]int
		others [][2]int
		want   [][2]int
	}{
		{[2]int{2, 5}, nil, [][2]int{{2, 5}}},
		{[2]int{2, 5}, [][2]int{{0, 9}}, nil},
		{[2]int{2, 5}, [][2]int{{0, 2}, {5, 9}}, [][2]int{{2, 5}}},
		{[2]int{2, 9}, [][2]int{{3, 4}, {6, 7}}, [][2]int{{2, 3}, {4, 6}, {7, 9}}},
		{[2]int{2, 5}, [][2]int{{7, 8}}, [][2]int{{2, 5}}},
		{[2]int{2, 5}, [][2]int{{0, 3}, {4, 5}}, [][2]int{{3, 4}}},
	} {
		if got := outside(c.run, c.others); !reflect.DeepEqual(got, c.want) {
			t.Errorf("outside(%v, %v) = %v, want %v", c.run, c.others, got, c.want)
		}
	}
}

// TestHideLinks: links that lead out of the torrent are told of, beneath the folder
// that is asked about, and not all of a million.
func TestHideLinks(t *testing.T) {
	info := &weir.TorrentInfo{Files: []weir.FileInfo{
		{Path: []string{"a"}, Length: 1}, {Path: []string{"d", "out"}, Hidden: true}, {Path: []string{"in"}, Link: "a"}, {Path: []string{"out"}, Hidden: true},
	}}
	for inside, want := range map[string][]string{"": {"d/out", "out"}, "d": {"d/out"}, "a": nil} {
		var out api.PathStatus
		if hideLinks(&out, info, strings.FieldsFunc(inside, func(r rune) bool { return r == '/' })); !reflect.DeepEqual(out.HiddenLinks, want) || out.HiddenLinkCount != len(want) {
			t.Errorf("%q: %q, %d", inside, out.HiddenLinks, out.HiddenLinkCount)
		}
	}
	for range 100 {
		info.Files = append(info.Files, weir.FileInfo{Path: []string{"more"}, Hidden: true})
	}
	var out api.PathStatus
	if hideLinks(&out, info, nil); len(out.HiddenLinks) != 20 || out.HiddenLinkCount != 102 {
		t.Errorf("%d of %d links", len(out.HiddenLinks), out.HiddenLinkCount)
	}
}
