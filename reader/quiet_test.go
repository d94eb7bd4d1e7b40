package reader_test

import (
	"errors"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

func TestQuiet(t *testing.T) {
	q, err := reader.ParseQuiet(" tracker-miner-fs-3, baloo_file,ffprobe:head,,python3:head,python3")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		want  reader.Access
	}{
		{nil, reader.Full},
		{[]string{"cat"}, reader.Full},
		{[]string{""}, reader.Full},
		{[]string{"tracker-miner-fs-3"}, reader.Refused},
		{[]string{"tracker-miner-f"}, reader.Refused}, // as Linux cuts it
		{[]string{"tracker-miner-"}, reader.Full},
		{[]string{"ffprobe"}, reader.HeadAndTail},
		{[]string{"ffprobe2"}, reader.Full},
		{[]string{"cat", "ffprobe"}, reader.HeadAndTail},
		{[]string{"ffprobe", "baloo_file"}, reader.Refused},
		{[]string{"python3"}, reader.Refused},
	} {
		if got := q.For(c.names...); got != c.want {
			t.Errorf("For(%q) = %v, want %v", c.names, got, c.want)
		}
	}
	for _, list := range []string{"", " , "} {
		if q, err := reader.ParseQuiet(list); err != nil || !q.Empty() || q.For("cat") != reader.Full {
			t.Errorf("ParseQuiet(%q) = %v, %v", list, q, err)
		}
	}
	for _, list := range []string{":head", "a:tail", "/usr/bin/a", "a:", "a:head:head"} {
		if _, err := reader.ParseQuiet(list); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("ParseQuiet(%q): %v", list, err)
		}
	}
	var nobody *reader.Quiet
	if !nobody.Empty() || nobody.For("cat") != reader.Full {
		t.Error("nil refuses somebody")
	}
}

func FuzzParseQuiet(f *testing.F) {
	f.Add("a,b:head")
	f.Fuzz(func(t *testing.T, list string) {
		q, err := reader.ParseQuiet(list)
		if (err == nil) == (q == nil) || err != nil && !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%v, %v", q, err)
		}
		q.For(list, "a-name-of-15-byt")
	})
}
