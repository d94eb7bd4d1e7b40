package source_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// paths returns the name of the torrent and the paths of its files.
func paths(info *weir.TorrentInfo) (all []string) {
	all = append(all, info.Name)
	for _, f := range info.Files {
		all = append(all, strings.Join(f.Path, "|"))
	}
	return all
}

// TestLenient has what is wrong in a torrent and no reason to refuse it.
func TestLenient(t *testing.T) {
	ab := multi(file(1, "a"), file(2, "b"))
	odd := []any{5, "x", []string{}, dict{}}
	for name, c := range map[string]struct {
		info dict
		want []string // the torrent's name, "" for the info hash, and the files'
	}{
		"EmptyNames":         {multi(file(1, "", "a", ""), file(2, "b")), []string{"folder", "a", "b"}},
		"Dots":               {multi(file(1, ".", "a", "."), file(2, "b")), []string{"folder", "a", "b"}},
		"NothingLeft":        {multi(file(1, "", "."), file(2, "b")), []string{"folder", "_", "b"}},
		"Slashes":            {multi(file(1, "/a"), file(2, "b/c", "d/"), file(3, "/"), file(4, "C:\\d")), []string{"folder", "/a", "b/c|d/", "/", "C:\\d"}},
		"SlashName":          {with(ab, dict{"name": "/foo/"}), []string{"/foo/", "a", "b"}},
		"NoName":             {with(ab, dict{"name": nil}), []string{"", "a", "b"}},
		"NoNameSingle":       {with(single(), dict{"name": nil}), []string{"", ""}},
		"DotName":            {with(ab, dict{"name": "."}), []string{"", "a", "b"}},
		"NameNotString":      {with(ab, dict{"name": 5}), []string{"", "a", "b"}},
		"NameUTF8Only":       {with(ab, dict{"name": nil, "name.utf-8": "u"}), []string{"u", "a", "b"}},
		"PathUTF8Only":       {multi(dict{"length": 1, "path.utf-8": []string{"a"}}), []string{"folder", "a"}},
		"PathUTF8NotList":    {multi(with(file(1, "a"), dict{"path.utf-8": "x"})), []string{"folder", "a"}},
		"PathUTF8Odd":        {multi(with(file(1, "a"), dict{"path.utf-8": odd})), []string{"folder", "a"}},
		"PathUTF8Empty":      {multi(with(file(1, "a"), dict{"path.utf-8": []string{}})), []string{"folder", "a"}},
		"PathNotList":        {multi(with(file(1, "a"), dict{"path": "x", "path.utf-8": []string{"a"}})), []string{"folder", "a"}},
		"Twice":              {multi(file(1, "a"), file(2, "a")), []string{"folder", "a", "a"}},
		"FileAndFolder":      {multi(file(1, "a"), file(2, "a", "b")), []string{"folder", "a", "a|b"}},
		"LengthBesideFiles":  {with(ab, dict{"length": 3}), []string{"folder", "a", "b"}},
		"LengthNotInteger":   {with(ab, dict{"length": "x"}), []string{"folder", "a", "b"}},
		"FilesNotList":       {with(single(), dict{"files": "x"}), []string{"film.mkv", "film.mkv"}},
		"AttrNotString":      {multi(with(file(1, "a"), dict{"attr": 3})), []string{"folder", "a"}},
		"AttrUnknown":        {multi(with(file(1, "a"), dict{"attr": "hzq"})), []string{"folder", "a"}},
		"LinkWithLength":     {multi(file(1, "a"), with(file(20000, "l"), dict{"attr": "l", "symlink path": []string{"a"}})), []string{"folder", "a", "l"}},
		"LinkNegative":       {multi(file(1, "a"), with(file(-1, "l"), dict{"attr": "l"})), []string{"folder", "a", "l"}},
		"MetaVersionOdd":     {with(ab, dict{"meta version": "2"}), []string{"folder", "a", "b"}},
		"MetaVersionMinus":   {with(ab, dict{"meta version": -1}), []string{"folder", "a", "b"}},
		"TreeWithoutV2":      {with(ab, dict{"file tree": 5}), []string{"folder", "a", "b"}},
		"OddExtras":          {with(ab, dict{"name.utf-8": odd, "attr": odd, "source": odd, "ssl-cert": 5, "similar": 5, "collections": "x", "encoding": 5}), []string{"folder", "a", "b"}},
		"HugeLength":         {multi(file(1, "a"), dict{"length": tooLarge, "path": []string{"b"}}), []string{"folder", "a", "b"}},
		"TreeDots":           {tree(dict{".": dict{"a": leaf(1, 1)}, "b": dict{".": leaf(2, 2)}}), []string{"folder", "a", ".pad", "b"}},
		"TreeOnlyDots":       {tree(dict{".": leaf(1, 1)}), []string{"folder", "_"}},
		"TreeSlash":          {tree(dict{"/a": leaf(1, 1)}), []string{"folder", "/a"}},
		"TreeOddExtras":      {tree(dict{"a": dict{"": with(leaf(1, 1)[""].(dict), dict{"attr": 5, "mtime": "x", "": 5})}}), []string{"folder", "a"}},
		"TreeLongRoot":       {tree(dict{"a": dict{"": dict{"length": 0, "pieces root": "x"}}}), []string{"folder", "a"}},
		"TreeLinkLength":     {tree(dict{"a": leaf(1, 1), "l": dict{"": dict{"length": 5, "attr": "l"}}}), []string{"folder", "a", "l"}},
		"PiecesBesideTree":   {with(tree(dict{"a": leaf(1, 1)}), dict{"pieces": hashes(1)}), []string{"folder", "a"}},
		"NoFilesBesideTree":  {with(tree(dict{"a": leaf(1, 1)}), dict{"pieces": hashes(1), "files": []dict{}, "length": 5}), []string{"folder", "a"}},
		"FilesWithoutPieces": {with(tree(dict{"a": leaf(1, 1)}), dict{"files": []dict{file(1, "a")}}), []string{"folder", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			top := dict{
				"info": c.info, "announce": 5, "announce-list": []any{5, "http://a.example/ann", []any{5}}, "url-list": dict{}, "httpseeds": 5, "nodes": "x",
				"creation date": "2020", "created by": odd, "comment": 5, "encoding": odd, "piece layers": odd,
			}
			spec, err := source.ParseTorrent(append(encode(t, top), "trailing"...))
			if err != nil {
				t.Fatal(err)
			}
			checkSpec(t, spec)
			for i, name := range c.want {
				if name == "" {
					c.want[i] = spec.InfoHash.String()
				}
			}
			if got := paths(spec.Info); !reflect.DeepEqual(got, c.want) {
				t.Errorf("names %q, want %q", got, c.want)
			}
			if want := [][]string{{"http://a.example/ann"}}; !reflect.DeepEqual(spec.Trackers, want) {
				t.Errorf("trackers %q", spec.Trackers)
			}
		})
	}
}

