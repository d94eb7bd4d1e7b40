package metainfo_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source"
)

func file(length int64, path ...string) metainfo.File {
	return metainfo.File{Path: path, Length: length}
}

func link(target string, path ...string) metainfo.File {
	return metainfo.File{Path: path, Link: strings.Split(target, "/")}
}

// encode makes a torrent with hashes that no file has.
func encode(tb testing.TB, l *metainfo.Layout, d *metainfo.Details) []byte {
	tb.Helper()
	h := l.NewHashes()
	next := 0
	var total int64
	for p := range l.Pieces() {
		if p.Index != next {
			tb.Fatalf("piece %d comes after piece %d", p.Index, next-1)
		}
		next++
		length := p.Padding
		for _, part := range p.Parts {
			if part.Length <= 0 || part.Offset+part.Length > l.Files[part.File].Length {
				tb.Fatalf("piece %d has %+v of a file of %d bytes", p.Index, part, l.Files[part.File].Length)
			}
			length += part.Length
			total += part.Length
		}
		if length > l.PieceLength || length < l.PieceLength && next < l.NumPieces() && l.Version == metainfo.V1 || len(p.Parts) > 1 && l.Version != metainfo.V1 {
			tb.Fatalf("piece %d is %+v", p.Index, p)
		}
		sum := sha1.Sum(fmt.Append(nil, p.Index))
		if h.V1 != nil {
			h.SetV1(p.Index, sum)
		}
		if h.V2 != nil {
			h.SetV2(p.Index, [32]byte(append(sum[:], sum[:12]...)))
		}
	}
	if total != l.Bytes {
		tb.Fatalf("the pieces have %d bytes, want %d", total, l.Bytes)
	}
	if next != l.NumPieces() {
		tb.Fatalf("%d pieces, want %d", next, l.NumPieces())
	}
	return l.Encode(h, d)
}

// checkParsed reads a torrent and compares it with what it was made of.
func checkParsed(tb testing.TB, l *metainfo.Layout, b []byte) *source.Spec {
	tb.Helper()
	spec, err := source.ParseTorrent(b)
	if err != nil {
		tb.Fatalf("%v\nof %q", err, b)
	}
	info := spec.Info
	// Nothing tells a v2 torrent of one file from one of a folder with a file of its name.
	single := l.Single || info.V2 && len(l.Files) == 1 && len(l.Files[0].Path) == 1 && l.Files[0].Path[0] == l.Name && l.Files[0].Link == nil
	if info.Name != l.Name || info.PieceLength != l.PieceLength || info.NumPieces() != l.NumPieces() || info.ContentBytes() != l.Bytes || info.Single != single || info.V2 != (l.Version == metainfo.V2) {
		tb.Errorf("is read as %+v, want %+v", info, l)
	}
	if info.V2 && spec.PieceHashes == nil || l.Version == metainfo.Hybrid && spec.LayerHashes == nil {
		tb.Error("has no piece layers")
	}
	i := 0
	for _, f := range info.Files {
		if f.Padding {
			continue
		}
		if i == len(l.Files) {
			tb.Fatalf("has %+v, too", f)
		}
		want := l.Files[i]
		wantLink := strings.Join(want.Link, "/")
		if !slices.Equal(f.Path, want.Path) || f.Length != want.Length || f.Executable != (want.Executable && want.Link == nil) || (f.Link == "") != (wantLink == "") {
			tb.Errorf("file %d is %+v, want %+v", i, f, want)
		}
		if f.Length > 0 && f.Offset%l.PieceLength != 0 && l.Version != metainfo.V1 {
			tb.Errorf("file %d does not begin with a piece: %+v", i, f)
		}
		i++
	}
	if i != len(l.Files) {
		tb.Errorf("has %d files, want %d", i, len(l.Files))
	}
	return spec
}

func TestEncode(t *testing.T) {
	files := func() []metainfo.File {
		exe := file(5, "bin", "tool")
		exe.Executable = true
		return []metainfo.File{
			file(40_000, "a"), file(0, "a-b"), link("a", "bin", "link"), exe, link(".", "top"), link("no/where", "dangling"),
			file(16384, "c", "d", "whole"), file(70_000, "z"), file(70_000, "zz"),
		}
	}
	d := &metainfo.Details{
		Trackers: []string{"udp://a.example:1/", "https://b.example/"}, WebSeeds: []string{"https://c.example/", "https://d.example/"},
		Private: true, Comment: "no comment", Source: "somewhere", Created: time.Unix(1_000_000_000, 0),
	}
	for _, v := range []metainfo.Version{metainfo.Hybrid, metainfo.V1, metainfo.V2} {
		l, err := metainfo.New(files(), metainfo.Shape{Version: v, Name: "sample"})
		if err != nil {
			t.Fatal(err)
		}
		b := encode(t, l, d)
		spec := checkParsed(t, l, b)
		if len(spec.Trackers) != 2 || len(spec.WebSeeds) != 2 || !spec.Info.Private || !spec.Info.Created.Equal(d.Created) {
			t.Errorf("details are read as %+v", spec)
		}
		again := files()
		slices.Reverse(again)
		l, err = metainfo.New(again, metainfo.Shape{Version: v, Name: "sample"})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, l, d), b) {
			t.Error("the order of the files that are given makes a difference")
		}
	}
}

