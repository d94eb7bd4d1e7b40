package web

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/collections"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// SmallFiles copies a folder of small files, each with a piece of its own, from a web
// seed. The limit is one request after another on one connection.
func SmallFiles() suite.Case {
	const some = 200 // with curl, which takes a round trip for each
	return suite.Case{
		Name: "web/small-files", About: "5,000 files of 1.6 KB of a hybrid torrent with cp -r, a web seed of 20 MB/s alone, 50 ms",
		Systems: []string{suite.Weir, suite.Curl}, Limit: 180 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "files a second", Unit: suite.Count, Reference: suite.Curl, Bar: suite.Bar{LeastOf: 3.5}},
			{Name: "requests a file", Unit: suite.Count},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec = collections.AlignedSpec()
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			files := len(s.Spec.Files)
			if r.System == suite.Curl {
				var list strings.Builder
				for _, f := range s.Spec.Files[:some] {
					fmt.Fprintf(&list, "url = \"%s%s/%s\"\noutput = \"/dev/null\"\n", sw.Web, s.Spec.Name, strings.Join(f.Path, "/"))
				}
				name := filepath.Join(r.Dir, "urls")
				if err := os.WriteFile(name, []byte(list.String()), 0o644); err != nil {
					return nil, err
				}
				took, err := curl(r, "--config", name)
				return suite.Values{"files a second": some / took.Seconds()}, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			begin := time.Now()
			if err := collections.CopyFolder(r, p.Path(), filepath.Join(r.Dir, "copy"), files); err != nil {
				return nil, err
			}
			took := time.Since(begin)
			n, err := sw.Wire.Hosts().Web(r.Ctx)
			return suite.Values{"files a second": float64(files) / took.Seconds(), "requests a file": float64(n.Requests) / float64(files)}, err
		},
	}
}
