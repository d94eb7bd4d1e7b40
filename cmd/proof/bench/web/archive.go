package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// archiveItem is an item as the Internet Archive has them, in pieces of 512 KiB.
func archiveItem() remotehosts.Spec {
	const piece = 512 * suite.KiB
	s := remotehosts.Spec{Name: "item_2019", PieceBytes: piece}
	pads := 0
	for i, f := range []remotehosts.File{
		{Path: []string{"#1 50% of é+&?.mp4"}, Length: 12*suite.MiB + 77},
		{Path: []string{"CD 2", "a;b=c's [x].mp4"}, Length: 3*suite.MiB + 1},
		{Path: []string{"cover.jpg"}, Length: 300_000},
		{Path: []string{"item_2019_djvu.txt"}, Length: 70_000},
		{Path: []string{"item_2019_meta.xml"}, Length: 1200},
		{Path: []string{"busy.bin"}, Length: 2 * suite.MiB},
	} {
		f.Seed = uint64(500 + i)
		s.Files = append(s.Files, f)
		if rest := f.Length % piece; rest > 0 {
			s.Files = append(s.Files, remotehosts.File{Path: []string{".pad", fmt.Sprint(pads)}, Length: piece - rest, Pad: true})
			pads++
		}
	}
	return s
}

// Archive reads all files of an item of the Internet Archive's shape, each once.
func Archive() suite.Case {
	spec := archiveItem()
	right := 0
	for _, f := range spec.Files {
		if !f.Pad && !stale(f) {
			right++
		}
	}
	return suite.Case{
		Name: "web/archive", About: "an item as the Internet Archive's: redirects, a stale file, padding, odd names, small files sent whole, 503 twice",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "files right", Unit: suite.Count, Bar: suite.Bar{Least: float64(right)}},
			{Name: "error of the stale file", Unit: suite.Seconds, Bar: suite.Bar{Most: 1}},
			{Name: "requests for padding", Unit: suite.Count, Bar: suite.Bar{Most: 0.5}},
			{Name: "all files", Unit: suite.Seconds},
			{Name: "fetched by content", Unit: suite.Ratio},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec, s.Web = spec, remotehosts.ArchivePath
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			v := suite.Values{}
			var size int64
			begin := time.Now()
			shown := 0
			for i, f := range spec.Files {
				if f.Pad {
					continue
				}
				if err := p.Visible(r.Ctx, f.Path...); err != nil {
					return nil, err
				}
				if shown++; shown == 1 {
					begin = time.Now()
				}
				start := time.Now()
				got, err := os.ReadFile(p.Path(f.Path...))
				switch {
				case stale(f) && errors.Is(err, syscall.EIO):
					v["error of the stale file"] = time.Since(start).Seconds()
					continue
				case stale(f):
					return v, fmt.Errorf("the stale file was read: %d bytes, %v", len(got), err)
				case err != nil:
					return v, err
				}
				want, err := io.ReadAll(sw.FileReader(i))
				if err != nil {
					return v, err
				}
				if bytes.Equal(got, want) {
					v["files right"]++
				}
				size += f.Length
			}
			v["all files"] = time.Since(begin).Seconds()
			n, err := sw.Wire.Hosts().Web(r.Ctx)
			v["requests for padding"], v["fetched by content"] = float64(n.Padding), float64(n.Bytes)/float64(size)
			return v, err
		},
	}
}

// stale reports whether the server has another version of a file.
func stale(f remotehosts.File) bool { return strings.HasSuffix(f.Path[len(f.Path)-1], "_meta.xml") }
