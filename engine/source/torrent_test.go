package source_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

func TestParseTorrentRefuses(t *testing.T) {
	for _, c := range refusals(t) {
		t.Run(c.name, func(t *testing.T) {
			spec, err := source.ParseTorrent(c.raw)
			if err == nil || spec != nil {
				t.Fatalf("was taken: %+v", spec)
			}
			if !errors.Is(err, c.is) {
				t.Errorf("error %q does not wrap %q", err, c.is)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestParseTorrentAgrees compares with anacrolix's reader what both know.
func TestParseTorrentAgrees(t *testing.T) {
	for name, raw := range goodTorrents(t) {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(raw)
			if err != nil {
				t.Fatal(err)
			}
			checkInfo(t, spec.Info, spec.PieceHashes)
			mi, err := metainfo.Load(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := spec.InfoHash, weir.InfoHash(mi.HashInfoBytes()); got != want || spec.Info.InfoHash != want {
				t.Errorf("info hash %s, want %s", got, want)
			}
			if !bytes.Equal(spec.InfoBytes, mi.InfoBytes) {
				t.Errorf("info bytes differ")
			}
			info, err := mi.UnmarshalInfo()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := spec.Info.Length, info.TotalLength(); got != want {
				t.Errorf("length %d, want %d", got, want)
			}
			if got, want := spec.Info.PieceLength, info.PieceLength; got != want {
				t.Errorf("piece length %d, want %d", got, want)
			}
			if !bytes.Equal(spec.PieceHashes, info.Pieces) {
				t.Errorf("piece hashes differ")
			}
			if got, want := spec.Trackers, [][]string{{"http://tracker.example/announce"}}; !reflect.DeepEqual(got, want) {
				t.Errorf("trackers %v, want %v", got, want)
			}
			if want := time.Unix(1_700_000_000, 0); !spec.Info.Created.Equal(want) {
				t.Errorf("created %v, want %v", spec.Info.Created, want)
			}
		})
	}
}

func TestParseTorrentFiles(t *testing.T) {
	good := goodTorrents(t)
	for name, want := range map[string][]weir.FileInfo{
		"Single":     {{Path: []string{"film.mkv"}, Length: 100_000}},
		"ZeroSingle": {{Path: []string{"film.mkv"}}},
		"Multi": {
			{Path: []string{"b"}, Length: 1},
			{Path: []string{"a"}, Offset: 1},
			{Path: []string{"dir", "c"}, Offset: 1, Length: 5000},
			{Path: []string{"dir", "d"}, Offset: 5001, Length: 7},
		},
		"Padded": {
			{Path: []string{"a"}, Length: 10},
			{Path: []string{".pad", "6"}, Offset: 10, Length: 6, Padding: true},
			{Path: []string{"run.sh"}, Offset: 16, Length: 3, Executable: true},
			// Content, in spite of their names: they fill up no piece.
			{Path: []string{".pad", "6"}, Offset: 19, Length: 6},
			{Path: []string{"_____padding_file_0_if you see this file, please update_____"}, Offset: 25, Length: 2},
			{Path: []string{".____padding_file", "3"}, Offset: 27, Length: 2},
			{Path: []string{"link"}, Offset: 29, Hidden: true},
		},
		"UTF8": {
			{Path: []string{"ä.txt"}, Length: 1},
			{Path: []string{"b"}, Offset: 1, Length: 1}, // the other one is not valid
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(good[name])
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(spec.Info.Files, want) {
				t.Errorf("files %+v\nwant  %+v", spec.Info.Files, want)
			}
			if got, want := spec.Info.Single, len(want) == 1; got != want {
				t.Errorf("single %v, want %v", got, want)
			}
		})
	}
}

func TestParseTorrentNames(t *testing.T) {
	good := goodTorrents(t)
	noName, err := source.ParseTorrent(good["NoName"])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Single": "film.mkv", "Multi": "folder", "UTF8": "ä", "NoName": noName.InfoHash.String(),
	} {
		spec, err := source.ParseTorrent(good[name])
		if err != nil {
			t.Fatal(err)
		}
		if spec.Name != want || spec.Info.Name != want || spec.DisplayName() != want {
			t.Errorf("%s: name %q, %q, want %q", name, spec.Name, spec.Info.Name, want)
		}
	}
	// A variant in UTF-8 that is none, or empty, doesn't count.
	for _, utf8 := range []string{"", "\xff"} {
		spec, err := source.ParseTorrent(encode(t, dict{"info": with(single(), dict{"name.utf-8": utf8})}))
		if err != nil {
			t.Fatal(err)
		}
		if spec.Name != "film.mkv" {
			t.Errorf("name %q for name.utf-8 %q", spec.Name, utf8)
		}
	}
}

func TestParseTorrentOuter(t *testing.T) {
	tracker := func(names ...string) []string {
		for i := range names {
			names[i] = "udp://" + names[i] + ".example:6969/announce"
		}
		return names
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = "http://a.example/" + strings.Repeat("x", i)
	}
	type outcome struct {
		trackers [][]string
		seeds    []string
		created  time.Time
		nodes    []string
	}
	var manyNodes []any
	for i := range 300 {
		manyNodes = append(manyNodes, []any{fmt.Sprintf("n%d.example", i), 1})
	}
	var hundred []string
	for i := range 100 {
		hundred = append(hundred, fmt.Sprintf("n%d.example:1", i))
	}
	for _, c := range []struct {
		name string
		top  dict
		want outcome
	}{
		{"Nothing", dict{}, outcome{}},
		{"Announce", dict{"announce": " http://a.example/ann "}, outcome{trackers: [][]string{{"http://a.example/ann"}}}},
		{"AnnounceWrongType", dict{"announce": 5, "url-list": 7, "creation date": "today", "announce-list": dict{"a": 1}}, outcome{}},
		{"ListReplacesAnnounce", dict{"announce": "http://a.example", "announce-list": [][]string{tracker("b", "c"), tracker("d")}},
			outcome{trackers: [][]string{tracker("b", "c"), tracker("d")}}},
		{"ListOfNothing", dict{"announce": "http://a.example", "announce-list": []any{[]string{}, 5, []any{7}}},
			outcome{trackers: [][]string{{"http://a.example"}}}},
		{"ListOfStrings", dict{"announce-list": []any{"http://a.example", 3, "https://b.example"}},
			outcome{trackers: [][]string{{"http://a.example"}, {"https://b.example"}}}},
		{"OtherSchemesAndRepeats", dict{"announce-list": [][]string{
			{"wss://w.example", "http://a.example", "file:///etc/passwd", "http://a.example", "http://", "a.example:80", "http://a b"},
			{"http://a.example"}, {"HTTPS://B.example/x"}}},
			outcome{trackers: [][]string{{"http://a.example"}, {"HTTPS://B.example/x"}}}},
		{"TooManyTrackers", dict{"announce-list": [][]string{many}}, outcome{trackers: [][]string{many[:200]}}},
		{"SeedString", dict{"url-list": "https://s.example/f/"}, outcome{seeds: []string{"https://s.example/f/"}}},
		{"SeedTwice", dict{"url-list": []any{"https://s.example/a b/", "https://t.example/", "https://s.example/a b/"}}, outcome{seeds: []string{"https://s.example/a b/", "https://t.example/"}}},
		{"SeedEmptyString", dict{"url-list": ""}, outcome{}},
		{"SeedList", dict{"url-list": []any{"https://s.example/", "ftp://s.example/", 5, "http://t.example/"}},
			outcome{seeds: []string{"https://s.example/", "http://t.example/"}}},
		{"OldSeedsOfTheFile", dict{"httpseeds": []any{"https://cd.example/iso/film.mkv", "https://cd.example/seed.php", "https://cd.example/film.mkv?x=1", "ftp://cd.example/film.mkv"}},
			outcome{seeds: []string{"https://cd.example/iso/film.mkv"}}},
		{"TooManySeeds", dict{"url-list": many}, outcome{seeds: many[:200]}},
		{"Date", dict{"creation date": 1}, outcome{created: time.Unix(1, 0).UTC()}},
		{"DateZero", dict{"creation date": 0}, outcome{}},
		{"DateNegative", dict{"creation date": -5}, outcome{}},
		{"DateInMilliseconds", dict{"creation date": 1_700_000_000_000}, outcome{}},
		{"Nodes", dict{"nodes": []any{[]any{"192.0.2.1", 6881}, []any{"2001:db8::1", 5}, []any{"node.example", 1}, []any{"192.0.2.1", 6881}}},
			outcome{nodes: []string{"192.0.2.1:6881", "[2001:db8::1]:5", "node.example:1"}}},
		{"NodesOddTypes", dict{"nodes": []any{5, "a:1", []any{}, []any{"a"}, []any{1}, []any{"a", 0}, []any{"a", -1}, []any{"a", 65536}, []any{"a b", 1},
			[]any{"a", "1"}, []any{[]any{"a"}, 1}, []any{"ok.example", 2, 3, dict{}}}}, outcome{nodes: []string{"ok.example:2"}}},
		{"NodesNoList", dict{"nodes": dict{"a": 1}}, outcome{}},
		{"TooManyNodes", dict{"nodes": manyNodes}, outcome{nodes: hundred}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := source.ParseTorrent(encode(t, with(c.top, dict{"info": single()})))
			if err != nil {
				t.Fatal(err)
			}
			got := outcome{spec.Trackers, spec.WebSeeds, spec.Info.Created, spec.Nodes}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if spec.Peers != nil {
				t.Errorf("peers %v out of nowhere", spec.Peers)
			}
		})
	}
}

func TestParseTorrentTolerates(t *testing.T) {
	info := string(encode(t, single()))
	want := infoHash([]byte(info))
	for name, raw := range map[string]string{
		"TrailingGarbage": "d4:info" + info + "e\r\n<garbage>",
		"UnsortedKeys":    "d3:zzzi1e4:info" + info + "1:ai-0ee",
		"LeadingZeros":    "d1:ai007e04:info" + info + "e",
		"HugeUnusedInt":   "d1:ai" + strings.Repeat("9", 100) + "e4:info" + info + "e",
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			if spec.InfoHash != want {
				t.Errorf("info hash %s, want %s: it is not the hash of the raw bytes", spec.InfoHash, want)
			}
		})
	}
	// Unsorted keys inside the info dictionary stand in its hash as they are.
	unsorted := "d4:name1:a6:lengthi1e6:pieces20:0123456789abcdefghij12:piece lengthi16384e7:privatei1ee"
	spec, err := source.ParseTorrent([]byte("d4:info" + unsorted + "e"))
	if err != nil {
		t.Fatal(err)
	}
	if spec.InfoHash != infoHash([]byte(unsorted)) || !spec.Info.Private {
		t.Errorf("got %s, private %v", spec.InfoHash, spec.Info.Private)
	}
}

