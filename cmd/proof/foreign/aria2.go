package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// aria2 runs aria2c, asked through its RPC.
func aria2(tb testing.TB, job Job) *Peer {
	tb.Helper()
	port, rpcPort := freePort(tb), freePort(tb)
	args := []string{"--no-conf",
		"--dir", job.Dir, "--interface", job.IP, "--listen-port", strconv.Itoa(port),
		"--check-integrity=true", "--seed-ratio=0.0", "--allow-overwrite=true",
		"--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
		"--enable-peer-exchange=" + strconv.FormatBool(job.PEX),
		"--disable-ipv6=" + strconv.FormatBool(!isIPv6(job.IP)),
		"--bt-tracker-interval=2",
		"--enable-rpc", "--rpc-listen-port", strconv.Itoa(rpcPort),
		"--console-log-level=notice", "--show-console-readout=false", "--summary-interval=0"}
	if job.Encryption == Required {
		args = append(args, "--bt-force-encryption=true", "--bt-min-crypto-level=arc4")
	}
	p := start(tb, exec.Command("aria2c", append(args, job.Source)...))
	peer := &Peer{Addr: net.JoinHostPort(job.IP, strconv.Itoa(port)), process: p}
	url := fmt.Sprintf("http://127.0.0.1:%d/jsonrpc", rpcPort)
	peer.state = func() (State, error) { return aria2State(url) }
	p.poll(tb, "aria2c", func() error { return accepts(peer.Addr) })
	return peer
}

// aria2State asks for what is active: the torrent, or before it the fetching of
// its metadata, which ends when it is complete.
func aria2State(url string) (s State, err error) {
	question := []byte(`{"jsonrpc":"2.0","id":"1","method":"aria2.tellActive","params":[["seeder","uploadLength","numPieces"]]}`)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(url, "application/json", bytes.NewReader(question))
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	var answer struct {
		Result []struct{ Seeder, UploadLength string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return s, fmt.Errorf("aria2c: %s: %w", res.Status, err)
	}
	for _, r := range answer.Result {
		s.Complete = s.Complete || r.Seeder == "true"
		n, _ := strconv.ParseInt(r.UploadLength, 10, 64)
		s.Uploaded += n
	}
	return s, nil
}

func aria2Version(tb testing.TB) string {
	tb.Helper()
	return strings.Fields(run(tb, "aria2c", "--version"))[2] // aria2 version 1.36.0
}
