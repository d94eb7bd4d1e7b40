package engine

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

// largeDictionary is from which size on an info dictionary is packed in the Store
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

	mu      sync.Mutex
	bytes   []byte // nil when it was left in the Store
	reading bool
	waiting map[dictionaryAsk]struct{} // until it is read
}

// dictionaryAsk is a peer's request for one piece of it.
type dictionaryAsk struct {
	p     *peer
	piece int64
}

func newDictionary(b []byte) dictionary { return dictionary{size: len(b), bytes: b} }

// held returns the dictionary, nil if it is in the Store only.
func (d *dictionary) held() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

// leave drops a large one from memory; the Store has it.
func (d *dictionary) leave() {
	if d.size < largeDictionary {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes = nil
}

// ask returns the dictionary. If that is nil, what was asked will be among what
// arrived returns, and with first the caller is to see to it that it is read.
func (d *dictionary) ask(a dictionaryAsk) (b []byte, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bytes != nil {
		return d.bytes, false
	}
	if d.waiting == nil {
		d.waiting = map[dictionaryAsk]struct{}{}
	}
	d.waiting[a] = struct{}{}
	first = !d.reading
	d.reading = true
	return nil, first
}

// arrived takes what was read, nil if there is none, and returns who waits for it.
func (d *dictionary) arrived(b []byte) map[dictionaryAsk]struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.waiting
	d.bytes, d.reading, d.waiting = b, false, nil
	return waiting
}

// readDictionary has the dictionary read from the Store, beside the owner, and then
// answers those who wait for it.
func (s *swarm) readDictionary(m *metainfo) {
	s.spawn(func() {
		b, err := readDictionary(s.eng.opts.Store, s.t.ih)
		if err == nil && weir.InfoHash(sha1.Sum(b)) != s.t.ih && source.Truncate(sha256.Sum256(b)) != s.t.ih {
			err = weir.ErrCorrupt
		}
		if err != nil {
			b = nil
			s.log.Warn("metadata for peers not read from the cache", "err", err)
		}
		waiting := m.dict.arrived(b)
		s.do(func() {
			for a := range waiting {
				if _, here := s.peers[a.p]; here {
					s.answerMetadata(a.p, a.piece, b)
				}
			}
		})
		if b != nil {
			time.AfterFunc(dictionaryFor, m.dict.leave)
		}
	})
}

// Records are what is read of a Store's records.
type Records interface {
	// Record returns an error that wraps weir.ErrNotFound if there is none.
	Record(bucket string, key []byte) ([]byte, error)
}

// readDictionary reads an info dictionary that was left in the records. Whether it
// is right, the caller must see.
func readDictionary(records Records, ih weir.InfoHash) ([]byte, error) {
	b, err := records.Record(MetadataBucket, ih[:])
	if err != nil {
		return nil, err
	}
	return unpackDictionary(b)
}

// packDictionary returns a dictionary as it stands in the records. A large one is
// compressed: a list of a million files becomes a fiftieth, which the Store would
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
