package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// check looks at the files of a database before badger does, and errs where badger
// would not return an error but end the process: it panics on a goroutine of its
// own, or calls log.Fatal, on a damaged table. Files that hold nothing and that
// badger stumbles over are removed.
func check(dir string, log *slog.Logger) error {
	// Nothing is encrypted and nothing is collected: badger makes these anew. A registry
	// of no keys stays: making it takes two commits of the file system's journal.
	const random, noKeys = 16, "Hello Badger"
	remove := []string{"DISCARD"}
	if b, _ := os.ReadFile(filepath.Join(dir, "KEYREGISTRY")); len(b) != random+len(noKeys) || string(b[random:]) != noKeys {
		remove = append(remove, "KEYREGISTRY")
	}
	for _, name := range remove {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	// A crash came between the making of a log and its header, or the header names an
	// encryption key, which badger would look for.
	const header = 20
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		logs, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range logs {
			st, err := os.Stat(path)
			if err == nil && st.Size() < header {
				err = os.Remove(path)
			} else if err == nil {
				err = clearKey(path)
			}
			if err != nil {
				return err
			}
		}
	}
	tables, err := listedTables(dir, log)
	if err != nil {
		return err
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err == nil {
			err = checkTable(b)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func clearKey(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 8), 0)
	return errors.Join(err, f.Close())
}

// listedTables returns the tables that count. Others may be there, half written
// when weir was killed: badger removes them.
func listedTables(dir string, log *slog.Logger) (paths []string, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		if all, _ := filepath.Glob(filepath.Join(dir, "*.sst")); len(all) > 0 {
			return nil, fmt.Errorf("%s is gone: %w", badger.ManifestFilename, weir.ErrCorrupt)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(&badgerLog{log: log}))
	if err != nil {
		return nil, err
	}
	for id := range manifest.Tables {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%06d.sst", id)))
	}
	return paths, nil
}

// checkTable checks every byte of a table: blocks, each with a checksum behind it,
// their index, and a checksum of that.
func checkTable(b []byte) (err error) {
	defer func() {
		if recover() != nil { // numbers in it lead out of it
			err = fmt.Errorf("table: %w", weir.ErrCorrupt)
		}
	}()
	cut := func(b []byte) (rest, part []byte) {
		at := len(b) - 4
		from := at - int(binary.BigEndian.Uint32(b[at:]))
		return b[:from], b[from:at]
	}
	b, sum := cut(b)
	b, index := cut(b)
	if !sumIs(index, sum) {
		return fmt.Errorf("index: %w", weir.ErrCorrupt)
	}
	blocks := int64(0)
	for _, at := range blocksOf(index) {
		data, sum := cut(b[at[0]:][:at[1]])
		if !sumIs(data, sum) {
			return fmt.Errorf("block at %d: %w", at[0], weir.ErrCorrupt)
		}
		blocks += int64(at[1])
	}
	if blocks != int64(len(b)) {
		return fmt.Errorf("blocks: %w", weir.ErrCorrupt)
	}
	return nil
}

// sumIs reports whether sum, a message of protocol buffers with the number 2 only,
// is the CRC32C of b; number 1 would be another kind of checksum.
func sumIs(b, sum []byte) bool {
	if len(sum) < 2 || sum[0] != 2<<3 {
		return false
	}
	v, n := binary.Uvarint(sum[1:])
	return n == len(sum)-1 && v == uint64(crc32.Checksum(b, castagnoli))
}

// blocksOf returns offset and length of the blocks that an index names. It is a
// flatbuffer: a table whose first field is a vector of tables, of which the second
// and third fields are numbers.
func blocksOf(index []byte) (blocks [][2]uint32) {
	le := binary.LittleEndian
	u32 := func(at uint32) uint32 { return le.Uint32(index[at:]) }
	field := func(table uint32, i uint32) uint32 { // 0: it has the value 0
		vtable := table - u32(table)
		if 4+2*i >= uint32(le.Uint16(index[vtable:])) {
			return 0
		}
		if off := le.Uint16(index[vtable+4+2*i:]); off != 0 {
			return table + uint32(off)
		}
		return 0
	}
	number := func(table, i uint32) uint32 {
		if at := field(table, i); at != 0 {
			return u32(at)
		}
		return 0
	}
	at := field(u32(0), 0)
	vector := at + u32(at)
	for i := range u32(vector) {
		entry := vector + 4 + 4*i
		block := entry + u32(entry)
		blocks = append(blocks, [2]uint32{number(block, 1), number(block, 2)})
	}
	return blocks
}
