package source

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"testing"

	"github.com/weirfs/weir"
)

// FuzzDecompress: whatever a server sends for a .torrent and says of how it is packed,
// what comes out is bounded, or the error is one that says whose fault it is.
func FuzzDecompress(f *testing.F) {
	var packed, zipped bytes.Buffer
	g := gzip.NewWriter(&packed)
	_, _ = g.Write([]byte("d4:infode"))
	_ = g.Close()
	z := zlib.NewWriter(&zipped)
	_, _ = z.Write(packed.Bytes())
	_ = z.Close()
	f.Add("gzip", packed.Bytes())
	f.Add("gzip, deflate", zipped.Bytes())
	f.Add("", packed.Bytes())
	f.Add("", zipped.Bytes())
	f.Add("br", []byte("x"))
	f.Add("identity, x-gzip,,deflate", []byte{0x78, 0x9c, 0})
	f.Add("gzip,gzip,gzip,gzip", packed.Bytes())
	f.Fuzz(func(t *testing.T, encodings string, b []byte) {
		plain, err := decompress(b, []string{encodings})
		switch {
		case err != nil && (plain != nil || !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, errTooLarge)):
			t.Fatalf("%d bytes, %v", len(plain), err)
		case len(plain) > MaxDownloadBytes:
			t.Fatalf("%d bytes", len(plain))
		}
	})
}
