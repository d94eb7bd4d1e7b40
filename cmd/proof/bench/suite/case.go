// Package suite is what the benchmarks' cases are made of: a case with its figures and
// bars, the runs that it is made of, what they read, and the report. What a case does
// lives beside it, in a package by what is measured.
package suite

import (
	"fmt"
	"time"
)

// Case is a workload with what is measured of it.
type Case struct {
	Name    string
	About   string        // one line, for --list
	Systems []string      // who does it, in this order within each repeat; weir first
	Limit   time.Duration // of one run of one system
	Once    bool          // too long to be repeated
	Aside   bool          // runs only when it is named, and as often as --repeat says
	Figures []Figure
	// Run does the work with one system and returns its figures. A figure that a
	// system has nothing to say of is left out.
	Run func(r *Run) (Values, error)
}

// The systems beside weir. References have no mount and verify nothing: they say
// what the line allows.
const (
	Weir = "weir"
	BTFS = "btfs"
	Raw  = "raw"  // bare block requests
	HTTP = "http" // parallel HTTP, a connection to each host
	Curl = "curl" // one connection
)

// Values are a run's figures by name.
type Values map[string]float64

// Figure is one thing measured, with the bar that weir is held to.
type Figure struct {
	Name      string
	Unit      Unit
	Reference string // the system that says what is possible
	Bar       Bar    // zero: none
}

// Unit says what a figure's number is.
type Unit string

// The units, in which values are kept.
const (
	Seconds     Unit = "s"
	BytesPerSec Unit = "B/s"
	Bytes       Unit = "B"
	Ratio       Unit = "×"
	Count       Unit = ""
)

// Bar is what weir's figure must keep to; zero bounds don't bind.
type Bar struct {
	Most, Least float64 // in the figure's unit
	// LeastOf and MostOf are parts of the reference's figure in the same run.
	LeastOf, MostOf float64
}

// String returns the bar as the table shows it.
func (b Bar) String(f Figure) string {
	switch {
	case b.Most != 0:
		return "≤ " + f.Unit.Format(b.Most)
	case b.Least != 0:
		return "≥ " + f.Unit.Format(b.Least)
	case b.LeastOf != 0:
		return fmt.Sprintf("≥ %g × %s", b.LeastOf, f.Reference)
	case b.MostOf != 0:
		return fmt.Sprintf("≤ %g × %s", b.MostOf, f.Reference)
	}
	return ""
}

// Binds reports whether there is a bar at all.
func (b Bar) Binds() bool { return b != Bar{} }

// Holds reports whether a value keeps to the bar, given the reference's value,
// which only some bars need: without it those don't hold.
func (b Bar) Holds(v, reference float64, known bool) bool {
	if (b.LeastOf != 0 || b.MostOf != 0) && !known {
		return false
	}
	return (b.Most == 0 || v <= b.Most) && (b.Least == 0 || v >= b.Least) &&
		(b.LeastOf == 0 || v >= b.LeastOf*reference) && (b.MostOf == 0 || v <= b.MostOf*reference)
}

// Format writes a value with its unit.
func (u Unit) Format(v float64) string {
	switch u {
	case Seconds:
		switch {
		case v == 0:
			return "0 s"
		case v < 0.001:
			return fmt.Sprintf("%.3g µs", v*1e6)
		case v < 1:
			return fmt.Sprintf("%.3g ms", v*1e3)
		}
		return fmt.Sprintf("%.2f s", v)
	case BytesPerSec:
		return number(v/1e6) + " MB/s"
	case Bytes:
		return number(v/1e6) + " MB"
	case Ratio:
		return number(v) + " ×"
	}
	return number(v)
}

// number writes a number with three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// Absent says what a case needs and this machine lacks: it is left out, and the
// report says so.
type Absent string

func (e Absent) Error() string { return string(e) }