// parseInfo judges an info dictionary by its hash alone, as that of a magnet.
func parseInfo(ih weir.InfoHash, b []byte) (*weir.TorrentInfo, []byte, error) {
	spec, err := (&source.Spec{InfoHash: ih}).WithInfo(b)
	if err != nil {
		return nil, nil, err
	}
	return spec.Info, spec.PieceHashes, nil
}

// TestPaddingByName: padding without an attribute is what has such a name and fills
// up a piece, which has 16,384 bytes here.
func TestPaddingByName(t *testing.T) {
	const gap = 16384 - 10
	for name, c := range map[string]struct {
		files   []dict
		padding bool // file 1
	}{
		"Pad":            {[]dict{file(10, "a"), file(gap, ".pad", "16374")}, true},
		"PadAnyNumber":   {[]dict{file(10, "a"), file(gap, ".pad", "7"), file(5, "b")}, true},
		"Old":            {[]dict{file(10, "a"), file(gap, ".____padding_file", "0"), file(5, "b")}, true},
		"BitComet":       {[]dict{file(10, "a"), file(gap, "_____padding_file_0_if you see this"), file(5, "b")}, true},
		"BitCometFolder": {[]dict{file(10, "a"), file(gap, "_____padding_file_0_if you see this", "x"), file(5, "b")}, true},
		"BitCometDeeper": {[]dict{file(10, "a"), file(gap, "dir", "_____padding_file_0_"), file(5, "b")}, true},
		"Short":          {[]dict{file(10, "a"), file(gap-1, ".pad", "16373"), file(5, "b")}, false},
		"Long":           {[]dict{file(10, "a"), file(gap+1, ".pad", "16375"), file(5, "b")}, false},
		"WholePiece":     {[]dict{file(16384, "a"), file(16384, ".pad", "16384"), file(5, "b")}, false},
		"Empty":          {[]dict{file(16384, "a"), file(0, ".pad", "0"), file(5, "b")}, false},
		"Last":           {[]dict{file(10, "a"), file(5, "_____padding_file_0_")}, false},
		"NoNumber":       {[]dict{file(10, "a"), file(gap, ".pad", "x"), file(5, "b")}, false},
		"OtherFolder":    {[]dict{file(10, "a"), file(gap, "pad", "16374"), file(5, "b")}, false},
		"Deeper":         {[]dict{file(10, "a"), file(gap, "dir", ".pad", "16374"), file(5, "b")}, false},
		"ByAttribute":    {[]dict{file(10, "a"), with(file(3, "x"), dict{"attr": "p"}), file(5, "b")}, true},
		"NoPath":         {[]dict{file(10, "a"), {"length": 3, "attr": "p"}, file(5, "b")}, true},
		"BadPath":        {[]dict{file(10, "a"), {"length": 3, "attr": "p", "path": []string{".."}}, file(5, "b")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			total := int64(0)
			for _, f := range c.files {
				if n, ok := f["length"].(int64); ok {
					total += n
				} else {
					total += int64(f["length"].(int))
				}
			}
			info := with(multi(c.files...), dict{"pieces": hashes(int((total + 16383) / 16384))})
			spec, err := source.ParseTorrent(encode(t, dict{"info": info}))
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range spec.Info.Files {
				if want := i == 1 && c.padding; f.Padding != want || f.Shown() == want {
					t.Errorf("file %d: %+v, want padding %v", i, f, want)
				}
			}
		})
	}
}