// TestEncodeKeys: what stands in a .torrent only when there is something to say, and what
// does in any case.
func TestEncodeKeys(t *testing.T) {
	const similar, attr = "7:similarl20:aaaaaaaaaaaaaaaaaaaa20:bbbbbbbbbbbbbbbbbbbbe", "4:attr1:x"
	for _, single := range []bool{true, false} {
		for _, executable := range []bool{true, false} {
			for _, v := range []metainfo.Version{metainfo.V1, metainfo.Hybrid} {
				f := file(1, "x")
				f.Executable = executable
				l, err := metainfo.New([]metainfo.File{f}, metainfo.Shape{Version: v, Name: "x", Single: single})
				if err != nil {
					t.Fatal(err)
				}
				d := &metainfo.Details{}
				if single {
					d.Similar = []weir.InfoHash{weir.InfoHash([]byte("aaaaaaaaaaaaaaaaaaaa")), weir.InfoHash([]byte("bbbbbbbbbbbbbbbbbbbb"))}
				}
				b := encode(t, l, d)
				if n := bytes.Count(b, []byte(attr)); (n > 0) != executable {
					t.Errorf("executable %v, and %q", executable, b)
				}
				// BEP 47: of a single file it stands beside its length in the info dictionary.
				if top := bytes.Contains(b, []byte("4:infod"+attr)); top != (single && executable) {
					t.Errorf("single %v, executable %v, and %q", single, executable, b)
				}
				if bytes.Contains(b, []byte("similar")) != single || single && !bytes.Contains(b, []byte(similar)) {
					t.Errorf("similar torrents: %q", b)
				}
				if !bytes.Contains(b, []byte("10:created by")) {
					t.Errorf("nobody made %q", b)
				}
			}
		}
	}
}

// TestPieceLengths: the piece length doubles where the total is more than four times as
// large as before, from 2.56 MiB on.
func TestPieceLengths(t *testing.T) {
	want, limit := int64(16<<10), 2.56*(1<<20) // as libtorrent has it
	for range 10 {
		most := int64(math.Round(limit))
		for total, length := range map[int64]int64{most: want, most + 1: 2 * want} {
			l, err := metainfo.New([]metainfo.File{file(total, "x")}, metainfo.Shape{Version: metainfo.V2, Name: "x", Single: true})
			if err != nil {
				t.Fatal(err)
			}
			if l.PieceLength != length {
				t.Errorf("%d bytes: pieces of %d KiB, want %d", total, l.PieceLength>>10, length>>10)
			}
		}
		want, limit = 2*want, limit*4
	}
}

func TestEncodeOneTrackerAndSeed(t *testing.T) {
	l, err := metainfo.New([]metainfo.File{file(1, "x")}, metainfo.Shape{Name: "one", Single: true})
	if err != nil {
		t.Fatal(err)
	}
	b := encode(t, l, &metainfo.Details{Trackers: []string{"udp://a.example:1/"}, WebSeeds: []string{"https://c.example/"}})
	spec := checkParsed(t, l, b)
	if bytes.Contains(b, []byte("announce-list")) || bytes.Contains(b, []byte("creation date")) || !bytes.Contains(b, []byte("8:url-list18:https")) || len(spec.Trackers) != 1 {
		t.Errorf("made %q", b)
	}
}