// tooLarge is encoded as an integer of 20 digits.
const tooLarge = uint64(18446744073709551615)

func TestPrivate(t *testing.T) {
	for _, c := range []struct {
		value any
		want  bool
	}{{nil, false}, {0, false}, {1, true}, {-1, true}, {2, true}, {"1", true}, {"", true}, {[]int{1}, true}, {dict{}, true}} {
		spec, err := source.ParseTorrent(encode(t, dict{"info": with(single(), dict{"private": c.value})}))
		if err != nil {
			t.Fatal(err)
		}
		if spec.Info.Private != c.want {
			t.Errorf("private=%v: %v", c.value, spec.Info.Private)
		}
	}
}

// TestLayersMissing: what is missing is asked of peers, so hashes are not known then.
// A hybrid torrent needs none.
func TestLayersMissing(t *testing.T) {
	key, layer := treeOf(content(100_000, 1))
	change := func(value any) dict { return with(sampleLayers(), dict{string(key[:]): value}) }
	for name, layers := range map[string]any{
		"NotDict": "abc", "List": []string{layer}, "None": nil, "Empty": dict{}, "OneMissing": change(nil), "NotString": change(5), "OneEmpty": change(""),
		"Short": change(layer[32:]), "Long": change(layer + layer[:32]), "Cut": change(layer[1:]),
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(encode(t, with(dict{"info": sampleTree()}, dict{"piece layers": layers})))
			if err != nil {
				t.Fatal(err)
			}
			checkSpec(t, spec)
			if spec.PieceHashes != nil {
				t.Errorf("%d bytes of hashes", len(spec.PieceHashes))
			}
		})
	}
	for name, layers := range map[string]any{
		"Extra": with(sampleLayers(), layersOf([2]int{70_000, 9})), "ShortKey": with(sampleLayers(), dict{"abc": layer}), "Whole": sampleLayers(),
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(encode(t, dict{"info": sampleTree(), "piece layers": layers}))
			if err != nil {
				t.Fatal(err)
			}
			checkSpec(t, spec)
			if len(spec.PieceHashes) != 32*spec.Info.NumPieces() {
				t.Errorf("%d bytes of hashes", len(spec.PieceHashes))
			}
		})
	}
	for name, layers := range map[string]any{
		"HybridNotDict": 5, "HybridEmpty": dict{}, "HybridWrong": dict{string(key[:]): layer[32:] + layer[:32]}, "HybridShort": dict{string(key[:]): layer[32:]},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := source.ParseTorrent(encode(t, dict{"info": sampleHybrid(), "piece layers": layers}))
			if err != nil {
				t.Fatal(err)
			}
			checkSpec(t, spec)
			if spec.Info.V2 || len(spec.PieceHashes) != 20*5 {
				t.Errorf("v2 %v, %d bytes of hashes", spec.Info.V2, len(spec.PieceHashes))
			}
		})
	}
}
