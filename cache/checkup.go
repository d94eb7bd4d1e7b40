package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"

	"github.com/weirfs/weir"
)

// checkup looks at the files of a badger database before badger does, and errs
// where badger would not return an error but end the process: it panics on a
// goroutine of its own, or calls log.Fatal, on a damaged table. Files that hold
// nothing and that badger stumbles over are removed.
func checkup(dir string, log *slog.Logger) error {
	// Nothing is encrypted and nothing is collected: badger makes these anew.
	for _, name := range []string{"DISCARD", "KEYREGISTRY"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	// A crash came between the making of a log and its header.
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		logs, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range logs {
			if st, err := os.Stat(path); err == nil && st.Size() < logHeaderBytes {
				if err := os.Remove(path); err != nil {
					return err
				}
			} else if err == nil {
				if err := resetHeader(path); err != nil {
					return err
				}
			}
		}
	}
	tables, err := listedTables(dir, log)
	if err != nil {
		return err
	}
	for _, path := range tables {
		if err := guard(func() error { return checkTable(path) }); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
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
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(newBadgerLog(log)))
	if err != nil {
		return nil, err
	}
	for id := range manifest.Tables {
		paths = append(paths, table.NewFilename(id, dir))
	}
	return paths, nil
}

// resetHeader makes sure that the header of a log names no encryption key, which
// badger would look for.
func resetHeader(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 8), 0)
	return errors.Join(err, f.Close())
}

// checkTable checks the footer of a table (index, length 4, checksum, length 4)
// by hand, and when that is right lets badger check the blocks.
func checkTable(path string) (err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cut := func() ([]byte, bool) {
		if len(b) < 4 {
			return nil, false
		}
		n := int64(binary.BigEndian.Uint32(b[len(b)-4:]))
		b = b[:len(b)-4]
		if n > int64(len(b)) {
			return nil, false
		}
		part := b[int64(len(b))-n:]
		b = b[:int64(len(b))-n]
		return part, true
	}
	sum, ok := cut()
	if !ok {
		return fmt.Errorf("footer: %w", weir.ErrCorrupt)
	}
	index, ok := cut()
	if !ok || len(index) == 0 {
		return fmt.Errorf("footer: %w", weir.ErrCorrupt)
	}
	var checksum pb.Checksum
	if err := proto.Unmarshal(sum, &checksum); err != nil {
		return fmt.Errorf("footer: %w: %w", weir.ErrCorrupt, err)
	}
	if checksum.Algo != pb.Checksum_CRC32C { // badger panics on others
		return fmt.Errorf("kind of checksum: %w", weir.ErrCorrupt)
	}
	if err := y.VerifyChecksum(index, &checksum); err != nil {
		return fmt.Errorf("index: %w: %w", weir.ErrCorrupt, err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("blocks: %w: %v", weir.ErrCorrupt, r)
		}
	}()
	m, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(m, table.Options{ChkMode: options.OnTableRead, BlockSize: 4 << 10})
	if err != nil {
		return fmt.Errorf("blocks: %w: %w", weir.ErrCorrupt, err)
	}
	return t.Close(-1)
}