func TestNewRefuses(t *testing.T) {
	deep := make([]string, 257)
	for i := range deep {
		deep[i] = "d"
	}
	many := make([]metainfo.File, 1<<21+1)
	for i := range many {
		many[i] = file(1)
	}
	for name, c := range map[string]struct {
		files []metainfo.File
		shape metainfo.Shape
		says  string
	}{
		"Nothing":         {nil, metainfo.Shape{}, "no bytes"},
		"Empty":           {[]metainfo.File{file(0, "a"), link("a", "b")}, metainfo.Shape{}, "no bytes"},
		"NoName":          {[]metainfo.File{file(1, "a")}, metainfo.Shape{Name: ".."}, "names no file"},
		"NameWithSlash":   {[]metainfo.File{file(1, "a")}, metainfo.Shape{Name: "a/b"}, "slash"},
		"LongName":        {[]metainfo.File{file(1, "a")}, metainfo.Shape{Name: strings.Repeat("a", 4097)}, "too long"},
		"NotUTF8":         {[]metainfo.File{file(1, "caf\xe9")}, metainfo.Shape{}, `"caf\xe9" is not UTF-8`},
		"TargetNotUTF8":   {[]metainfo.File{file(1, "a"), link("caf\xe9", "b")}, metainfo.Shape{}, "not UTF-8"},
		"Twice":           {[]metainfo.File{file(1, "a"), file(2, "a")}, metainfo.Shape{}, "there twice"},
		"FileAndFolder":   {[]metainfo.File{file(1, "a", "b"), file(2, "a")}, metainfo.Shape{}, "there twice"},
		"NoPath":          {[]metainfo.File{file(1)}, metainfo.Shape{}, "without a name"},
		"Deep":            {[]metainfo.File{file(1, deep...)}, metainfo.Shape{}, "folders deep"},
		"Padding":         {[]metainfo.File{file(1, ".pad", "5"), file(1, "b")}, metainfo.Shape{}, "--v2"},
		"OldPadding":      {[]metainfo.File{file(1, "a", "_____padding_file_0_x"), file(1, "b")}, metainfo.Shape{Version: metainfo.V1}, "--v2"},
		"Negative":        {[]metainfo.File{file(-1, "a")}, metainfo.Shape{}, "-1 bytes"},
		"TooLong":         {[]metainfo.File{file(math.MaxInt64, "a")}, metainfo.Shape{}, "more than a torrent can have"},
		"TooLongTogether": {[]metainfo.File{file(1<<59, "a"), file(1<<59+1, "b")}, metainfo.Shape{}, "more than a torrent can have"},
		"TooLongForAll":   {[]metainfo.File{file(1<<59, "a")}, metainfo.Shape{}, "too much for one torrent"},
		"TooMany":         {many, metainfo.Shape{}, "make several"},
		"TooManyPieces":   {[]metainfo.File{file(1<<40, "a")}, metainfo.Shape{PieceLength: 16 << 10}, "--piece-length 512KiB"},
		"OddPieceLength":  {[]metainfo.File{file(1, "a")}, metainfo.Shape{PieceLength: 100_000}, "power of two"},
		"SmallPieces":     {[]metainfo.File{file(1, "a")}, metainfo.Shape{PieceLength: 8 << 10}, "power of two"},
		"LargePieces":     {[]metainfo.File{file(1, "a")}, metainfo.Shape{PieceLength: 1 << 30}, "power of two"},
		"SingleOfTwo":     {[]metainfo.File{file(1, "a"), file(1, "b")}, metainfo.Shape{Single: true}, "want one file"},
		"LinkWithBytes":   {[]metainfo.File{{Path: []string{"a"}, Length: 1, Link: []string{"b"}}}, metainfo.Shape{}, "is a link"},
		"LinkOut":         {[]metainfo.File{file(1, "a"), link("../x", "b")}, metainfo.Shape{}, "names no file"},
		"LinkNowhere":     {[]metainfo.File{file(1, "a"), {Path: []string{"b"}, Link: []string{}}}, metainfo.Shape{}, "0 names"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.shape.Name == "" {
				c.shape.Name = "sample"
			}
			_, err := metainfo.New(c.files, c.shape)
			if err == nil || !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// TestHugeFiles has more bytes than libtorrent's piece lengths are made for.
func TestHugeFiles(t *testing.T) {
	for length, want := range map[int64]int64{32 << 40: 16 << 20, 32<<40 + 1: 32 << 20, 1 << 50: 512 << 20} {
		l, err := metainfo.New([]metainfo.File{file(length, "a")}, metainfo.Shape{Name: "sample"})
		if err != nil || l.PieceLength != want {
			t.Errorf("%d bytes: %+v, %v, want pieces of %d", length, l, err, want)
		}
	}
}

// FuzzEncode makes files of what it is given, and reads the torrent of them again.
func FuzzEncode(f *testing.F) {
	f.Add("a\n5 bin/tool\n70000 z/y\nl a\n0 empty", "name", uint8(0), uint16(3))
	f.Add("16384 a\n16385 a-b\n1 a/c", "caf\xe9", uint8(1), uint16(0))
	f.Add("1 .pad/16383\n16383 x\nl", ".", uint8(2), uint16(1))
	f.Add("9000000 x", "x", uint8(8), uint16(0))
	f.Fuzz(func(t *testing.T, list, name string, kind uint8, details uint16) {
		var files []metainfo.File
		for line := range strings.SplitSeq(list, "\n") {
			head, path, found := strings.Cut(line, " ")
			names := strings.Split(path, "/")
			var n int64
			if !found {
				names = strings.Split(head, "/")
			} else if head == "l" {
				files = append(files, metainfo.File{Path: []string{"link" + path}, Link: names})
				continue
			} else if _, err := fmt.Sscan(head, &n); err != nil || n > 1<<30 {
				n = int64(len(head))
			}
			files = append(files, metainfo.File{Path: names, Length: n, Executable: n%3 == 0})
		}
		shape := metainfo.Shape{Version: metainfo.Version(kind % 3), Name: name, Single: kind&8 != 0}
		if kind&4 != 0 {
			shape.PieceLength = 16 << 10 << (kind >> 5)
		}
		l, err := metainfo.New(files, shape)
		if err != nil {
			if !errors.Is(err, weir.ErrInvalid) {
				t.Fatalf("error %v does not wrap ErrInvalid", err)
			}
			return
		}
		d := &metainfo.Details{Private: details&1 != 0, Created: time.Unix(int64(details)+1, 0)}
		if details&2 != 0 {
			d.Comment, d.Source = name, list
		}
		checkParsed(t, l, encode(t, l, d))
	})
}
