package source_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/merkle"

	"github.com/weirfs/weir"
)

const v2Piece = 32 << 10

// content makes length bytes that depend on it and on seed.
func content(length int, seed byte) []byte {
	b := make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte{seed, byte(length)}).Read(b)
	return b
}

// treeOf returns the root of a file's hash tree and, if it has more than one
// piece of v2Piece bytes, the hashes of those.
func treeOf(data []byte) (root [32]byte, layer string) {
	const perPiece = v2Piece / weir.BlockBytes
	var leaves [][32]byte
	for off := 0; off < len(data); off += weir.BlockBytes {
		leaves = append(leaves, sha256.Sum256(data[off:min(off+weir.BlockBytes, len(data))]))
	}
	n := len(leaves)
	leaves = append(leaves, make([][32]byte, int(merkle.RoundUpToPowerOfTwo(uint(n)))-n)...)
	for at := 0; at < n && n > perPiece; at += perPiece {
		h := merkle.Root(leaves[at : at+perPiece])
		layer += string(h[:])
	}
	return merkle.Root(leaves), layer
}

// leaf is a file in a file tree with made-up content.
func leaf(length int, seed byte) dict {
	properties := dict{"length": length}
	if length > 0 {
		root, _ := treeOf(content(length, seed))
		properties["pieces root"] = string(root[:])
	}
	return dict{"": properties}
}

// layersOf are the piece layers of files as leaf makes them.
func layersOf(files ...[2]int) dict {
	layers := dict{}
	for _, f := range files {
		root, layer := treeOf(content(f[0], byte(f[1])))
		layers[string(root[:])] = layer
	}
	return layers
}

// tree is the info dictionary of a v2-only torrent.
func tree(files dict) dict {
	return dict{"name": "folder", "piece length": v2Piece, "meta version": 2, "file tree": files}
}

// sampleTree has files of all kinds: an empty one, one of several pieces, one of
// a piece exactly, folders.
func sampleTree() dict {
	return tree(dict{
		"a": leaf(100_000, 1), "b": leaf(0, 0),
		"dir": dict{"c": leaf(v2Piece, 2), "d": dict{"e": leaf(1, 3)}},
		"f":   leaf(v2Piece+1, 4),
	})
}

func sampleLayers() dict { return layersOf([2]int{100_000, 1}, [2]int{v2Piece + 1, 4}) }

// hybrid is the info dictionary of a torrent with both halves.
func hybrid(pieces int, files []dict, tree dict) dict {
	return dict{"name": "folder", "piece length": v2Piece, "meta version": 2, "file tree": tree,
		"pieces": hashes(pieces), "files": files}
}

func pad(n int64) dict {
	return dict{"length": n, "path": []string{".pad", fmt.Sprint(n)}, "attr": "p"}
}

func sampleHybrid() dict {
	return hybrid(5, []dict{file(100_000, "a"), pad(4*v2Piece - 100_000), file(0, "b"), file(5, "dir", "c")},
		dict{"a": leaf(100_000, 1), "b": leaf(0, 0), "dir": dict{"c": leaf(5, 2)}})
}

