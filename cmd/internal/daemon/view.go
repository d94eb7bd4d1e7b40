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
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
)

var _ control.Mount = (*Daemon)(nil)

// Server implements control.Mount.
func (d *Daemon) Server() api.Server {
	point, err := filepath.Abs(d.opt.Mountpoint)
	if err != nil {
		point = d.opt.Mountpoint
	}
	return api.Server{
		Version: d.opt.Version, PID: os.Getpid(), Mountpoint: point, CacheDir: d.opt.CacheDir, Port: d.engine.Port(),
		Started: d.started.UTC(), Torrents: d.Count(), Ephemeral: d.opt.Ephemeral,
	}
}

// state is what the engine says, and whether all is here.
func (t *torrent) state(s engine.Stats) api.State {
	if sh := t.known(); sh != nil && t.held(sh) >= sh.Length {
		return api.StateComplete
	}
	return api.State(s.State)
}

// have returns how many bytes of the files are held. The caller has Daemon.mu.
func (e *entry) have() int64 {
	s := e.known()
	if s == nil {
		return 0
	}
	return e.held(s)
}

// Torrents implements control.Mount.
func (d *Daemon) Torrents() []api.Torrent {
	list := d.list()
	out := make([]api.Torrent, len(list))
	for i, e := range list {
		out[i] = d.view(e, e.Stats())
	}
	return out
}

func (d *Daemon) view(e *entry, s engine.Stats) api.Torrent {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := api.Torrent{
		InfoHash: e.InfoHash().String(), Path: e.path(), State: e.state(s), Wait: s.Why, Added: e.rec.Added,
		SizeBytes: e.rec.size(), HaveBytes: e.have(),
		Peers: s.Peers, Seeds: s.Seeds, Availability: s.Availability,
		DownloadRate: int64(s.DownRate), UploadRate: int64(s.UpRate), Downloaded: s.Downloaded, Uploaded: s.Uploaded,
	}
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
		for _, run := range d.cache.Pinned(e.InfoHash()) {
			t.PinnedBytes += sh.content(min(int64(run[1])*sh.pieceLength, sh.skeleton.Length) - int64(run[0])*sh.pieceLength)
		}
	}
	return t
}

