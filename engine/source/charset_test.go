package source_test

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"github.com/weirfs/weir/engine/source"
)

func encodeText(tb testing.TB, set encoding.Encoding, text string) string {
	tb.Helper()
	s, err := set.NewEncoder().String(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestDecodeNames has the torrent's name, a folder, a file and a link's target in
// the character sets that torrents are in.
func TestDecodeNames(t *testing.T) {
	for _, c := range []struct {
		set   encoding.Encoding
		text  string
		top   dict
		inner any // encoding in the info dictionary
	}{
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": "GBK"}, nil},
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": " gb2312 "}, nil},
		{simplifiedchinese.GBK, "片", dict{"encoding": "GBK"}, nil}, // which is UTF-8 as well
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": "CP936"}, nil},
		{simplifiedchinese.GBK, "拥抱", dict{"codepage": 936}, nil},
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": "UTF-8", "codepage": 936}, nil},
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": "ascii", "codepage": 936}, nil},
		{simplifiedchinese.GBK, "拥抱", nil, "GBK"},
		{simplifiedchinese.GBK, "拥抱", dict{"encoding": 936, "codepage": "x"}, "gbk"},
		{simplifiedchinese.GB18030, "㐂𠀀", dict{"encoding": "GB18030"}, nil},
		{simplifiedchinese.GB18030, "㐂𠀀", dict{"codepage": 54936}, nil},
		{japanese.ShiftJIS, "映画ソ", dict{"encoding": "Shift_JIS"}, nil},
		{japanese.ShiftJIS, "映画ソ", dict{"encoding": "SJIS"}, nil},
		{japanese.ShiftJIS, "映画ソ", dict{"encoding": "MS932"}, nil},
		{japanese.EUCJP, "映画", dict{"encoding": "EUC-JP"}, nil},
		{japanese.EUCJP, "映画", dict{"codepage": 51932}, nil},
		{traditionalchinese.Big5, "電影", dict{"encoding": "Big5"}, nil},
		{traditionalchinese.Big5, "電影", dict{"codepage": 950}, nil},
		{korean.EUCKR, "영화", dict{"encoding": "EUC-KR"}, nil},
		{korean.EUCKR, "영화", dict{"encoding": "ks_c_5601-1987"}, nil},
		{charmap.Windows1250, "Žluťoučký", dict{"encoding": "windows-1250"}, nil},
		{charmap.Windows1251, "Фильм", dict{"codepage": 1251}, nil},
		{charmap.Windows1252, "Café – “x”", dict{"encoding": "windows-1252"}, nil},
		{charmap.Windows1253, "Ταινία", dict{"encoding": "cp1253"}, nil},
		{charmap.Windows1254, "Kılıç", dict{"encoding": "Windows-1254"}, nil},
		{charmap.Windows1255, "סרט", dict{"codepage": 1255}, nil},
		{charmap.Windows1256, "فيلم", dict{"codepage": 1256}, nil},
		{charmap.Windows1257, "Ķīša", dict{"codepage": 1257}, nil},
		{charmap.Windows1258, "Đơ", dict{"codepage": 1258}, nil},
		{charmap.Windows874, "ภาพยนตร์", dict{"codepage": 874}, nil},
		{charmap.ISO8859_1, "Café", dict{"encoding": "ISO-8859-1"}, nil},
		{charmap.ISO8859_2, "Žluť", dict{"encoding": "latin2"}, nil},
		{charmap.ISO8859_5, "Фильм", dict{"codepage": 28595}, nil},
		{charmap.ISO8859_15, "prix: 5 €", dict{"encoding": "iso-8859-15"}, nil},
		{charmap.KOI8R, "Фильм", dict{"encoding": "KOI8-R"}, nil},
		{charmap.KOI8U, "Фільм", dict{"codepage": 21866}, nil},
		{charmap.CodePage866, "Фильм", dict{"codepage": 866}, nil},
		{charmap.CodePage437, "Café", dict{"encoding": "cp437"}, nil},
		{charmap.CodePage850, "Café", dict{"codepage": 850}, nil},
		{charmap.Macintosh, "Café", dict{"encoding": "macintosh"}, nil},
	} {
		raw := encodeText(t, c.set, c.text)
		link := dict{"path": []string{"l"}, "attr": "l", "symlink path": []string{raw, raw + ".mkv"}}
		v1 := with(multi(file(1, raw, raw+".mkv"), file(2, "plain.txt"), link), dict{"name": raw, "encoding": c.inner})
		v2 := with(tree(dict{
			"l": dict{"": dict{"length": 0, "attr": "l", "symlink path": []string{raw, raw + ".mkv"}}},
			raw: dict{raw + ".mkv": leaf(1, 1)},
		}), dict{"name": raw, "encoding": c.inner})
		for kind, info := range map[string]dict{"v1": v1, "v2": v2} {
			spec, err := source.ParseTorrent(encode(t, with(with(dict{"info": info}, c.top), nil)))
			if err != nil {
				t.Fatal(c.top, err)
			}
			checkSpec(t, spec)
			// By the hash alone, as after a restart: the record has the encoding.
			again, err := (&source.Spec{InfoHash: spec.InfoHash, Encoding: spec.Encoding}).WithInfo(spec.InfoBytes)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*source.Spec{spec, again} {
				found, linked := false, false
				for i, f := range s.Info.Files {
					if reflect.DeepEqual(f.Path, []string{c.text, c.text + ".mkv"}) {
						found = reflect.DeepEqual(s.Info.RawPath(i), []string{raw, raw + ".mkv"})
					}
					linked = linked || f.Link == c.text+"/"+c.text+".mkv"
				}
				if !found || !linked || s.Info.Name != c.text || s.Info.RawName() != raw {
					t.Errorf("%s, %v, encoding %v: %q is %q: files %+v", kind, c.top, c.inner, raw, s.Info.Name, s.Info.Files)
				}
			}
		}
	}
}

// TestDecodeNamesNot has names that stay as they are.
func TestDecodeNamesNot(t *testing.T) {
	gbk := encodeText(t, simplifiedchinese.GBK, "拥抱")
	for name, c := range map[string]struct {
		top   dict
		files []string
	}{
		"NoEncoding":         {nil, []string{gbk}},
		"UTF8":               {dict{"encoding": "UTF-8"}, []string{gbk}},
		"Unknown":            {dict{"encoding": "klingon"}, []string{gbk}},
		"Long":               {dict{"encoding": strings.Repeat("gbk", 100)}, []string{gbk}},
		"NotAll":             {dict{"encoding": "GBK"}, []string{gbk, "a\xff\xff"}},
		"OtherEncoding":      {dict{"encoding": "EUC-KR"}, []string{"\xff\xfe"}},
		"Replacement":        {dict{"encoding": "iso-2022-kr"}, []string{gbk}},
		"UTF16":              {dict{"encoding": "utf-16"}, []string{gbk}},
		"Stateful":           {dict{"encoding": "ISO-2022-JP"}, []string{gbk}},
		"AllUTF8":            {dict{"encoding": "GBK"}, []string{"拥抱", "é"}},        // and they are no GBK for somebody who knows both
		"TwoBytesOneByteSet": {dict{"encoding": "windows-1251"}, []string{"Фильм"}}, // of UTF-8
		"ASCII":              {dict{"encoding": "us-ascii"}, []string{"caf\xe9"}},
		"Nameless":           {dict{"codepage": -5}, []string{gbk}},
		"Codepage0":          {dict{"codepage": 0}, []string{gbk}},
		"Huge":               {dict{"codepage": 99999999}, []string{gbk}},
		// Of EBCDIC, "KK" is "..".
		"LeavesFolder": {dict{"codepage": 37}, []string{"\xffKK", "KK\x80"}},
	} {
		t.Run(name, func(t *testing.T) {
			var files []dict
			for _, f := range c.files {
				files = append(files, file(1, f))
			}
			spec, err := source.ParseTorrent(encode(t, with(dict{"info": multi(files...)}, c.top)))
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range spec.Info.Files {
				if f.Path[0] != c.files[i] || spec.Info.Raw != nil || spec.Encoding != "" {
					t.Errorf("%q became %q (%q)", c.files[i], f.Path[0], spec.Encoding)
				}
			}
		})
	}
}

// TestDecodeNamesMixed: what stands under a key that promises UTF-8 isn't decoded.
func TestDecodeNamesMixed(t *testing.T) {
	gbk := encodeText(t, simplifiedchinese.GBK, "拥抱")
	spec, err := source.ParseTorrent(encode(t, dict{"encoding": "GBK", "info": with(multi(
		with(file(1, gbk), dict{"path.utf-8": []string{"é"}}), file(2, gbk), with(file(3, "c"), dict{"path.utf-8": []string{"\xff"}}),
	), dict{"name": gbk, "name.utf-8": "ü"})}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ü", "é", "拥抱", "c"}; !reflect.DeepEqual(paths(spec.Info), want) {
		t.Errorf("names %q, want %q", paths(spec.Info), want)
	}
	if spec.Info.RawName() != "ü" || spec.Info.RawPath(0)[0] != "é" || spec.Info.RawPath(1)[0] != gbk {
		t.Errorf("raw names %q, %q, %q", spec.Info.RawName(), spec.Info.RawPath(0), spec.Info.RawPath(1))
	}
}

func TestDecodeSingle(t *testing.T) {
	raw := encodeText(t, japanese.ShiftJIS, "映画.mkv")
	spec, err := source.ParseTorrent(encode(t, dict{"encoding": "Shift_JIS", "info": with(single(), dict{"name": raw})}))
	if err != nil {
		t.Fatal(err)
	}
	checkSpec(t, spec)
	if spec.Info.Name != "映画.mkv" || spec.Info.Files[0].Path[0] != "映画.mkv" || spec.Name != "映画.mkv" || spec.Info.RawPath(0)[0] != raw || spec.Info.RawName() != raw {
		t.Errorf("%+v", spec.Info)
	}
}
