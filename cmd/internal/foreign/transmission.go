package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// seeding is the status that transmission's RPC gives a torrent which is
// complete, checked and offered (TR_STATUS_SEED).
const seeding = 6

// Transmission seeds with transmission-daemon, steered through its RPC.
func Transmission(tb testing.TB, ip string, seed Seed) *Seeder {
	tb.Helper()
	port, rpcPort := freePort(tb, ip), freePort(tb, ip)
	p := start(tb, exec.Command("transmission-daemon", "--foreground",
		"--config-dir", filepath.Join(tb.TempDir(), "transmission"),
		"--download-dir", seed.Dir,
		"--bind-address-ipv4", ip, "--bind-address-ipv6", "::1", "--peerport", strconv.Itoa(port),
		"--rpc-bind-address", ip, "--port", strconv.Itoa(rpcPort),
		"--allowed", "127.*.*.*", "--no-auth",
		"--no-dht", "--no-lpd", "--no-utp", "--no-portmap", "--no-global-seedratio"))

	rpc := transmissionRPC{url: fmt.Sprintf("http://%s/transmission/rpc", hostPort(ip, rpcPort))}
	p.poll(tb, "transmission-daemon", func() error {
		return rpc.call("torrent-add", map[string]any{"filename": seed.Torrent, "paused": false}, nil)
	})
	// Content that was there before the torrent has to be checked first.
	if err := rpc.call("torrent-verify", map[string]any{}, nil); err != nil {
		tb.Fatal(err)
	}
	p.poll(tb, "transmission-daemon", func() error {
		var got struct {
			Torrents []struct {
				Status      int
				PercentDone float64
				ErrorString string
			}
		}
		if err := rpc.call("torrent-get", map[string]any{"fields": []string{"status", "percentDone", "errorString"}}, &got); err != nil {
			return err
		}
		for _, t := range got.Torrents {
			if t.Status == seeding && t.PercentDone == 1 {
				return accepts(hostPort(ip, port))
			}
		}
		return fmt.Errorf("not seeding yet: %+v", got)
	})
	return &Seeder{Addr: hostPort(ip, port)}
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