func TestInfoAlone(t *testing.T) {
	b := encode(t, multi(file(1, "a"), file(2, "b")))
	ih := infoHash(b)
	t.Run("OK", func(t *testing.T) {
		info, pieces, err := parseInfo(ih, b)
		if err != nil {
			t.Fatal(err)
		}
		checkInfo(t, info, pieces)
		if info.InfoHash != ih || info.Length != 3 || len(pieces) != 20 || !info.Created.IsZero() {
			t.Errorf("got %+v, %d bytes of hashes", info, len(pieces))
		}
		clear(b) // nothing may be shared with it
		if info.Name != "folder" || string(pieces) != hashes(1) || info.Files[1].Path[0] != "b" {
			t.Errorf("shares memory with its input: %+v", info)
		}
	})
	t.Run("WrongHash", func(t *testing.T) {
		b := encode(t, single())
		if _, _, err := parseInfo(ih, b); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("error %v, want ErrCorrupt", err)
		}
	})
	t.Run("TrailingGarbage", func(t *testing.T) {
		b := append(encode(t, single()), 'x')
		if _, _, err := parseInfo(infoHash(b), b); !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), "too many") {
			t.Errorf("error %v, want one about too many bytes", err)
		}
	})
	t.Run("TooLarge", func(t *testing.T) {
		b := make([]byte, source.MaxMetainfoBytes+1)
		if _, _, err := parseInfo(weir.InfoHash{1}, b); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("error %v, want ErrInvalid", err)
		}
		b[0] = 'd'
		if _, err := source.ParseTorrent(b); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("ParseTorrent: error %v, want ErrInvalid", err)
		}
	})
	t.Run("SameReasons", func(t *testing.T) {
		for _, c := range refusals(t) {
			info, ok := bytes.CutPrefix(c.raw, []byte("d4:info"))
			if !ok || !bytes.HasSuffix(info, []byte("ee")) || len(info) > maxSeedBytes {
				continue // not around an info dictionary, or slow
			}
			info = info[:len(info)-1]
			if _, _, err := parseInfo(infoHash(info), info); err == nil {
				t.Errorf("%s was taken", c.name)
			}
		}
	})
}

