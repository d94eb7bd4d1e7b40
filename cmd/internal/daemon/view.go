package daemon

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
)

// view answers questions of the control socket and of metrics.
type view struct {
	opt      *Options
	started  time.Time
	torrents *torrents
	content  *content
	fs       *fs.FS
	cache    *cache.Cache
	engine   *engine.Engine
}

// Server implements control.Mount.
func (v *view) Server() api.Server {
	point := v.opt.Mountpoint
	if abs, err := filepath.Abs(point); err == nil && point != "" {
		point = abs
	}
	return api.Server{
		Version: v.opt.Version, PID: os.Getpid(), Mountpoint: point, CacheDir: v.opt.CacheDir, Port: v.engine.Port(),
		Started: v.started.UTC(), Torrents: v.torrents.count(), Ephemeral: v.opt.Ephemeral,
	}
}

// state is the engine's, or complete if everything is held.
func (t *torrent) state(s engine.Stats) api.State {
	if sh := t.known(); sh != nil && t.held(sh) >= sh.Length {
		return api.StateComplete
	}
	return api.State(s.State)
}

// have returns how many bytes of the files are held. The caller has torrents.mu.
func (e *entry) have() int64 {
	s := e.known()
	if s == nil {
		return 0
	}
	return e.held(s)
}

// Torrents implements control.Mount.
func (v *view) Torrents() []api.Torrent {
	list := v.torrents.list()
	out := make([]api.Torrent, len(list))
	for i, e := range list {
		out[i] = v.torrent(e, e.Stats())
	}
	return out
}

func (v *view) torrent(e *entry, s engine.Stats) api.Torrent {
	v.torrents.mu.RLock()
	defer v.torrents.mu.RUnlock()
	t := api.Torrent{
		InfoHash: e.InfoHash().String(), Path: e.path(), State: e.state(s), Wait: s.Why, Added: e.rec.Added,
		SizeBytes: e.rec.Size(), HaveBytes: e.have(),
		Peers: s.Peers, Seeds: s.Seeds, ActiveWebSeeds: activeWebSeeds(s.WebSeeds), Availability: s.Availability,
		DownloadRate: int64(s.DownRate), UploadRate: int64(s.UpRate)}
	total := v.torrents.sharing.Of(e.InfoHash())
	t.Downloaded, t.Uploaded, t.SeededSeconds = total.Downloaded, total.Uploaded, int64(total.Seeded/time.Second)
	t.Ratio = sharing.Ratio(total, t.HaveBytes)
	t.Offered = e.Offered() && t.HaveBytes > 0
	t.PinPending = len(e.rec.Pin) > 0
	if t.State == api.StateComplete {
		t.Wait = ""
	}
	if m := s.Missed; m != nil {
		t.Missed = &api.Missed{At: m.At.UTC(), Why: m.Why}
	}
	if sh := e.known(); sh != nil {
		if t.SizeBytes == 0 {
			t.SizeBytes = sh.Length
		}
		for _, run := range v.cache.Pinned(e.InfoHash()) {
			t.PinnedBytes += sh.content(min(int64(run[1])*sh.pieceLength, sh.skeleton.Length) - int64(run[0])*sh.pieceLength)
		}
	}
	return t
}

// Torrent implements control.Mount.
func (v *view) Torrent(id string) (api.TorrentDetails, error) {
	e, err := v.torrents.lookup(strings.Trim(id, "/"))
	if err != nil {
		return api.TorrentDetails{}, err
	}
	s := e.Stats()
	t := api.TorrentDetails{
		Torrent: v.torrent(e, s), Trackers: [][]string{}, Announces: append([]string{}, e.Announces()...),
		Known: s.Known, Serving: s.Serving, SwarmSeeds: s.SwarmSeeds, SwarmLeech: s.SwarmLeeches, Waiting: s.Waiting,
		Verified: s.Verified, Failed: s.Failed, Wasted: s.Wasted, Unasked: s.Unasked,
	}
	if info := e.Info(); info != nil {
		t.Name, t.Pieces, t.PieceLength, t.Private = info.Name, info.NumPieces(), info.PieceLength, info.Private
		for i := range info.Files {
			if info.Files[i].Shown() {
				t.Files++
			}
		}
	}
	v.torrents.mu.RLock()
	defer v.torrents.mu.RUnlock()
	if t.Name == "" {
		t.Name = string(e.rec.Name)
	}
	t.Trackers = append(t.Trackers, e.rec.Trackers...)
	t.Sharing = e.settings(v.torrents.sharing)
	t.WebSeeds = webSeeds(e.rec.WebSeeds, s.WebSeeds, e.LoadedInfo())
	t.Magnet = e.rec.Magnet(e.InfoHash())
	return t, nil
}

// Handles implements control.Mount.
func (v *view) Handles() []api.Handle {
	var out []api.Handle
	for _, h := range v.fs.Handles() {
		out = append(out, viewHandle(h))
	}
	return out
}

func viewHandle(h fs.HandleInfo) api.Handle {
	return api.Handle{Path: h.Path, PID: int(h.PID), Program: h.Program, Opened: h.Opened.UTC(), Ahead: h.Ahead}
}

// Waits implements control.Mount.
func (v *view) Waits() []api.Wait {
	var out []api.Wait
	for _, w := range v.fs.Waiting() {
		out = append(out, v.wait(w))
	}
	return out
}

