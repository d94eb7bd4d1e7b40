package fs

import (
	"fmt"
	"testing"

	"github.com/weirfs/weir/fs/internal/node"
)

func benchFS(b *testing.B) (*FS, node.ID) {
	f := New(Options{})
	for i := range 1000 {
		addT(b, f, NewFakeZeros(FakeInfo(fmt.Sprint("other", i), FakeFile{Path: "f", Length: 1})))
	}
	addT(b, f, NewFakeZeros(FakeMany("t", 1, 4000, 1000)))
	return f, lookupPath(b, f, "t/folder-0000")
}

func BenchmarkLookup(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	for b.Loop() {
		if e, wait, err := f.operations.Lookup(dir, "file-002345.bin"); err != nil || wait != nil || e.ID == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetattr(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, wait, err := f.operations.Getattr(dir + 7); err != nil || wait != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadDir(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		if _, wait, err := f.operations.ReadDir(dir, 2000, 4096, buf); err != nil || wait != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadHit is what weir adds to a read of held bytes.
func BenchmarkReadHit(b *testing.B) {
	f, dir := benchFS(b)
	open, err := await(f.operations.OpenFile(dir+7, true, node.Caller{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	total := 0
	use := func(p []byte) { total += len(p) }
	for b.Loop() {
		if pending, err := f.operations.Read(node.Read{Handle: open.Handle, N: 4096}, use); pending != nil || err != nil {
			b.Fatal(err)
		}
	}
}
