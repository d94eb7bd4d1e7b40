package foreign_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir/cmd/proof/foreign"
)

// TestSmallReadsCostABlock reads 4 KiB here and there of a file of long pieces, from
// libtorrent with v2 and hybrid torrents: with data that it has checked, and with data that it
// has not, whose hashes it tells only once it has sent a block. What is fetched is a block
// for each read.
func TestSmallReadsCostABlock(t *testing.T) {
	t.Parallel()
	const size, piece, reads = 32 << 20, 1 << 20, 40
	const most = 42 * reads * 4096 / 10 // 4.2 times what is read
	file := filepath.Join(t.TempDir(), "big.bin")
	foreign.Fill(t, file, size)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []foreign.Property{foreign.V2, foreign.Hybrid} {
		torrent := foreign.LibtorrentMake(t, foreign.Making{Path: file, Announce: nowhere, PieceBytes: piece, Version: version})
		for _, unchecked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/unchecked=%v", version, unchecked), func(t *testing.T) {
				s := foreign.Libtorrent(t, foreign.Job{Source: torrent, Dir: filepath.Dir(file), IP: foreign.NextIP(), Unchecked: unchecked})
				s.WaitComplete(t)
				m := start(t, "--peer="+s.Addr, torrent)
				r := rand.New(rand.NewPCG(1, 2))
				got := make([]byte, 4096)
				for range reads {
					off := r.Int64N(size/4096) * 4096
					readAt(t, m.Path(m.Names[0], "big.bin"), got, off)
					if !bytes.Equal(got, want[off:off+4096]) {
						t.Fatalf("wrong bytes at %d", off)
					}
				}
				if n := quiet(t, s); n < reads*3/4*16<<10 || n > most {
					t.Errorf("%d bytes were sent for %d reads of 4 KiB, want at most %d", n, reads, most)
				}
				m.Unmount(t)
				s.Stop()
			})
		}
	}
}
