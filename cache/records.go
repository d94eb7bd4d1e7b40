package cache

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/policy"
)

// records are small things that eviction never touches.
type records struct{ db *index.DB }

// PutRecord stores a small thing that must survive: it is on disk when PutRecord
// returns, and eviction never touches it. A record may have up to 1 GiB, but all
// of them should stay far below the budget, in which they don't count for room.
// The error wraps weir.ErrNoSpace when the disk is full.
func (r records) PutRecord(bucket string, key, value []byte) error {
	return recordError("put", bucket, key, r.db.Put(bucket, key, value))
}

// Record returns a copy of a record. The error wraps weir.ErrNotFound when there
// is none, and weir.ErrCorrupt when it is damaged.
func (r records) Record(bucket string, key []byte) ([]byte, error) {
	value, err := r.db.Get(bucket, key)
	return value, recordError("get", bucket, key, err)
}

// DeleteRecord removes a record. It is no error when there is none.
func (r records) DeleteRecord(bucket string, key []byte) error {
	return recordError("delete", bucket, key, r.db.Delete(bucket, key))
}

func recordError(what, bucket string, key []byte, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s record %q %x: %w", what, bucket, key, err)
}

// EachRecord calls record for each record of a bucket, in the order of the keys;
// an error from it ends the call. key and value are the callee's to keep, and it
// may change records. Damaged records, and ones deleted meanwhile, are passed
// over.
func (r records) EachRecord(bucket string, record func(key, value []byte) error) error {
	keys, err := r.db.Keys(bucket)
	if err != nil {
		return recordError("list", bucket, nil, err)
	}
	for _, key := range keys {
		value, err := r.Record(bucket, key)
		switch {
		case errors.Is(err, weir.ErrNotFound) || errors.Is(err, weir.ErrCorrupt):
			continue
		case err == nil:
			err = record(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ClearRecords drops every record, and with them the pins and what SetLimit was
// told, which both end now. Whoever else keeps records here must not be at work.
func (c *Cache) ClearRecords() error {
	w := &c.writer
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	if err := c.db.Clear(); err != nil {
		return recordError("drop", "*", nil, err)
	}
	w.retire(policy.Pinned)
	c.pins.mu.Lock()
	clear(c.pins.of)
	c.pins.mu.Unlock()
	return nil
}

// settings is the bucket of what the user told the cache itself, and limitKey the
// budget, 8 bytes, big endian.
const settings = "cache.settings"

var limitKey = []byte("limit")

// rememberedLimit returns the budget that SetLimit was last told, or 0.
func rememberedLimit(db *index.DB) int64 {
	b, err := db.Get(settings, limitKey)
	if err != nil || len(b) != 8 {
		return 0
	}
	limit := int64(binary.BigEndian.Uint64(b))
	if limit < MinLimitBytes {
		return 0
	}
	return limit
}

// SetLimit changes the budget at once: when it shrinks, pieces go before
// SetLimit returns, those last that were used or are pinned. It is remembered for the next Open without LimitBytes. The
// error wraps weir.ErrInvalid below MinLimitBytes and weir.ErrNoSpace when the
// pins would not fit; the budget is then unchanged.
func (c *Cache) SetLimit(limit int64) error {
	if limit < MinLimitBytes {
		return tooSmall(limit)
	}
	w := &c.writer
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	reserved := c.pins.bytes()
	if reserved > pinBudget(limit) {
		return weir.Errorf(weir.ErrNoSpace, "%d bytes are pinned, more than four fifths of a budget of %d: unpin something, or leave more", reserved, limit)
	}
	c.held.limit.Store(limit)
	c.db.SetBallast(ballastOf(limit))
	w.shrink(limit)
	if err := c.PutRecord(settings, limitKey, binary.BigEndian.AppendUint64(nil, uint64(limit))); err != nil {
		return fmt.Errorf("the budget is changed for now but not remembered: %w", err)
	}
	return nil
}
