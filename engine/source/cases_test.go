package source_test

import (
	"math"
	"strings"
	"testing"

	"github.com/weirfs/weir"
)

// refusal is a .torrent that must be refused, and why.
type refusal struct {
	name string
	raw  []byte
	is   error  // wrapped by the error
	says string // part of its text
}

// refusals returns every kind of .torrent that is refused; they are the seeds of
// the fuzz targets, too.
func refusals(tb testing.TB) []refusal {
	var all []refusal
	raw := func(name, s string, is error, says string) {
		all = append(all, refusal{name, []byte(s), is, says})
	}
	info := func(name string, info dict, is error, says string) {
		all = append(all, refusal{name, encode(tb, dict{"info": info}), is, says})
	}
	invalid, hostile := weir.ErrInvalid, weir.ErrHostile

	// The container.
	raw("Empty", "", invalid, "is empty")
	raw("WebPage", " \r\n<!DOCTYPE html><html></html>", invalid, "is a web page")
	raw("WebPageWithMark", "\xef\xbb\xbf<html>", invalid, "is a web page")
	raw("MagnetText", "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567", invalid, "give weir the magnet")
	raw("Text", "hello", invalid, "is not a torrent")
	raw("List", "le", invalid, "is not a torrent")
	raw("NoInfo", "d8:announce3:abce", invalid, "no info dictionary")
	raw("InfoNotDict", "d4:info3:abce", invalid, "want a dictionary, found a string")
	raw("TwoInfos", "d4:infode4:infodee", hostile, "two info dictionaries")
	raw("KeyNotString", "di1ei2ee", invalid, "want a string")
	raw("Deep", "d4:info"+strings.Repeat("l", 1_000_000), hostile, "levels deep")
	raw("DeepDicts", "d1:a"+strings.Repeat("d1:a", 1_000_000), hostile, "levels deep")
	raw("DeepInInfo", "d4:infod1:a"+strings.Repeat("l", 600)+strings.Repeat("e", 600)+"ee", hostile, "levels deep")
	raw("HugeString", "d4:info999999999999999999999999:", invalid, "2 GiB")
	raw("LongString", "d4:info2000000000:abc", invalid, "incomplete")
	raw("StringWithoutColon", "d4:info3xabce", invalid, "colon")
	raw("NegativeString", "d4:info-3:abce", invalid, "no bencode")
	raw("EmptyInteger", "d1:aiee", invalid, "without digits")
	raw("BadInteger", "d1:ai1.5ee", invalid, "else than digits")
	raw("MinusAlone", "d1:ai-ee", invalid, "without digits")
	raw("EndlessInteger", "d1:ai"+strings.Repeat("1", 1000), invalid, "incomplete")
	whole := string(encode(tb, dict{"info": single()}))
	raw("CutInPieces", whole[:len(whole)/2], invalid, "incomplete")
	raw("CutAtEnd", whole[:len(whole)-1], invalid, "incomplete")

	// The info dictionary.
	info("NoPieceLength", with(single(), dict{"piece length": nil}), invalid, "piece length 0")
	info("PieceLengthZero", with(single(), dict{"piece length": 0}), invalid, "piece length 0")
	info("PieceLengthNegative", with(single(), dict{"piece length": -16384}), invalid, "piece length -16384")
	info("PieceLength1GiB", with(single(), dict{"piece length": 1 << 30, "pieces": hashes(1)}), invalid, "piece length")
	info("PieceLength4GiB", with(single(), dict{"piece length": 1 << 32, "pieces": hashes(1)}), invalid, "piece length")
	info("NoPieces", with(single(), dict{"pieces": nil}), invalid, "no piece hashes")
	info("PiecesOdd", with(single(), dict{"pieces": hashes(4) + "x"}), invalid, "not a multiple of 20")
	info("PiecesTooFew", with(single(), dict{"pieces": hashes(3)}), invalid, "want 4")
	info("PiecesTooMany", with(single(), dict{"pieces": hashes(5)}), invalid, "want 4")
	info("PiecesOfNothing", with(single(), dict{"length": 0}), invalid, "want 0")
	info("MetaVersion3", with(single(), dict{"meta version": 3}), invalid, "meta version 3")
	info("NeitherLengthNorFiles", with(single(), dict{"length": nil}), invalid, "neither")
	info("LengthNegative", with(single(), dict{"length": -1, "pieces": ""}), hostile, "-1 bytes")
	info("LengthOver2To60", with(single(), dict{"length": int64(1)<<60 + 1}), hostile, "length:")
	info("LengthNotInteger", with(single(), dict{"length": "12"}), invalid, "neither a length")
	raw("LengthOver2To64", "d4:infod6:lengthi99999999999999999999e4:name1:a12:piece lengthi16384e6:pieces0:ee", hostile, "length:")
	raw("LengthTwice", "d4:infod6:lengthi1e6:lengthi2e4:name1:a12:piece lengthi16384e6:pieces20:0123456789abcdefghijee", hostile, "length is given twice")
	raw("NameTwice", "d4:infod6:lengthi1e4:name1:a4:name1:b12:piece lengthi16384e6:pieces20:0123456789abcdefghijee", hostile, "name is given twice")

	// The list of files.
	info("FilesEmpty", multi(), invalid, "neither a length")
	info("FilesNotList", with(multi(), dict{"files": "abc"}), invalid, "neither a length")
	info("FileNotDict", with(multi(), dict{"files": []string{"a"}}), invalid, "want a dictionary")
	info("FileNoPath", multi(dict{"length": 1}), invalid, "no path")
	info("FilePathEmpty", multi(dict{"length": 1, "path": []string{}}), invalid, "no path")
	info("FilePathNotList", multi(dict{"length": 1, "path": "abc"}), invalid, "no path")
	info("FilePathNotStrings", multi(dict{"length": 1, "path": []any{"a", 5}}), invalid, "no path")
	info("FileNoLength", multi(dict{"path": []string{"a"}}), invalid, "no length")
	info("FileNegative", multi(file(-1, "a")), hostile, "file 0")
	info("FilesCancelOut", multi(file(1<<40, "a"), file(-(1<<40)+5, "b")), hostile, "file 1")
	info("FilesOver2To60", multi(file(1<<59, "a"), file(1<<59, "b"), file(1, "c")), hostile, "in total")
	info("FilesOver2To63", multi(file(math.MaxInt64, "a"), file(math.MaxInt64, "b"), file(7, "c")), hostile, "file 0")
	info("FileDeep", multi(file(1, strings.Split(strings.Repeat("a/", 300)+"a", "/")...)), hostile, "folders deep")
	raw("FileLengthTwice", "d4:infod5:filesld6:lengthi1e6:lengthi2e4:pathl1:aeee4:name1:a12:piece lengthi16384e6:pieces20:0123456789abcdefghijee", hostile, "length is given twice")
	raw("FilePathTwice", "d4:infod5:filesld6:lengthi1e4:pathl1:ae4:pathl1:beee4:name1:a12:piece lengthi16384e6:pieces20:0123456789abcdefghijee", hostile, "path is given twice")
	raw("FilesTooSmall", "d4:infod5:filesl"+strings.Repeat("de", 1<<20)+"e4:name1:a12:piece lengthi16384e6:pieces0:ee", invalid, "file 0: no length")

	// Names, as the torrent's and as a file's.
	for _, n := range badNames {
		info("Name"+n.label, with(single(), dict{"name": n.name}), n.is, n.says)
		info("FileName"+n.label, multi(file(1, "ok"), file(1, "dir", n.name)), n.is, n.says)
		info("FolderName"+n.label, multi(file(1, n.name, "ok")), n.is, n.says)
		info("NameUTF8"+n.label, with(single(), dict{"name.utf-8": n.name}), n.is, n.says)
	}
	return append(all, refusalsV2(tb)...)
}

