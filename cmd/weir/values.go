package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
)

// byteSize is a flag for a number of bytes with a unit.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*b))
}

func (b *byteSize) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<62 {
		return fmt.Errorf("want a size such as 500MB or 20GiB, got %q", s)
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) Type() string { return "SIZE" }

// metadataSize is a flag for the bound on an info dictionary.
type metadataSize int64

func (m *metadataSize) String() string { return (*byteSize)(m).String() }

func (m *metadataSize) Set(s string) error {
	var b byteSize
	if err := b.Set(s); err != nil {
		return err
	}
	if b > source.MaxMetainfoBytes {
		return fmt.Errorf("want %s at most, got %q", humanize.IBytes(source.MaxMetainfoBytes), s)
	}
	*m = metadataSize(b)
	return nil
}

func (m *metadataSize) Type() string { return "SIZE" }

// encryption is a flag for when to encrypt connections.
type encryption engine.Encryption

var encryptions = map[string]encryption{
	"allowed":  encryption(engine.EncryptionAllowed),
	"required": encryption(engine.EncryptionRequired),
	"off":      encryption(engine.EncryptionOff),
}

func (e *encryption) String() string {
	for name, v := range encryptions {
		if v == *e {
			return name
		}
	}
	return ""
}

func (e *encryption) Set(s string) error {
	v, ok := encryptions[s]
	if !ok {
		return fmt.Errorf("want allowed, required or off, got %q", s)
	}
	*e = v
	return nil
}

func (e *encryption) Type() string { return "WHEN" }

// waitTime is a flag for how long something may take.
type waitTime time.Duration

func (d *waitTime) String() string { return time.Duration(*d).String() }

func (d *waitTime) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("want a time such as 500ms, 30s or 5m, got %q", s)
	}
	*d = waitTime(v)
	return nil
}

// Type is the library's word, so that FlagSet.GetDuration knows it.
func (d *waitTime) Type() string { return "duration" }

// seedMode is a flag for which torrents are given to whoever asks.
type seedMode string

func (m *seedMode) String() string { return string(*m) }

func (m *seedMode) Set(s string) error {
	switch s {
	case sharing.SeedAll, sharing.SeedPinned, sharing.SeedNone:
		*m = seedMode(s)
		return nil
	}
	return fmt.Errorf("want all, pinned or none, got %q", s)
}

func (m *seedMode) Type() string { return "WHICH" }

// ratio is a flag for how much is given per byte that was fetched.
type ratio float64

func (r *ratio) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*r), 'g', -1, 64)
}

func (r *ratio) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v < 1e9) {
		return fmt.Errorf("want a number above 0 such as 1.5, got %q", s)
	}
	*r = ratio(v)
	return nil
}

func (r *ratio) Type() string { return "N" }

// seedTime is a flag for how long a torrent is given to others.
type seedTime time.Duration

func (d *seedTime) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *seedTime) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("want a time such as 30m or 72h, got %q", s)
	}
	*d = seedTime(v)
	return nil
}

func (d *seedTime) Type() string { return "TIME" }

// newLog returns a log of text lines, whose errors read as on standard error.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(weir.ErrorText(err))
		}
		return a
	}}))
}

// peerList is a flag for addresses of peers, which may be repeated.
type peerList []string

func (p *peerList) String() string { return strings.Join(*p, ",") }

// Set adds one: a flag that may be repeated has no other meaning for it.
func (p *peerList) Set(s string) error { return p.Append(s) }

func (p *peerList) Append(s string) error {
	peer, err := source.ParsePeer(s)
	if err != nil {
		return fmt.Errorf("want HOST:PORT, such as 192.0.2.7:6881, [2001:db8::1]:6881 or host.example:6881, got %q", s)
	}
	*p = append(*p, peer)
	return nil
}

func (p *peerList) Replace(all []string) error {
	*p = nil
	for _, s := range all {
		if err := p.Append(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *peerList) GetSlice() []string { return *p }

func (p *peerList) Type() string { return "peers" }

// listenAddress is a flag for where to accept connections. Whether the address is free,
// and one of this machine, shows when it is opened.
type listenAddress string

func (a *listenAddress) String() string { return string(*a) }

func (a *listenAddress) Set(s string) error {
	if s == "" { // the default
		*a = ""
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("want HOST:PORT or :PORT, with a port from 0 to 65535, got %q", s)
	}
	*a = listenAddress(s)
	return nil
}

func (a *listenAddress) Type() string { return "address" }

// peerListenAddress is a listenAddress, or "off".
type peerListenAddress string

func (a *peerListenAddress) String() string { return string(*a) }

func (a *peerListenAddress) Set(s string) error {
	if s == "off" {
		*a = "off"
		return nil
	}
	if err := (*listenAddress)(a).Set(s); err != nil {
		return fmt.Errorf("want HOST:PORT, :PORT or off, with a port from 0 to 65535, got %q", s)
	}
	return nil
}

func (a *peerListenAddress) Type() string { return "address" }

// logLevel is a flag for what is logged.
type logLevel slog.Level

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

func (l *logLevel) String() string {
	for name, v := range logLevels {
		if v == slog.Level(*l) {
			return name
		}
	}
	return ""
}

func (l *logLevel) Set(s string) error {
	v, ok := logLevels[strings.ToLower(s)]
	if !ok {
		return fmt.Errorf("want debug, info, warn or error, got %q", s)
	}
	*l = logLevel(v)
	return nil
}

func (l *logLevel) Type() string { return "LEVEL" }
