package fs

import (
	"fmt"
	"testing"

	"bazil.org/fuse"
)

func benchFS(b *testing.B) (*FS, fuse.NodeID) {
	f := New(Options{})
	for i := range 1000 {
		addT(b, f, NewFakeZeros(FakeInfo(fmt.Sprint("other", i), FakeFile{Path: "f", Length: 1})))
	}
	addT(b, f, NewFakeZeros(FakeMany("t", 1, 4000, 1000)))
	return f, walkTo(b, f, "t/folder-0000")
}

func BenchmarkLookup(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	var resp fuse.LookupResponse
	for b.Loop() {
		if err := f.lookup(noWait, dir, "file-002345.bin", &resp); err != nil || resp.Node == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetattr(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	var a fuse.Attr
	for b.Loop() {
		if err := f.getattr(noWait, dir+7, &a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadDir(b *testing.B) {
	f, dir := benchFS(b)
	b.ReportAllocs()
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		if _, err := f.readDir(noWait, dir, 2000, 4096, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadHit is what weir adds to a read of held bytes.
func BenchmarkReadHit(b *testing.B) {
	f, dir := benchFS(b)
	var open fuse.OpenResponse
	if err := f.openFile(noWait, dir+7, fuse.OpenReadOnly, Opener{}, &open); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	total := 0
	use := func(p []byte) { total += len(p) }
	for b.Loop() {
		h, n, err := f.readable(open.Handle, 0, 4096)
		if err != nil {
			b.Fatal(err)
		}
		if miss, err := h.file.View(0, n, use); miss != nil || err != nil {
			b.Fatal(err)
		}
	}
}
