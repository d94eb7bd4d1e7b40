package catalogue

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func TestTotalsRecord(t *testing.T) {
	want := map[weir.InfoHash]Totals{
		{1}: {Uploaded: 1 << 40, Downloaded: 3, Seeded: 72 * time.Hour},
		{2}: {},
	}
	b := []byte{totalsVersion}
	for ih, one := range want {
		b = appendTotals(b, ih, one)
	}
	got := map[weir.InfoHash]Totals{}
	if err := parseTotals(b, got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for name, bad := range map[string][]byte{"Empty": nil, "Version": {2}, "Short": b[:len(b)-1]} {
		if err := parseTotals(bad, got); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseTotals(f *testing.F) {
	f.Add(appendTotals([]byte{totalsVersion}, weir.InfoHash{1}, Totals{1, 2, time.Hour}))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := map[weir.InfoHash]Totals{}
		if err := parseTotals(b, all); err != nil && !errors.Is(err, weir.ErrCorrupt) {
			t.Fatal(err)
		}
		for _, one := range all {
			if one.Uploaded < 0 || one.Downloaded < 0 || one.Seeded < 0 {
				t.Fatalf("%+v", one)
			}
		}
	})
}