// refusalsV2 returns what must be refused in v2 and hybrid torrents.
func refusalsV2(tb testing.TB) (all []refusal) {
	add := func(name string, top dict, is error, says string) {
		all = append(all, refusal{name, encode(tb, top), is, says})
	}
	info := func(name string, info dict, is error, says string) { add(name, dict{"info": info}, is, says) }
	one := func(name string, properties any, is error, says string) {
		info(name, tree(dict{"dir": dict{"a": dict{"": properties}}}), is, says)
	}
	invalid, hostile := weir.ErrInvalid, weir.ErrHostile
	root := strings.Repeat("r", 32)

	// Numbers.
	info("V2PieceLengthOdd", with(sampleTree(), dict{"piece length": 3 * v2Piece}), invalid, "a power of two")
	info("V2PieceLengthSmall", with(sampleTree(), dict{"piece length": 8 << 10}), invalid, "a power of two")
	info("V2PieceLengthNone", with(sampleTree(), dict{"piece length": nil}), invalid, "piece length 0")
	info("V2PieceLength1GiB", with(sampleTree(), dict{"piece length": 1 << 30}), invalid, "piece length")
	info("V2NoTree", with(sampleTree(), dict{"file tree": nil}), invalid, "without a file tree")
	info("V2HybridNoTree", with(sampleHybrid(), dict{"file tree": nil}), invalid, "without a file tree")
	info("V2OfVersion1", with(sampleTree(), dict{"meta version": nil}), invalid, "no piece hashes")
	info("V2ManyPieces", tree(dict{"a": dict{"": dict{"length": int64(1) << 39, "pieces root": root}}}), invalid, "more than 2097152 pieces")
	info("V2ManyFilesOfManyPieces", tree(dict{
		"a": dict{"": dict{"length": int64(1) << 35, "pieces root": root}},
		"b": dict{"": dict{"length": int64(1) << 35, "pieces root": root}},
		"c": dict{"": dict{"length": 1, "pieces root": root}}}), invalid, "more than 2097152 pieces")

	// The tree.
	info("V2TreeIsList", with(sampleTree(), dict{"file tree": []string{"a"}}), invalid, "without a file tree")
	info("V2TreeEmpty", tree(dict{}), invalid, "no files")
	info("V2TreeOfFolders", tree(dict{"a": dict{"b": dict{}}}), invalid, "no files")
	info("V2TreeIsFile", tree(leaf(5, 1)), invalid, "the tree itself is a file")
	info("V2EntryNotDict", tree(dict{"a": 5}), invalid, `"a": byte`)
	info("V2FileAndFolder", tree(dict{"a": with(leaf(5, 1), dict{"b": leaf(5, 1)})}), hostile, `"a": is both a file and a folder`)
	deep := leaf(5, 1)
	for range 300 {
		deep = dict{"d": deep}
	}
	info("V2Deep", tree(deep), hostile, "folders deep")
	raw := func(name, tree string, is error, says string) {
		all = append(all, refusal{name, []byte("d4:infod9:file tree" + tree + "12:meta versioni2e4:name1:a12:piece lengthi32768eee"), is, says})
	}
	raw("V2DeepRaw", strings.Repeat("d1:a", 600)+strings.Repeat("e", 600), hostile, "levels deep")
	raw("V2NameTwice", "d1:ad0:d6:lengthi0eee1:ad0:d6:lengthi0eeee", hostile, `"a" is there twice`)
	raw("V2NotSorted", "d1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee", hostile, `"a" is not in order`)
	raw("V2PropertiesTwice", "d1:ad0:d6:lengthi0ee0:d6:lengthi0eeee", hostile, "both a file and a folder")
	raw("V2LengthTwice", "d1:ad0:d6:lengthi0e6:lengthi0eeee", hostile, "length is given twice")
	raw("V2RootTwice", "d1:ad0:d6:lengthi1e11:pieces root32:"+root+"11:pieces root32:"+root+"eee", hostile, "pieces root is given twice")
	raw("V2EmptyNameLast", "d1:ad1:bd0:d6:lengthi0eee0:d5:mtimei0eeee", invalid, "an empty name")
	raw("V2EmptyName", "d0:d0:d6:lengthi0eee1:ad0:d6:lengthi0eeee", invalid, "an empty name")
	raw("V2EmptyNameInside", "d1:ad0:d0:d6:lengthi0eeeee", invalid, "an empty name")
	raw("V2DotsDeep", strings.Repeat("d1:.", 300)+"d0:d6:lengthi0eee"+strings.Repeat("e", 300), hostile, "folders deep")
	raw("V2KeyNotString", "d1:adi1eeee", invalid, "want a string")
	for _, n := range badNames {
		info("V2FileName"+n.label, tree(dict{"ok": leaf(1, 1), "x": dict{n.name: leaf(1, 1)}}), n.is, n.says)
		info("V2FolderName"+n.label, tree(dict{n.name: dict{"ok": leaf(1, 1)}}), n.is, n.says)
	}

	// A file.
	one("V2PropertiesNotDict", 5, invalid, "want a dictionary")
	one("V2NoLength", dict{"pieces root": root}, invalid, "no length")
	one("V2NoProperties", dict{}, invalid, "no files")
	one("V2LengthNegative", dict{"length": -1, "pieces root": root}, hostile, "-1 bytes")
	one("V2LengthOver2To60", dict{"length": int64(1)<<60 + 1, "pieces root": root}, hostile, "length")
	one("V2NoRoot", dict{"length": 1}, invalid, "pieces root of 0 bytes")
	one("V2RootShort", dict{"length": 1, "pieces root": root[1:]}, invalid, "pieces root of 31 bytes")
	one("V2RootZeros", dict{"length": 1, "pieces root": strings.Repeat("\x00", 32)}, hostile, "of zeros")
	one("V2RootNotString", dict{"length": 1, "pieces root": 5}, invalid, "pieces root of 0 bytes")
	one("V2Padding", dict{"length": 1, "pieces root": root, "attr": "p"}, invalid, "padding")

	// Piece layers.
	layers := func(name string, info, layers any, is error, says string) {
		add("Layers"+name, dict{"info": info, "piece layers": layers}, is, says)
	}
	key, layer := treeOf(content(100_000, 1))
	change := func(value any) dict { return with(sampleLayers(), dict{string(key[:]): value}) }
	layers("Wrong", sampleTree(), change(layer[32:]+layer[:32]), hostile, "does not lead to its root")
	twice := fmt.Sprintf("32:%s64:%s", root, strings.Repeat("h", 64))
	all = append(all,
		refusal{"LayersRootTwice", fmt.Appendf(nil, "d4:info%s12:piece layersd%s%see", encode(tb, sampleTree()), twice, twice), hostile, "there twice"},
		refusal{"LayersTwice", []byte("d4:infode12:piece layersde12:piece layersdee"), hostile, "given twice"})

	// Halves that differ.
	h := sampleHybrid()
	files := h["files"].([]dict)
	list := func(name string, says string, files ...dict) {
		info("Hybrid"+name, with(h, dict{"files": files}), hostile, says)
	}
	list("OtherName", `"dir/c": is where the list of files has "dir/x"`, files[0], files[1], files[2], file(5, "dir", "x"))
	list("OtherFolder", `"dir/c": is where`, files[0], files[1], files[2], file(5, "dur", "c"))
	list("OtherLength", `"dir/c": has 5 bytes in the file tree, 6 in`, files[0], files[1], files[2], file(6, "dir", "c"))
	list("OtherOrder", `"b": is where`, files[0], files[1], files[3], files[2])
	list("NoPadding", `"dir/c": does not begin with a piece`, files[0], files[2], files[3], pad(4*v2Piece-100_000))
	list("OnlyInTree", `"dir/c": is in the file tree only`, files[0], files[1], files[2], pad(5))
	list("OnlyInList", "file 4 is in the list of files only", files[0], files[1], files[2], files[3], file(1, "x"))
	info("HybridPieceOfPadding", with(h, dict{"files": []dict{files[0], pad(5*v2Piece - 100_000)},
		"file tree": dict{"a": leaf(100_000, 1)}}), hostile, "4 pieces in the file tree, 5 in the list")
	info("HybridSingleName", dict{"name": "film.mkv", "piece length": 32768, "pieces": hashes(4), "length": 100_000,
		"meta version": 2, "file tree": dict{"film": leaf(100_000, 1)}}, hostile, `"film": is where`)
	info("HybridTreeHostile", with(h, dict{"file tree": dict{"..": leaf(5, 1)}}), hostile, "leaves its folder")
	info("HybridPieceLength", with(multi(file(1, "a")), dict{"meta version": 2, "piece length": 99_999,
		"file tree": dict{"a": leaf(1, 1)}}), invalid, "a power of two")
	return all
}

