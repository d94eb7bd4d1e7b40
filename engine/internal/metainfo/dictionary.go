package metainfo

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// largeDictionary is from which size on an info dictionary is packed in the records
// and does not stay in memory. A film's is some 50 KB and a big dataset's 50 MB,
// which nobody needs once it is parsed but peers that come by a magnet.
const largeDictionary = 256 << 10

// dictionaryFor is how long a large one stays after it was read for a peer. To hand
// it out takes minutes, so it may be read a few times meanwhile.
const dictionaryFor = time.Minute

// dictionary is the bencoded info dictionary of a torrent. It is safe for
// concurrent use.
type dictionary struct {
	size int // bytes

	mu    sync.Mutex
	bytes []byte // nil when it was left in the records

	reading sync.Mutex // one reads it; guards lost
	lost    time.Time  // when the records did not have it right
}

func newDictionary(b []byte) dictionary { return dictionary{size: len(b), bytes: b} }

// held returns the dictionary, nil if it is in the records only.
func (d *dictionary) held() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

// leave drops a large one from memory; the records have it.
func (d *dictionary) leave() {
	if d.size < largeDictionary {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes = nil
}

// read returns the dictionary, with from if it is not in memory; nil if there is
// none, which is believed for a while.
func (d *dictionary) read(from func() ([]byte, error)) []byte {
	if b := d.held(); b != nil {
		return b
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	if b := d.held(); b != nil || time.Since(d.lost) < dictionaryFor {
		return b
	}
	b, err := from()
	if err != nil {
		d.lost = time.Now()
		return nil
	}
	d.mu.Lock()
	d.bytes = b
	d.mu.Unlock()
	time.AfterFunc(dictionaryFor, d.leave)
	return b
}

// readDictionary reads the dictionary from the records and verifies it.
func (e *Entry) readDictionary() ([]byte, error) {
	b, err := readDictionary(e.l.Store, e.ih)
	if err == nil && weir.InfoHash(sha1.Sum(b)) != e.ih && source.Truncate(sha256.Sum256(b)) != e.ih {
		err = weir.ErrCorrupt
	}
	if err != nil {
		e.l.Log.Warn("metadata for peers not read from the cache", "torrent", e.ih, "err", err)
	}
	return b, err
}

// packDictionary returns a dictionary as it stands in the records. A large one is
// compressed: a list of a million files becomes a fiftieth, which a cache would
// otherwise write and sync several times over while the first programs list it.
func packDictionary(b []byte) ([]byte, error) {
	if len(b) < largeDictionary {
		return b, nil
	}
	var packed bytes.Buffer
	// Its window is more than the stretch in which paths are alike.
	w, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	w.ResetContentSize(&packed, int64(len(b)))
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// unpackDictionary undoes packDictionary. The error wraps weir.ErrCorrupt.
func unpackDictionary(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] == 'd' { // as it is: a dictionary begins so, and nothing that was packed
		return b, nil
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(source.MaxMetainfoBytes))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	plain, err := r.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack: %v: %w", err, weir.ErrCorrupt)
	}
	return plain, nil
}
