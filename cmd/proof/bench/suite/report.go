package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what came out.
type Report struct {
	Rows   []Row    `json:"rows"`
	Absent []string `json:"absent,omitempty"` // what was left out, and why

	Broken int `json:"broken"` // runs of weir that failed

	values map[string]map[string][]float64 // system and figure of the case under way
	errs   map[string][]string             // by system
}

// Row is one figure of one case.
type Row struct {
	Case      string    `json:"case"`
	Figure    string    `json:"figure"`
	Unit      string    `json:"unit"`
	Weir      *Summary  `json:"weir,omitempty"`
	Bar       string    `json:"bar,omitempty"`
	Reference string    `json:"reference,omitempty"` // the system whose figure is the limit
	Limit     *Summary  `json:"limit,omitempty"`
	Ratio     float64   `json:"ratio,omitempty"` // weir's figure by the limit's
	Others    []Summary `json:"others,omitempty"`
	Verdict   string    `json:"verdict"` // pass, FAIL, or nothing where there is no bar
	Errors    []string  `json:"errors,omitempty"`
	figure    Figure
}

// Summary is one system's figure over the repeats.
type Summary struct {
	System string    `json:"system"`
	Median float64   `json:"median"`
	Values []float64 `json:"values"`
}

// The verdicts.
const (
	pass = "pass"
	fail = "FAIL"
)

func newReport() *Report {
	return &Report{values: map[string]map[string][]float64{}, errs: map[string][]string{}}
}

// add notes one run.
func (r *Report) add(system string, v Values, err error) {
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		r.errs[system] = append(r.errs[system], system+": "+first)
		if system == Weir {
			r.Broken++
		}
	}
	if r.values[system] == nil {
		r.values[system] = map[string][]float64{}
	}
	for name, x := range v {
		r.values[system][name] = append(r.values[system][name], x)
	}
}

// finish makes the rows of a case from what was noted of it.
func (r *Report) finish(c Case) {
	if len(r.values) == 0 && len(r.errs) == 0 {
		return // nobody could do it
	}
	for _, f := range c.Figures {
		row := Row{Case: c.Name, Figure: f.Name, Unit: string(f.Unit), Bar: f.Bar.String(f), figure: f}
		for _, system := range c.Systems {
			s := summarize(system, r.values[system][f.Name])
			switch {
			case s == nil:
			case system == Weir:
				row.Weir = s
			case system == f.Reference:
				row.Reference, row.Limit = system, s
			default:
				row.Others = append(row.Others, *s)
			}
		}
		if row.Weir != nil && row.Limit != nil && row.Limit.Median != 0 {
			row.Ratio = row.Weir.Median / row.Limit.Median
		}
		if f.Bar.Binds() {
			row.Verdict = fail
			if row.Weir != nil && len(r.errs[Weir]) == 0 {
				limit := Summary{}
				if row.Limit != nil {
					limit = *row.Limit
				}
				if f.Bar.Holds(row.Weir.Median, limit.Median, row.Limit != nil) {
					row.Verdict = pass
				}
			}
		}
		for _, system := range c.Systems {
			row.Errors = append(row.Errors, r.errs[system]...)
		}
		r.Rows = append(r.Rows, row)
	}
	clear(r.values)
	clear(r.errs)
}

// summarize returns nil for no values.
func summarize(system string, values []float64) *Summary {
	if len(values) == 0 {
		return nil
	}
	return &Summary{System: system, Median: Median(values), Values: values}
}

// Median returns the middle value, or the mean of the two in the middle.
func Median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Quantile returns the value below which a part q of the values lies.
func Quantile(values []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[max(0, min(len(v)-1, int(math.Ceil(q*float64(len(v))))-1))]
}

// Failed reports how many rows have missed their bar.
func (r *Report) Failed() (n int) {
	for _, row := range r.Rows {
		if row.Verdict == fail {
			n++
		}
	}
	return n
}

// Print writes the table, in Markdown.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| case\t| figure\t| weir\t| bar\t|\t| limit in the same run\t| weir / limit\t| others\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	last := ""
	var errs []string
	for _, row := range r.Rows {
		name := row.Case
		if name == last {
			name = ""
		} else {
			for _, e := range row.Errors {
				errs = append(errs, row.Case+": "+e)
			}
		}
		last = row.Case
		ratio := ""
		if row.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", row.Ratio)
		}
		var others []string
		for _, s := range row.Others {
			others = append(others, s.say(row.figure.Unit))
		}
		fmt.Fprintf(t, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n",
			name, row.Figure, row.Weir.sayAlone(row.figure.Unit), row.Bar, row.Verdict, row.Limit.say(row.figure.Unit), ratio, strings.Join(others, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(errs) > 0 {
		fmt.Fprintf(w, "\nFailed runs:\n\n- %s\n", strings.Join(errs, "\n- "))
	}
	if len(r.Absent) > 0 {
		fmt.Fprintf(w, "\nLeft out:\n\n- %s\n", strings.Join(r.Absent, "\n- "))
	}
	return nil
}

// sayAlone writes a median, and the span of the values where there are several.
func (s *Summary) sayAlone(u Unit) string {
	if s == nil {
		return ""
	}
	if len(s.Values) < 2 {
		return u.Format(s.Median)
	}
	return fmt.Sprintf("%s (%s … %s)", u.Format(s.Median), u.Format(slices.Min(s.Values)), u.Format(slices.Max(s.Values)))
}

// say writes the same with the system's name.
func (s *Summary) say(u Unit) string {
	if s == nil {
		return ""
	}
	return s.System + " " + u.Format(s.Median)
}

// WriteJSON writes the rows to a file.
func (r *Report) WriteJSON(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// say writes what one run brought, on a line.
func say(c Case, v Values, err error) string {
	var words []string
	for _, f := range c.Figures {
		if x, ok := v[f.Name]; ok {
			words = append(words, f.Name+" "+f.Unit.Format(x))
		}
	}
	if err != nil {
		words = append(words, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return strings.Join(words, ", ")
}
