package foreign

import (
	"os/exec"
	"strconv"
	"testing"
)

// Aria2 seeds with aria2c.
func Aria2(tb testing.TB, ip string, seed Seed) *Seeder {
	tb.Helper()
	port := freePort(tb, ip)
	p := start(tb, exec.Command("aria2c", "--no-conf",
		"--dir", seed.Dir, "--interface", ip, "--listen-port", strconv.Itoa(port),
		"--check-integrity=true", "--seed-ratio=0.0", "--allow-overwrite=false",
		"--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
		"--console-log-level=notice", "--show-console-readout=false", "--summary-interval=0",
		seed.Torrent))
	addr := hostPort(ip, port)
	p.poll(tb, "aria2c", func() error { return accepts(addr) })
	return &Seeder{Addr: addr}
}
