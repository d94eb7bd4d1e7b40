package kernel

import (
	"testing"
	"time"
)

func TestKernelTimeout(t *testing.T) {
	s := time.Second
	for _, tt := range []struct{ def, most, limit, deadline time.Duration }{
		{0, 0, 0, 60 * s},
		{300 * s, 0, 300 * s, 60 * s},
		{60 * s, 0, 60 * s, 40 * s},
		{5 * s, 0, 15 * s, 10 * s},
		{0, 30 * s, 30 * s, 20 * s},
		{90 * s, 30 * s, 30 * s, 20 * s},
	} {
		limit := kernelTimeout(tt.def, tt.most)
		if got := deadlineBelow(60*s, limit); limit != tt.limit || got != tt.deadline {
			t.Errorf("%v, at most %v: limit %v, deadline %v", tt.def, tt.most, limit, got)
		}
	}
}

func TestSysctlMissing(t *testing.T) {
	if got := sysctl("no_such_setting"); got != 0 {
		t.Errorf("got %v", got)
	}
}
