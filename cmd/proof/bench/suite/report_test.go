package suite

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	for _, c := range []struct {
		bar      Bar
		v, limit float64
		known    bool
		want     bool
		says     string
	}{
		{Bar{Most: 0.5}, 0.5, 0, false, true, "≤ 500 ms"},
		{Bar{Most: 0.5}, 0.51, 0, false, false, "≤ 500 ms"},
		{Bar{Least: 2}, 1.9, 0, false, false, "≥ 2.00 s"},
		{Bar{LeastOf: 0.9}, 91, 100, true, true, "≥ 0.9 × raw"},
		{Bar{LeastOf: 0.9}, 89, 100, true, false, "≥ 0.9 × raw"},
		{Bar{LeastOf: 0.9}, 89, 0, false, false, "≥ 0.9 × raw"}, // nothing to hold it against
		{Bar{MostOf: 2}, 199, 100, true, true, "≤ 2 × raw"},
		{Bar{MostOf: 2}, 201, 100, true, false, "≤ 2 × raw"},
		{Bar{}, 1, 0, false, true, ""},
	} {
		if got := c.bar.Holds(c.v, c.limit, c.known); got != c.want {
			t.Errorf("%+v holds for %v of %v: %v", c.bar, c.v, c.limit, got)
		}
		if says := c.bar.String(Figure{Unit: Seconds, Reference: Raw}); says != c.says {
			t.Errorf("%+v is %q, want %q", c.bar, says, c.says)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Seconds, 0.0000123, "12.3 µs"},
		{Seconds, 0.1415, "142 ms"},
		{Seconds, 0, "0 s"},
		{Seconds, 12.345, "12.35 s"},
		{BytesPerSec, 18_812_345, "18.8 MB/s"},
		{BytesPerSec, 1_400e6, "1400 MB/s"},
		{Bytes, 4_194_304, "4.19 MB"},
		{Ratio, 1.0149, "1.01 ×"},
		{Count, 3, "3"},
	} {
		if got := c.unit.Format(c.v); got != c.want {
			t.Errorf("%v is %q, want %q", c.v, got, c.want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	for _, c := range []struct{ q, want float64 }{{0.5, 3}, {0.95, 5}, {0.2, 1}, {1, 5}, {0, 1}} {
		if got := Quantile(v, c.q); got != c.want {
			t.Errorf("quantile %v is %v, want %v", c.q, got, c.want)
		}
	}
	if m := Median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v", m)
	}
	if !slices.Equal(v, []float64{5, 1, 4, 2, 3}) {
		t.Error("the values were put into another order")
	}
}

func TestReport(t *testing.T) {
	c := Case{Name: "a", Systems: []string{Weir, Raw, BTFS}, Figures: []Figure{
		{Name: "time", Unit: Seconds, Reference: Raw, Bar: Bar{MostOf: 1.5}},
		{Name: "other", Unit: Count},
	}}
	broken := c
	broken.Name = "b"
	r := newReport()
	for _, v := range []float64{1, 3, 2} {
		r.add(Weir, Values{"time": v}, nil)
		r.add(Raw, Values{"time": 2 * v}, nil)
	}
	r.add(BTFS, Values{"time": 9, "other": 1}, nil)
	r.finish(c)
	r.add(Weir, Values{"time": 1}, errors.New("it broke\nbadly"))
	r.add(Raw, Values{"time": 1}, nil)
	r.finish(broken)
	r.finish(Case{Name: "nobody can", Figures: c.Figures})

	if len(r.Rows) != 4 || r.Failed() != 1 || r.Broken != 1 {
		t.Fatalf("%d rows, %d failed, %d broken", len(r.Rows), r.Failed(), r.Broken)
	}
	row := r.Rows[0]
	if row.Weir.Median != 2 || row.Limit.Median != 4 || row.Ratio != 0.5 || row.Verdict != pass || row.Others[0].Median != 9 {
		t.Errorf("%+v", row)
	}
	if row := r.Rows[2]; row.Verdict != fail || !slices.Equal(row.Errors, []string{"weir: it broke"}) {
		t.Errorf("%+v", row)
	}
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00 s (1.00 s … 3.00 s)", "raw 4.00 s", "btfs 9.00 s", "- b: weir: it broke"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