// checkInfo fails when one of the invariants that the rest of weir relies on does
// not hold.
func checkInfo(tb testing.TB, info *weir.TorrentInfo, pieces []byte) {
	tb.Helper()
	if info.PieceLength <= 0 || info.PieceLength >= 1<<30 || info.Length < 0 || info.Length > 1<<60 {
		tb.Fatalf("%d bytes in pieces of %d", info.Length, info.PieceLength)
	}
	hashBytes := 20
	if info.V2 {
		hashBytes = 32
		checkLayoutV2(tb, info)
	}
	if len(pieces) != hashBytes*info.NumPieces() && !(info.V2 && pieces == nil) {
		tb.Fatalf("%d bytes of hashes for %d pieces", len(pieces), info.NumPieces())
	}
	if len(info.Files) == 0 || info.Single && (len(info.Files) != 1 || !slices.Equal(info.Files[0].Path, []string{info.Name})) {
		tb.Fatalf("files %+v, single %v", info.Files, info.Single)
	}
	checkName(tb, info.Name)
	var off int64
	for i, f := range info.Files {
		if f.Length < 0 || f.Offset != off || len(f.Path) == 0 {
			tb.Fatalf("file %d: %+v, want offset %d", i, f, off)
		}
		off += f.Length
		if f.Length > 0 {
			if first, end := info.FilesIn(f.Range()); first > i || end <= i {
				tb.Fatalf("FilesIn(%v) = %d, %d without file %d", f.Range(), first, end, i)
			}
		}
		if f.Length > 0 && !f.Padding { // padding may be in no piece
			first, end := info.Pieces(f.Range())
			if info.PieceRange(first).Off > f.Offset || info.PieceRange(end-1).End < f.Range().End {
				tb.Fatalf("Pieces(%v) = %d, %d", f.Range(), first, end)
			}
		}
		for _, name := range f.Path {
			checkName(tb, name)
		}
	}
	if off != info.Length {
		tb.Fatalf("files end at %d of %d", off, info.Length)
	}
}

func checkName(tb testing.TB, name string) {
	tb.Helper()
	if name == "" || name == "." || len(name) > 4096 || strings.ContainsRune(name, 0) ||
		slices.Contains(strings.Split(name, "/"), "..") {
		tb.Fatalf("name %.100q", name)
	}
}