// goodV2 returns v2 and hybrid torrents that are taken, by name.
func goodV2(tb testing.TB) map[string][]byte {
	out := map[string][]byte{}
	for name, top := range map[string]dict{
		"V2":         {"info": sampleTree(), "piece layers": sampleLayers()},
		"V2NoLayers": {"info": sampleTree()},
		"V2OnePieceEach": {"info": tree(dict{"x": dict{"a": leaf(5, 1), "b": leaf(6, 2)}, "y": leaf(v2Piece, 3), "z": leaf(0, 0)}),
			"piece layers": dict{}},
		"V2Single":      {"info": with(tree(dict{"film.mkv": leaf(100_000, 1)}), dict{"name": "film.mkv"}), "piece layers": sampleLayers()},
		"V2OneOfFolder": {"info": tree(dict{"film.mkv": leaf(100_000, 1)})},
		"V2ZeroBytes":   {"info": tree(dict{"a": leaf(0, 0), "b": dict{"c": leaf(0, 0)}})},
		"V2Attributes": {"info": tree(dict{
			"empty folder": dict{}, "folder": dict{"": dict{"mtime": 5}, "a": leaf(1, 1)}, "link": dict{"": dict{"length": 0, "attr": "l", "symlink path": []string{"..", "x"}}},
			"run": dict{"": with(leaf(5, 1)[""].(dict), dict{"attr": "xh", "mtime": 1_700_000_000})},
			"z":   dict{"": dict{"length": 0, "pieces root": strings.Repeat("r", 32)}}})},
		"V2SameContent":     {"info": tree(dict{"a": leaf(100_000, 1), "b": leaf(100_000, 1)}), "piece layers": sampleLayers()},
		"V2NoName":          {"info": with(sampleTree(), dict{"name": nil})},
		"V2Raw":             {"info": tree(dict{"AC/DC": leaf(1, 1), "...": leaf(1, 1), "\xff\xfe": leaf(1, 1), "a\\..\\b": leaf(1, 1)})},
		"Hybrid":            {"info": sampleHybrid(), "piece layers": sampleLayers()},
		"HybridNoLayers":    {"info": sampleHybrid()},
		"HybridTailPadding": {"info": with(sampleHybrid(), dict{"files": append(sampleHybrid()["files"].([]dict), pad(v2Piece-5))})},
		"HybridSingle": {"info": dict{"name": "film.mkv", "piece length": 32768, "pieces": hashes(4), "length": 100_000,
			"meta version": 2, "file tree": dict{"film.mkv": leaf(100_000, 1)}}},
	} {
		out[name] = encode(tb, with(dict{"announce": "http://tracker.example/announce", "creation date": 1_700_000_000}, top))
	}
	return out
}
