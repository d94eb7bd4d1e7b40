package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// qBittorrent runs qbittorrent-nox with a profile of its own, steered through
// its web API, which asks nobody on loopback for a password.
func qBittorrent(tb testing.TB, job Job) *Peer {
	tb.Helper()
	port, webPort := freePort(tb), freePort(tb)
	profile := tb.TempDir()
	config := filepath.Join(profile, "qBittorrent", "config")
	encryption := map[Encryption]int{"": 0, Allowed: 0, Required: 1, Off: 2}[job.Encryption]
	settings := fmt.Sprintf(`[LegalNotice]
Accepted=true
[Preferences]
Connection\ResolvePeerCountries=false
WebUI\Address=127.0.0.1
WebUI\Port=%d
WebUI\LocalHostAuth=false
WebUI\UseUPnP=false
[Network]
PortForwardingEnabled=false
[BitTorrent]
Session\InterfaceAddress=%s
Session\Port=%d
Session\Encryption=%d
Session\PeXEnabled=%t
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\BTProtocol=TCP
Session\MultiConnectionsPerIp=true
Session\QueueingSystemEnabled=false
Session\Preallocation=false
Session\BandwidthSchedulerEnabled=false
`, webPort, job.IP, port, encryption, job.PEX)
	if err := errors.Join(os.MkdirAll(config, 0o700), os.WriteFile(filepath.Join(config, "qBittorrent.conf"), []byte(settings), 0o600)); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("qbittorrent-nox", "--profile="+profile)
	cmd.Env = append(os.Environ(), "HOME="+profile) // it looks there too
	p := start(tb, cmd)
	web := qBittorrentWeb{base: fmt.Sprintf("http://127.0.0.1:%d/api/v2/", webPort)}
	p.poll(tb, "qbittorrent-nox", func() error {
		_, err := web.call("app/version", nil)
		return err
	})
	if err := web.add(job); err != nil {
		tb.Fatal(err)
	}
	peer := &Peer{Addr: hostPort(job.IP, port), process: p, state: web.state}
	p.poll(tb, "qbittorrent-nox", func() error { return accepts(peer.Addr) })
	return peer
}

// qBittorrentWeb is one program's remote control.
type qBittorrentWeb struct{ base string }

// call posts a form, or asks when there is none.
func (w qBittorrentWeb) call(method string, form *multipartForm) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, w.base+method, nil)
	if form != nil {
		req, err = http.NewRequest(http.MethodPost, w.base+method, &form.body)
	}
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", form.w.FormDataContentType())
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("qbittorrent-nox: %s: %s: %s", method, res.Status, body)
	}
	return body, err
}

// multipartForm is what the API takes torrents in.
type multipartForm struct {
	body bytes.Buffer
	w    *multipart.Writer
}

func (w qBittorrentWeb) add(job Job) error {
	form := &multipartForm{}
	form.w = multipart.NewWriter(&form.body)
	errs := []error{
		form.w.WriteField("savepath", job.Dir),
		form.w.WriteField("contentLayout", "Original"),
		form.w.WriteField("autoTMM", "false"),
	}
	if strings.HasPrefix(job.Source, "magnet:") {
		errs = append(errs, form.w.WriteField("urls", job.Source))
	} else {
		b, err := os.ReadFile(job.Source)
		f, ferr := form.w.CreateFormFile("torrents", "made.torrent")
		if err := errors.Join(err, ferr); err != nil {
			return err
		}
		_, err = f.Write(b)
		errs = append(errs, err)
	}
	if err := errors.Join(append(errs, form.w.Close())...); err != nil {
		return err
	}
	answer, err := w.call("torrents/add", form)
	if err == nil && string(answer) != "Ok." {
		err = fmt.Errorf("qbittorrent-nox does not take the torrent: %s", answer)
	}
	return err
}

func (w qBittorrentWeb) state() (s State, err error) {
	b, err := w.call("torrents/info", nil)
	if err != nil {
		return s, err
	}
	var torrents []struct {
		State    string
		Progress float64
		Uploaded int64
	}
	if err := json.Unmarshal(b, &torrents); err != nil {
		return s, err
	}
	for _, t := range torrents {
		// Seeding, with and without somebody who takes; not while it checks or moves.
		s.Complete = t.Progress == 1 && (t.State == "stalledUP" || t.State == "uploading" || t.State == "forcedUP")
		s.Uploaded = t.Uploaded
		if t.State == "error" || t.State == "missingFiles" {
			err = errors.New("qbittorrent-nox: " + t.State)
		}
	}
	return s, err
}

func qBittorrentVersion(tb testing.TB) string {
	tb.Helper()
	cmd := exec.Command("qbittorrent-nox", "--version")
	cmd.Env = append(os.Environ(), "HOME="+tb.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("qbittorrent-nox (make test installs it): %v\n%s", err, out)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "qBittorrent v")
}
