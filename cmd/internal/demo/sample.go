package demo

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirfs/weir/engine/swarmtest"
)

// The sample torrent.
const (
	sampleName = "weir-sample"
	filmName   = "film/the-river.avi"
	filmBytes  = 96 << 20
	readmeName = "README.txt"
	tablesName = "river levels"
	stations   = 12
	days       = 31
	readings   = 288 // a day: one every five minutes
)

const readme = `A sample torrent, made by weir demo.

film/           something with the size and the shape of a short film
river levels/   a dataset: a folder per station, a file per day
`

// writeSample writes the sample's files beneath dir.
func writeSample(dir string) error {
	for _, sub := range []string{filepath.Dir(filmName), tablesName} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, readmeName), []byte(readme), 0o644); err != nil {
		return err
	}
	if err := writeFilm(filepath.Join(dir, filmName)); err != nil {
		return err
	}
	for station := range stations {
		if err := writeStation(filepath.Join(dir, tablesName, fmt.Sprintf("station %02d", station+1)), station); err != nil {
			return err
		}
	}
	return nil
}

// writeFilm writes the frame of an AVI file (RIFF chunks): a header, then what
// stands for pictures, then an index at the end, so that a player would read the
// head, the tail, and then where the user points.
func writeFilm(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	const indexBytes = 64 << 10
	chunk := func(name string, length int) []byte {
		return binary.LittleEndian.AppendUint32([]byte(name), uint32(length))
	}
	head := append(chunk("RIFF", filmBytes-8), "AVI "...)
	head = append(head, chunk("movi", filmBytes-len(head)-8-8-indexBytes)...)
	buf := make([]byte, 1<<20)
	_, _ = w.Write(head) // the writer keeps its first error for Flush
	for off := len(head); off < filmBytes-8-indexBytes; {
		n := min(len(buf), filmBytes-8-indexBytes-off)
		swarmtest.Fill(buf[:n], 1, int64(off))
		_, _ = w.Write(buf[:n])
		off += n
	}
	_, _ = w.Write(chunk("idx1", indexBytes))
	swarmtest.Fill(buf[:indexBytes], 2, 0)
	_, _ = w.Write(buf[:indexBytes])
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// writeStation writes a folder of small tables.
func writeStation(dir string, station int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var noise [readings]byte
	for day := range days {
		swarmtest.Fill(noise[:], uint64(station), int64(day)*readings)
		table := []byte("minute,level_cm\n")
		for i, n := range noise {
			table = fmt.Appendf(table, "%d,%d\n", 5*i, 180+10*station+int(n)%40)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("2026-01-%02d.csv", day+1)), table, 0o644); err != nil {
			return err
		}
	}
	return nil
}
