package source_test

import (
	"crypto/sha1"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
	"go.uber.org/goleak"

	"github.com/weirfs/weir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dict is a bencode dictionary. It is encoded by anacrolix's encoder, so that
// our reader is not tested against our own idea of the format.
type dict = map[string]any

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := bencode.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// with returns d with some keys changed; a nil value removes its key.
func with(d dict, changes dict) dict {
	out := dict{}
	for k, v := range d {
		out[k] = v
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

// hashes returns a string of n piece hashes.
func hashes(n int) string { return strings.Repeat("0123456789abcdefghij", n) }

func file(length int64, path ...string) dict { return dict{"length": length, "path": path} }

// single is the info dictionary of a file of 100,000 bytes.
func single() dict {
	return dict{"name": "film.mkv", "piece length": 32768, "pieces": hashes(4), "length": 100_000}
}

// multi is the info dictionary of a folder; its files have to add up to
// something from 1 to 16,384 bytes.
func multi(files ...dict) dict {
	return dict{"name": "folder", "piece length": 16384, "pieces": hashes(1), "files": files}
}

func infoHash(info []byte) weir.InfoHash { return sha1.Sum(info) }
