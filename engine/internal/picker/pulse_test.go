package picker

import (
	"testing"
	"time"
)

// TestPulses: a peer that sends at the turns of a clock only (Transmission 3.00: each
// 500 ms) gives all that it can, also when it was measured slow before: what is asked of
// it lasts from one turn to the next.
func TestPulses(t *testing.T) {
	for _, pulse := range []time.Duration{100 * ms, 250 * ms, 500 * ms} {
		for _, known := range []float64{0, 10e3, 130e3} { // bytes per second; 0: never measured
			for _, window := range []int{1, 4, 64} {
				s := newSim(t, 400, 64<<10, Options{})
				p := s.join(ms, 8e6)
				p.pulse = pulse
				if known > 0 {
					p.p.meter.rate, p.p.meter.measured = known, true
				}
				s.stream(0, 100, window, 300*time.Second, nil)
				took, _ := s.stream(100, 400, window, 300*time.Second, nil)
				// Each turn gives what was asked for, at most what the reader's window holds.
				most := min(8e6*pulse.Seconds(), float64(window)*(64<<10))
				want := time.Duration(300*(64<<10)/most*float64(pulse)) + 2*pulse
				if took > want*3/2 {
					t.Errorf("a pulse of %v, known %.0f B/s, %d pieces ahead: %v, want %v", pulse, known, window, took, want)
				}
			}
		}
	}
}

// TestPulsesOfWhoDrops: such a peer was fast at first, so that it is given up long before
// its next turn, and drops what is cancelled without a word.
func TestPulsesOfWhoDrops(t *testing.T) {
	for _, pulse := range []time.Duration{100 * ms, 250 * ms, 500 * ms, time.Second, 2 * time.Second} {
		for _, known := range []float64{130e3, 1e6, 8e6, 50e6} {
			for _, window := range []int{0, 4, 64} {
				s := newSim(t, 400, 64<<10, Options{})
				p := s.join(ms, 8e6)
				p.pulse, p.drops = pulse, true
				p.p.meter.rate, p.p.meter.measured = known, true
				took, _ := s.stream(0, 100, window, 3000*time.Second, nil)
				// A turn a piece, and a few times everything is taken back and can't be asked for
				// again at once.
				if most := 100*pulse*5/4 + 15*time.Second; took > most {
					t.Errorf("a pulse of %v, known %.0f B/s, %d pieces ahead: %v, want %v at most", pulse, known, window, took, most)
				}
			}
		}
	}
}