func (v *view) wait(w fs.Wait) api.Wait {
	out := api.Wait{
		Path: w.Path, Off: w.Range.Off, Bytes: w.Range.Len(), PID: int(w.PID), Program: w.Program,
		Seconds: time.Since(w.Since).Seconds(), For: "peers to send it",
	}
	if out.Bytes == 0 {
		out.For = "the metadata"
	}
	if e := v.torrents.byHash(w.Torrent); e != nil {
		if why := e.Stats().Why; why != "" {
			out.For = why
		}
	}
	return out
}

// Status implements control.Mount. It waits for nothing.
func (v *view) Status(_ context.Context, p string) (api.PathStatus, error) {
	p = strings.Trim(p, "/")
	list, inside, err := v.torrents.find(p)
	if err != nil {
		return api.PathStatus{}, err
	}
	if len(list) != 1 || v.torrents.fs.IsFolder(p) {
		return api.PathStatus{}, weir.Errorf(weir.ErrInvalid, "%q is a folder of torrents: name a torrent, or a file or folder in one (weir ls lists torrents)", p)
	}
	e := list[0]
	s := e.Stats()
	v.torrents.mu.RLock()
	own := e.settings(v.torrents.sharing)
	v.torrents.mu.RUnlock()
	out := api.PathStatus{Sharing: own, Path: p, Torrent: v.torrent(e, s), Waits: []api.Wait{}, Handles: []api.Handle{}, Trackers: append([]string{}, e.Announces()...), WebSeeds: webSeeds(nil, s.WebSeeds, e.LoadedInfo())}
	out.WebSeeds = slices.DeleteFunc(out.WebSeeds, func(w api.WebSeed) bool { return w.State == string(engine.WebSeedUntried) })
	v.describeFiles(&out, e)
	if info := e.Info(); info != nil {
		t, err := v.content.locate(e, info, inside)
		if err != nil {
			return api.PathStatus{}, err
		}
		inside = t.inside
		v.measure(&out, t)
		hideLinks(&out, t.info, t.names)
		if only := e.SelectOnly(); only != nil && inside == "" {
			t := newTarget(e, info, only)
			out.Selected = &api.Selected{Files: len(only), SizeBytes: t.bytes, HaveBytes: t.held()}
		}
	}
	real := path.Join(out.Torrent.Path, inside) // links followed
	for _, w := range v.fs.Waiting() {
		if within(w.Path, real) {
			out.Waits = append(out.Waits, v.wait(w))
		}
	}
	for _, h := range v.fs.Handles() {
		if within(h.Path, real) {
			out.Handles = append(out.Handles, viewHandle(h))
		}
	}
	return out, nil
}

// measure fills in what is held and pinned of a path.
func (v *view) measure(out *api.PathStatus, t *target) {
	out.SizeBytes, out.HaveBytes = t.bytes, t.held()
	held := t.store.Held(t.InfoHash(), t.info.NumPieces())
	pinned := v.cache.Pinned(t.InfoHash())
	out.Pinned = true
	for _, run := range t.runs() {
		for i := run[0]; i < run[1]; i++ {
			if t.info.PieceRange(i).Empty() {
				continue // all padding
			}
			out.Pieces++
			if held[i] {
				out.Held++
			}
		}
		out.Pinned = out.Pinned && len(outside(run, pinned)) == 0
	}
	out.Pinned = out.Pinned && out.Pieces > 0
}

// hideLinks lists the links in a folder, or in the whole torrent, that the mount does not
// show. names is the folder's path in the torrent.
func hideLinks(out *api.PathStatus, info *weir.TorrentInfo, names []string) {
	const most = 20
	for i := range info.Files {
		f := &info.Files[i]
		if !f.Hidden || f.Padding || len(f.Path) < len(names) || !slices.Equal(f.Path[:len(names)], names) {
			continue
		}
		out.HiddenLinkCount++
		if len(out.HiddenLinks) < most {
			out.HiddenLinks = append(out.HiddenLinks, strings.Join(f.Path, "/"))
		}
	}
}

// webSeeds says what a torrent's web seeds do, as its swarm reports, or only their URLs
// while it is cold. User and password are removed from URLs.
func webSeeds(known []string, reported []engine.WebSeed, info *weir.TorrentInfo) []api.WebSeed {
	out := []api.WebSeed{}
	for _, s := range reported {
		d := api.WebSeed{URL: s.URL, State: string(s.State), Rate: int64(s.Rate), Received: s.Received, Error: s.Why, Newer: s.Newer}
		for _, i := range s.Stale {
			if info != nil && i < len(info.Files) {
				d.Stale = append(d.Stale, strings.Join(info.Files[i].Path, "/"))
			}
		}
		out = append(out, d)
	}
	if len(reported) > 0 {
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

// activeWebSeeds counts the web seeds that are asked, or may be as soon as there is
// something to ask for.
func activeWebSeeds(reported []engine.WebSeed) (n int) {
	for _, s := range reported {
		if s.State == engine.WebSeedBusy || s.State == engine.WebSeedReady {
			n++
		}
	}
	return n
}

// webSeedLines is the value of the extended attribute.
func webSeedLines(reported []engine.WebSeed) string {
	var b strings.Builder
	for _, s := range reported {
		fmt.Fprintf(&b, "%s %s %d\n", s.URL, s.State, int64(s.Rate))
	}
	return b.String()
}
