package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seeding is the status that transmission's RPC gives a torrent which is
// complete, checked and offered (TR_STATUS_SEED).
const seeding = 6

// transmission runs transmission-daemon, steered through its RPC.
func transmission(tb testing.TB, job Job) *Peer {
	tb.Helper()
	port, rpcPort := freePort(tb), freePort(tb)
	config := filepath.Join(tb.TempDir(), "transmission")
	settings, err := json.Marshal(map[string]any{"pex-enabled": job.PEX, "speed-limit-up-enabled": false})
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(config, 0o700), os.WriteFile(filepath.Join(config, "settings.json"), settings, 0o600)); err != nil {
		tb.Fatal(err)
	}
	ip4, ip6 := job.IP, "::1"
	if isIPv6(job.IP) {
		ip4, ip6 = "127.0.0.1", job.IP
	}
	encryption := "--encryption-tolerated"
	if job.Encryption == Required {
		encryption = "--encryption-required"
	}
	p := start(tb, exec.Command("transmission-daemon", "--foreground",
		"--config-dir", config, "--download-dir", job.Dir, encryption,
		"--bind-address-ipv4", ip4, "--bind-address-ipv6", ip6, "--peerport", strconv.Itoa(port),
		"--rpc-bind-address", "127.0.0.1", "--port", strconv.Itoa(rpcPort),
		"--allowed", "127.*.*.*", "--no-auth",
		"--no-dht", "--no-lpd", "--no-utp", "--no-portmap", "--no-global-seedratio"))

	rpc := transmissionRPC{url: fmt.Sprintf("http://127.0.0.1:%d/transmission/rpc", rpcPort)}
	p.poll(tb, "transmission-daemon", func() error {
		return rpc.call("torrent-add", map[string]any{"filename": job.Source, "paused": false}, nil)
	})
	// Content that was there before the torrent has to be checked first.
	if here, err := os.ReadDir(job.Dir); err == nil && len(here) > 0 {
		if err := rpc.call("torrent-verify", map[string]any{}, nil); err != nil {
			tb.Fatal(err)
		}
	}
	peer := &Peer{Addr: hostPort(job.IP, port), process: p, state: rpc.state}
	p.poll(tb, "transmission-daemon", func() error { return accepts(peer.Addr) })
	return peer
}

func (r *transmissionRPC) state() (s State, err error) {
	var got struct {
		Torrents []struct {
			Status       int
			PercentDone  float64
			ErrorString  string
			UploadedEver int64
		}
	}
	err = r.call("torrent-get", map[string]any{"fields": []string{"status", "percentDone", "errorString", "uploadedEver"}}, &got)
	for _, t := range got.Torrents {
		s.Complete = t.Status == seeding && t.PercentDone == 1
		s.Uploaded = t.UploadedEver
		if t.ErrorString != "" {
			err = errors.Join(err, errors.New(t.ErrorString))
		}
	}
	return s, err
}

func transmissionVersion(tb testing.TB) string {
	tb.Helper()
	return strings.Fields(run(tb, "transmission-daemon", "--version"))[1] // transmission-daemon 3.00 (…)
}

// transmissionRPC is one daemon's remote control.
type transmissionRPC struct {
	url   string
	token string // the daemon hands it out, and wants it back, against forgery
}

// call runs one method and fills result from its answer, when result is not nil.
func (r *transmissionRPC) call(method string, arguments map[string]any, result any) error {
	body, err := json.Marshal(map[string]any{"method": method, "arguments": arguments})
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 2 { // the first call only learns the token
		req, err := http.NewRequest(http.MethodPost, r.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Transmission-Session-Id", r.token)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		if res.StatusCode == http.StatusConflict {
			r.token = res.Header.Get("X-Transmission-Session-Id")
			res.Body.Close()
			continue
		}
		answer := struct {
			Result    string
			Arguments json.RawMessage
		}{}
		err = json.NewDecoder(res.Body).Decode(&answer)
		res.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %s: %w", method, res.Status, err)
		case answer.Result != "success":
			return fmt.Errorf("%s: %s", method, answer.Result)
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Arguments, result)
	}
	return errors.New("transmission-daemon refuses its own token")
}
