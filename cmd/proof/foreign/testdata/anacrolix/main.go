// Anacrolix runs the client of github.com/anacrolix/torrent as a foreign peer
// in weir's tests. Its argument is a job in JSON, see peer.go; for every line on
// standard input it prints its state. It ends with its input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	g "github.com/anacrolix/generics"
	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/mse"
	"github.com/anacrolix/torrent/storage"
)

type job struct {
	Source, Dir, IP, Encryption string
	Port                        int
	PEX                         bool

	// Peers to read everything from once, from its begin to its end and into
	// memory, instead of the above.
	Peers []string
}

type state struct {
	Complete bool  `json:"complete"`
	Uploaded int64 `json:"uploaded"`
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arg string) error {
	var j job
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return err
	}
	if len(j.Peers) > 0 {
		return measure(j)
	}
	c, t, err := open(j)
	if err != nil {
		return err
	}
	defer func() { c.Close() }()
	opened := time.Now()
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		s := stateOf(t)
		if !j.PEX && !s.Complete && t.Stats().TotalPeers == 0 && time.Since(opened) > restartAfter {
			fmt.Fprintln(os.Stderr, "knows no peer: starting again")
			c.WriteStatus(os.Stderr)
			c.Close()
			<-c.Closed()
			if c, t, err = open(j); err != nil {
				return err
			}
			opened = time.Now()
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// restartAfter is when a client that knows no peer starts again: about one in forty never
// announces itself, neither when it starts nor later.
const restartAfter = 15 * time.Second

// open starts a client that downloads everything.
func open(j job) (*torrent.Client, *torrent.Torrent, error) {
	c, err := torrent.NewClient(config(j))
	for tries := 0; err != nil && tries < 20; tries++ { // the port may be in use still
		time.Sleep(100 * time.Millisecond)
		c, err = torrent.NewClient(config(j))
	}
	if err != nil {
		return nil, nil, err
	}
	t, err := add(c, j)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	go func() {
		<-t.GotInfo()
		t.DownloadAll()
	}()
	return c, t, nil
}

func stateOf(t *torrent.Torrent) state {
	stats := t.Stats()
	return state{
		Complete: t.Info() != nil && t.BytesMissing() == 0,
		Uploaded: stats.BytesWrittenData.Int64(),
	}
}

func config(j job) *torrent.ClientConfig {
	cfg := torrent.NewDefaultClientConfig()
	cfg.DataDir = j.Dir
	cfg.DefaultStorage = storage.NewFileOpts(storage.NewFileClientOpts{
		ClientBaseDir:   j.Dir,
		PieceCompletion: storage.NewMapPieceCompletion(),
		UsePartFiles:    g.Some(false), // files have their names from the start
	})
	cfg.Seed = true
	cfg.ListenHost = func(string) string { return j.IP }
	cfg.ListenPort = j.Port
	if v6 := net.ParseIP(j.IP).To4() == nil; v6 {
		cfg.DisableIPv4 = true
	} else {
		cfg.DisableIPv6 = true
	}
	cfg.NoDHT, cfg.DisableUTP, cfg.NoDefaultPortForwarding = true, true, true
	cfg.DisableWebtorrent, cfg.DisableWebseeds = true, true
	cfg.DisablePEX = !j.PEX
	switch p := &cfg.HeaderObfuscationPolicy; j.Encryption {
	case "required":
		p.Preferred, p.RequirePreferred = true, true
		cfg.CryptoProvides = mse.CryptoMethodRC4
		cfg.CryptoSelector = func(mse.CryptoMethod) mse.CryptoMethod { return mse.CryptoMethodRC4 }
	case "off":
		p.Preferred, p.RequirePreferred = false, true
	}
	return cfg
}

func add(c *torrent.Client, j job) (*torrent.Torrent, error) {
	if strings.HasPrefix(j.Source, "magnet:") {
		return c.AddMagnet(j.Source)
	}
	mi, err := metainfo.LoadFromFile(j.Source)
	if err != nil {
		return nil, err
	}
	return c.AddTorrent(mi)
}
