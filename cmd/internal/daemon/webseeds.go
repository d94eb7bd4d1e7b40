package daemon

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

// webSeeds says what a torrent's web seeds do: those that its swarm tells of, or while
// it is cold the URLs that are known. No URL has a user or a password.
func webSeeds(known []string, told []engine.WebSeed, info *weir.TorrentInfo) []api.WebSeed {
	out := []api.WebSeed{}
	for _, s := range told {
		d := api.WebSeed{URL: s.URL, State: string(s.State), Rate: int64(s.Rate), Received: s.Received, Error: s.Why, Newer: s.Newer}
		for _, i := range s.Stale {
			if info != nil && i < len(info.Files) {
				d.Stale = append(d.Stale, strings.Join(info.Files[i].Path, "/"))
			}
		}
		out = append(out, d)
	}
	if len(told) > 0 {
		return out
	}
	for _, k := range known {
		if u, err := url.Parse(k); err == nil {
			u.User = nil
			out = append(out, api.WebSeed{URL: u.String(), State: string(engine.WebSeedUntried)})
		}
	}
	return out
}

// webSeedLines is what the extended attribute says.
func webSeedLines(told []engine.WebSeed) string {
	var b strings.Builder
	for _, s := range told {
		fmt.Fprintf(&b, "%s %s %d\n", s.URL, s.State, int64(s.Rate))
	}
	return b.String()
}
