package catalogue

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/weirfs/weir"
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
	r := NewRecord(spec)
	r.Seq, r.Dir, r.Shown = 7, []byte("a/\xfeb"), []byte("na\xffme [01020300]")
	r.Shape = &Shape{Size: 10, Length: 12, PieceLength: 4, Files: 2, Created: time.Unix(1e9, 0).UTC()}
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	ih, got, err := parse(spec.InfoHash[:], b)
	if err != nil || ih != spec.InfoHash {
		t.Fatalf("%v, %v", ih, err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	if back := got.Spec(ih); !reflect.DeepEqual(back, spec) {
		t.Errorf("the source again: %+v\nwant %+v", back, spec)
	}
}

func TestRecordLearns(t *testing.T) {
	r := NewRecord(&source.Spec{Trackers: [][]string{{"http://a.example"}}})
	r.Learn(testSpec())
	r.Learn(testSpec())
	r.Learn(&source.Spec{Trackers: [][]string{{"http://b.example/announce", "http://d.example"}}})
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
		if _, _, err := parse(key[:], []byte(value)); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, _, err := parse([]byte("short"), []byte(`{"v":1,"shown":"eA=="}`)); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("short key: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	r := NewRecord(testSpec())
	r.Shown = []byte("x")
	b, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"shown":"eA==","shape":{"size":1,"length":1,"piece_length":1}}`))
	key := weir.InfoHash{1}
	f.Fuzz(func(t *testing.T, b []byte) {
		ih, r, err := parse(key[:], b)
		if err != nil {
			if !errors.Is(err, weir.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		_ = r.Magnet(ih)
		if r.Spec(ih).InfoHash != key {
			t.Fatal("another info hash")
		}
	})
}
