package hosts

import "testing"

// TestMoreNames: names that the user gives are accepted, in any case.
func TestMoreNames(t *testing.T) {
	h := Of("0.0.0.0:80", "Films.example.")
	for host, ok := range map[string]bool{
		"films.example": true, "FILMS.example:80": true, "films.example.": true,
		"films.example.evil": false, "xfilms.example": false, "": false,
	} {
		if h.Has(host) != ok {
			t.Errorf("%q: accepted %v", host, !ok)
		}
	}
}