var badNames = []struct {
	label, name string
	is          error
	says        string
}{
	{"DotDot", "..", weir.ErrHostile, "leaves its folder"},
	{"Traversal", "../../etc/passwd", weir.ErrHostile, "leaves its folder"},
	{"TraversalInside", "a/../../b", weir.ErrHostile, "leaves its folder"},
	{"TraversalAtEnd", "a/..", weir.ErrHostile, "leaves its folder"},
	{"NUL", "a\x00b", weir.ErrHostile, "NUL"},
	{"4097Bytes", strings.Repeat("n", 4097), weir.ErrInvalid, "4097 bytes"},
}

// goodTorrents returns v1 torrents that are taken, by name.
func goodTorrents(tb testing.TB) map[string][]byte {
	good := map[string]dict{
		"Single":      single(),
		"Multi":       multi(file(1, "b"), file(0, "a"), file(5000, "dir", "c"), file(7, "dir", "d")),
		"Raw":         multi(file(1, "AC/DC"), file(1, "..."), file(1, "..a"), file(1, "\xff\xfe"), file(1, "a\\..\\b"), file(1, " ")),
		"LongName":    multi(file(1, strings.Repeat("n", 4096))),
		"ZeroBytes":   with(multi(file(0, "a"), file(0, "b", "c")), dict{"pieces": ""}),
		"ZeroSingle":  with(single(), dict{"length": 0, "pieces": ""}),
		"Piece128MiB": with(single(), dict{"piece length": 128 << 20, "pieces": hashes(1)}),
		"Piece512MiB": with(single(), dict{"piece length": 512 << 20, "pieces": hashes(1)}),
		"PieceMost":   with(single(), dict{"piece length": 1<<30 - 1, "pieces": hashes(1)}),
		"OddPieces":   with(single(), dict{"piece length": 99_999, "pieces": hashes(2)}),
		"Padded": multi(file(10, "a"), dict{"length": 6, "path": []string{".pad", "6"}, "attr": "p"},
			dict{"length": 3, "path": []string{"run.sh"}, "attr": "x"}, file(6, ".pad", "6"),
			file(2, "_____padding_file_0_if you see this file, please update_____"), file(2, ".____padding_file", "3"),
			dict{"path": []string{"link"}, "attr": "l", "symlink path": []string{"..", "..", "etc"}}),
		"UTF8": with(multi(dict{"length": 1, "path": []string{"\xe4.txt"}, "path.utf-8": []string{"ä.txt"}},
			dict{"length": 1, "path": []string{"b"}, "path.utf-8": []string{"\xe4"}}),
			dict{"name": "\xe4", "name.utf-8": "ä"}),
		"NoName": with(multi(file(1, "a")), dict{"name": ""}),
	}
	out := map[string][]byte{}
	for name, info := range good {
		out[name] = encode(tb, dict{
			"announce": "http://tracker.example/announce", "creation date": 1_700_000_000, "info": info,
		})
	}
	return out
}