// Torrent implements control.Mount.
func (d *Daemon) Torrent(id string) (api.TorrentDetails, error) {
	e, err := d.named(strings.Trim(id, "/"))
	if err != nil {
		return api.TorrentDetails{}, err
	}
	s := e.Stats()
	t := api.TorrentDetails{
		Torrent: d.view(e, s), Trackers: [][]string{}, WebSeeds: []string{}, Announces: append([]string{}, s.Trackers...),
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
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t.Name == "" {
		t.Name = string(e.rec.Name)
	}
	t.Trackers, t.WebSeeds = append(t.Trackers, e.rec.Trackers...), append(t.WebSeeds, e.rec.WebSeeds...)
	t.Magnet = magnet(e.InfoHash(), &e.rec)
	return t, nil
}

// magnet returns a link that leads to the torrent.
func magnet(ih weir.InfoHash, r *record) string {
	m := "magnet:?xt=urn:btih:" + ih.String()
	if len(r.HashV2) == 32 {
		v2 := fmt.Sprintf("urn:btmh:1220%x", r.HashV2)
		if weir.InfoHash(r.HashV2[:20]) == ih { // v2 alone
			m = "magnet:?xt=" + v2
		} else {
			m += "&xt=" + v2
		}
	}
	if len(r.Name) > 0 {
		m += "&dn=" + url.QueryEscape(string(r.Name))
	}
	for _, tier := range r.Trackers {
		for _, tr := range tier {
			m += "&tr=" + url.QueryEscape(tr)
		}
	}
	for _, ws := range r.WebSeeds {
		m += "&ws=" + url.QueryEscape(ws)
	}
	return m
}

// Handles implements control.Mount.
func (d *Daemon) Handles() []api.Handle {
	var out []api.Handle
	for _, h := range d.fs.Handles() {
		out = append(out, viewHandle(h))
	}
	return out
}

func viewHandle(h fs.HandleInfo) api.Handle {
	return api.Handle{Path: h.Path, PID: int(h.PID), Program: h.Program, Opened: h.Opened.UTC(), Ahead: h.Ahead}
}

// Waits implements control.Mount.
func (d *Daemon) Waits() []api.Wait {
	var out []api.Wait
	for _, w := range d.fs.Waiting() {
		out = append(out, d.viewWait(w))
	}
	return out
}

func (d *Daemon) viewWait(w fs.Wait) api.Wait {
	v := api.Wait{
		Path: w.Path, Off: w.Range.Off, Bytes: w.Range.Len(), PID: int(w.PID), Program: w.Program,
		Seconds: time.Since(w.Since).Seconds(), For: "peers to send it",
	}
	if v.Bytes == 0 {
		v.For = "the metadata"
	}
	if e := d.byHash(w.Torrent); e != nil {
		if why := e.Stats().Why; why != "" {
			v.For = why
		}
	}
	return v
}

// Status implements control.Mount. It waits for nothing.
func (d *Daemon) Status(_ context.Context, p string) (api.PathStatus, error) {
	p = strings.Trim(p, "/")
	list, inside, err := d.find(p)
	if err != nil {
		return api.PathStatus{}, err
	}
	if len(list) != 1 || d.isFolder(p) {
		return api.PathStatus{}, fmt.Errorf("%q is a folder of torrents: name a torrent, or a file or folder in one (weir ls lists torrents): %w", p, weir.ErrInvalid)
	}
	e := list[0]
	s := e.Stats()
	out := api.PathStatus{Path: p, Torrent: d.view(e, s), Waits: []api.Wait{}, Handles: []api.Handle{}, Trackers: append([]string{}, s.Trackers...)}
	if info := e.Info(); info != nil {
		t, err := d.locate(e, info, inside)
		if err != nil {
			return api.PathStatus{}, err
		}
		inside = t.inside
		d.measure(&out, t)
		hideLinks(&out, t.info, t.names)
		if only := e.SelectOnly(); only != nil && inside == "" {
			t := newTarget(e, info, only)
			out.Selected = &api.Selected{Files: len(only), SizeBytes: t.bytes, HaveBytes: t.held()}
		}
	}
	real := path.Join(out.Torrent.Path, inside) // links followed
	for _, w := range d.fs.Waiting() {
		if within(w.Path, real) {
			out.Waits = append(out.Waits, d.viewWait(w))
		}
	}
	for _, h := range d.fs.Handles() {
		if within(h.Path, real) {
			out.Handles = append(out.Handles, viewHandle(h))
		}
	}
	return out, nil
}

func (d *Daemon) isFolder(p string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.entries.folders[p]
	return ok || p == ""
}

// measure fills in what is held and pinned of a path.
func (d *Daemon) measure(out *api.PathStatus, t *target) {
	out.SizeBytes, out.HaveBytes = t.bytes, t.held()
	held := d.cache.Held(t.InfoHash(), t.info.NumPieces())
	pinned := d.cache.Pinned(t.InfoHash())
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

// hideLinks tells of the links beneath a folder, or the torrent's own, that are not
// shown. names is where that folder is in the torrent.
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

// limits are the rates in force.
type limits struct {
	mu               sync.Mutex
	upload, download int64
}

// Limits implements control.Mount.
func (d *Daemon) Limits() api.Limits {
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	return api.Limits{UploadRate: d.limits.upload, DownloadRate: d.limits.download}
}

// SetLimits implements control.Mount.
func (d *Daemon) SetLimits(change api.LimitsChange) (api.Limits, error) {
	for _, v := range []*int64{change.UploadRate, change.DownloadRate} {
		if v != nil && *v < 0 {
			return api.Limits{}, fmt.Errorf("a rate of %d: want bytes per second, 0 for no limit: %w", *v, weir.ErrInvalid)
		}
	}
	d.limits.mu.Lock()
	if change.UploadRate != nil {
		d.limits.upload = *change.UploadRate
	}
	if change.DownloadRate != nil {
		d.limits.download = *change.DownloadRate
	}
	d.engine.SetLimits(d.limits.upload, d.limits.download)
	d.limits.mu.Unlock()
	return d.Limits(), nil
}
