package swarmtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testContext ends long after every healthy test has.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func newContent(tb testing.TB, o swarmtest.ContentOptions) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// newSample is a single file of 1,000,000 bytes in 64 KiB pieces.
func newSample(tb testing.TB) *swarmtest.Content {
	tb.Helper()
	return newContent(tb, swarmtest.ContentOptions{
		Name: "sample", PieceLength: 64 << 10, Single: true,
		Files: []swarmtest.File{{Length: 1_000_000, Seed: 7}},
	})
}

func openSeeder(tb testing.TB, o swarmtest.SeederOptions) *swarmtest.Seeder {
	tb.Helper()
	s, err := swarmtest.OpenSeeder(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}
