package reader_test

import (
	"errors"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

func TestRestricted(t *testing.T) {
	q, err := reader.ParseRestricted(" tracker-miner-fs-3, baloo_file,ffprobe:head,,python3:head,python3")
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
		if q, err := reader.ParseRestricted(list); err != nil || !q.Empty() || q.For("cat") != reader.Full {
			t.Errorf("ParseRestricted(%q) = %v, %v", list, q, err)
		}
	}
	for _, list := range []string{":head", "a:tail", "/usr/bin/a", "a:", "a:head:head"} {
		if _, err := reader.ParseRestricted(list); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("ParseRestricted(%q): %v", list, err)
		}
	}
	var nobody *reader.Restricted
	if !nobody.Empty() || nobody.For("cat") != reader.Full {
		t.Error("nil refuses somebody")
	}
}

func FuzzParseQuiet(f *testing.F) {
	f.Add("a,b:head")
	f.Fuzz(func(t *testing.T, list string) {
		q, err := reader.ParseRestricted(list)
		if (err == nil) == (q == nil) || err != nil && !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%v, %v", q, err)
		}
		q.For(list, "a-name-of-15-byt")
	})
}

// TestRestrictedNames: names that Linux has cut fit all that begin with them, others
// only themselves.
func TestRestrictedNames(t *testing.T) {
	q, err := reader.ParseRestricted("tracker-miner-fs-3:head, tracker-extract-3 ,find,,find:head")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]reader.Access{
		"tracker-miner-fs-3": reader.HeadAndTail, "tracker-miner-f": reader.HeadAndTail, "tracker-extract": reader.Refused, "tracker-extract-3": reader.Refused,
		"tracker-miner-": reader.Full, "tracker-minor-f": reader.Full, "find": reader.Refused, "fin": reader.Full, "xxxxxxxxxxxxxxx": reader.Full, "": reader.Full,
	} {
		if got := q.For(name); got != want {
			t.Errorf("%q may read %d, want %d", name, got, want)
		}
		if got := q.For("sh", name); got != want {
			t.Errorf("sh as %q may read %d, want %d", name, got, want)
		}
	}
	if q.Empty() || !(*reader.Restricted)(nil).Empty() || (*reader.Restricted)(nil).For("find") != reader.Full {
		t.Error("a list of restricted programs is empty, or the empty one is not")
	}
}
