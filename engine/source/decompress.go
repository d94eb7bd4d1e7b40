package source

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/weirfs/weir"
)

// maxEncodings bounds how many times content may be compressed.
const maxEncodings = 3

// errTooLarge says that content has more than MaxDownloadBytes once it is unpacked.
var errTooLarge = errors.New("too large")

// decompress undoes the encodings that a server names in the order in which it
// applied them, and compression that it does not name: no .torrent and no magnet begins
// like that.
func decompress(b []byte, headers []string) ([]byte, error) {
	var names []string
	for name := range strings.SplitSeq(strings.ToLower(strings.Join(headers, ",")), ",") {
		if name = strings.TrimSpace(name); name != "" && name != "identity" {
			names = append(names, name)
		}
	}
	if len(names) > maxEncodings {
		return nil, weir.Errorf(weir.ErrInvalid, "the content is compressed %d times, at most %d are supported", len(names), maxEncodings)
	}
	for _, name := range slices.Backward(names) {
		var err error
		switch name {
		case "gzip", "x-gzip":
			b, err = unpack(b, openGzip)
		case "deflate": // as zlib or, from many servers, without its frame
			var plain []byte
			if plain, err = unpack(b, zlib.NewReader); err != nil && !errors.Is(err, errTooLarge) {
				plain, err = unpack(b, openFlate)
			}
			b = plain
		default:
			err = weir.Errorf(weir.ErrInvalid, "the server sends an encoding that nobody asked for, %s", quote(name))
		}
		if err != nil {
			return nil, err
		}
	}
	if len(b) > 2 && (b[0] == 0x1f && b[1] == 0x8b) {
		return unpack(b, openGzip)
	}
	if len(b) > 2 && b[0]&0x0f == 8 && b[0]>>4 < 8 && (int(b[0])<<8|int(b[1]))%31 == 0 {
		if plain, err := unpack(b, zlib.NewReader); err == nil || errors.Is(err, errTooLarge) {
			return plain, err
		}
	}
	return b, nil
}

func openGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

func openFlate(r io.Reader) (io.ReadCloser, error) { return flate.NewReader(r), nil }

// unpack reads at most MaxDownloadBytes out of b.
func unpack(b []byte, open func(io.Reader) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(bytes.NewReader(b))
	if err != nil {
		return nil, weir.Errorf(weir.ErrInvalid, "unpack the content: %v", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxDownloadBytes+1))
	switch err = errors.Join(err, r.Close()); {
	case len(plain) > MaxDownloadBytes:
		return nil, errTooLarge
	case err != nil:
		return nil, weir.Errorf(weir.ErrInvalid, "unpack the content: %v", err)
	}
	return plain, nil
}
