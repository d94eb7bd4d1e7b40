package cache_test

import (
	"math/rand/v2"
	"testing"

	"github.com/weirfs/weir/cache"
)

func TestSearchPrints(t *testing.T) {
	const top = 1<<32 - 1
	r := rand.New(rand.NewPCG(1, 2))
	spread := make([]uint32, 700)
	for i := range spread {
		spread[i] = r.Uint32()
	}
	low, high := make([]uint32, 500), make([]uint32, 500)
	for i := range low {
		low[i], high[i] = uint32(3*i), top-uint32(3*i)
	}
	for _, test := range []struct {
		name   string
		prints []uint32
	}{
		{"None", nil}, {"One", []uint32{7}}, {"Ends", []uint32{0, top}}, {"Spread", spread}, {"Low", low}, {"High", high},
	} {
		t.Run(test.name, func(t *testing.T) {
			wants := []uint32{0, 1, 6, 7, 8, top / 2, top - 1, top}
			for _, p := range test.prints {
				wants = append(wants, p-1, p, p+1)
			}
			for _, want := range wants {
				if got, exp := cache.SearchPrints(test.prints, want); got != exp {
					t.Fatalf("%d is at %d, want %d", want, got, exp)
				}
			}
		})
	}
}
