package foreign_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/cmd/proof/foreign"
)

// web is one way to serve a folder of files with nginx, and to read it.
type web struct {
	version foreign.Property
	serve   foreign.Web
	rewrite string // what a server in front makes of "/", which redirects there
	file    bool   // a file and no folder
	base    string // what follows the server's address
	refuses bool   // it answers some requests with 503
	whole   bool   // it sends whole files
	listing bool   // another web seed leads to the listing of a folder
}

// TestWeb: each file is read right from a web server that others wrote, without any peer.
func TestWeb(t *testing.T) {
	for name, w := range map[string]web{
		"V1":           {version: foreign.V1, base: "/"},
		"Hybrid":       {version: foreign.Hybrid, base: "/"},
		"V2":           {version: foreign.V2, base: "/"},
		"NoSlash":      {version: foreign.Hybrid},
		"Password":     {version: foreign.V1, serve: foreign.Web{User: "me", Password: "s p@/%é"}, base: "/"},
		"Redirects":    {version: foreign.V1, rewrite: "/14/items/", base: "/"},
		"SlowPerConn":  {version: foreign.Hybrid, serve: foreign.Web{Directives: "limit_rate 600k;"}, base: "/"},
		"OneRequest":   {version: foreign.V1, serve: foreign.Web{Directives: "keepalive_timeout 0;"}, base: "/"},
		"File":         {version: foreign.V1, file: true, base: "/a%20file%20%5B1%5D.bin"},
		"FileBeneath":  {version: foreign.V2, file: true, base: "/"},
		"FewRequests":  {version: foreign.V1, serve: foreign.Web{HTTP: "limit_req_zone $binary_remote_addr zone=r:1m rate=20r/s;", Directives: "limit_req zone=r burst=3 nodelay;"}, base: "/", refuses: true},
		"OneConn":      {version: foreign.V2, serve: foreign.Web{HTTP: "limit_conn_zone $binary_remote_addr zone=c:1m;", Directives: "limit_conn c 1;"}, base: "/", refuses: true},
		"Listing":      {version: foreign.V1, file: true, base: "/", listing: true},
		"SmallAsWhole": {version: foreign.V1, serve: foreign.Web{Directives: "max_ranges 0;"}, base: "/small/", whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.test(t)
		})
	}
}

// TestWebTLS: the same over HTTP/2, with a certificate of an authority of the user's own.
func TestWebTLS(t *testing.T) {
	ca := weirtest.NewAuthority(t)
	t.Setenv("SSL_CERT_FILE", ca.File)
	w := web{version: foreign.Hybrid, serve: foreign.Web{TLS: ca}, base: "/"}
	for _, r := range w.test(t) {
		if r.Protocol != "HTTP/2.0" {
			t.Errorf("%s by %s", r.Path, r.Protocol)
		}
	}
}

// test reads everything, and returns what nginx was asked.
func (w web) test(t *testing.T) []foreign.Request {
	const name = "odd names + files"
	var path string
	switch {
	case w.file:
		path = filepath.Join(t.TempDir(), "a file [1].bin")
		foreign.Fill(t, path, 1<<20+5)
	case w.base == "/small/":
		path = filepath.Join(t.TempDir(), "small", name)
		for file, size := range map[string]int{"a": 200_000, "b": 100_000, "c": 5} {
			foreign.Fill(t, filepath.Join(path, file), size)
		}
	default:
		path = foreign.Folder(t, name)
		for file, size := range map[string]int{
			"q?a=b&c=d;e": 40_000, "plus+plus": 40_001, "100%25": 40_002, "%41": 40_003, "back\\slash": 40_004, "hash#": 40_005,
			"colon:": 5, "~.-_!$'()*,@": 100, "e\u0301": 99, "é": 98,
		} {
			if w.version != foreign.V1 && strings.Contains(file, "\\") || w.rewrite != "" && strings.Contains(file, "?") {
				continue // libtorrent makes something else of the one, and nginx's rewrite of the other
			}
			foreign.Fill(t, filepath.Join(path, file), size)
		}
	}
	w.serve.Dir = filepath.Dir(path)
	if w.base == "/small/" {
		w.serve.Dir = filepath.Dir(w.serve.Dir)
	}
	if w.rewrite != "" {
		// The files are beneath another folder at the node.
		root := t.TempDir()
		at := filepath.Join(root, w.rewrite)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(w.serve.Dir, at); err != nil {
			t.Fatal(err)
		}
		w.serve.Dir = root
	}
	node := foreign.OpenNginx(t, w.serve)
	first := node
	if w.rewrite != "" {
		first = foreign.OpenNginx(t, foreign.Web{Dir: t.TempDir(), Directives: "rewrite ^/(.*)$ " + node.URL + w.rewrite + "$1 permanent;"})
	}
	u, err := url.Parse(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	if w.serve.User != "" {
		u.User = url.UserPassword(w.serve.User, w.serve.Password)
	}
	seeds := []string{u.String() + w.base}
	if w.listing {
		folder := filepath.Join(t.TempDir(), "listed")
		if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, foreign.OpenNginx(t, foreign.Web{Dir: folder}).URL+"/sub")
	}
	making := foreign.Making{Path: path, Announce: nowhere, PieceBytes: 32 << 10, Version: w.version, WebSeeds: seeds}
	mk := foreign.LibtorrentMake
	if w.version == foreign.V1 {
		mk = foreign.MkTorrent
	}
	m := start(t, "--allow-private", mk(t, making))
	if w.file {
		if got, want := weirtest.Sum(t, m.Path(filepath.Base(path), filepath.Base(path))), weirtest.Sum(t, path); got != want {
			t.Error("the file has another content")
		}
	} else {
		got, want := weirtest.Sums(t, m.Path(name)), weirtest.Sums(t, path)
		if sum, ok := want["100%25"]; ok { // looks like an escape of weir's own
			delete(want, "100%25")
			want["100%2525"] = sum
		}
		for file, sum := range want {
			if got[file] != sum {
				t.Errorf("%s has another content, or is missing", file)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d files of %d", len(got), len(want))
		}
	}
	m.Unmount(t)
	asked := node.Requests(t)
	if len(asked) == 0 {
		t.Error("nginx was asked nothing")
	}
	for _, r := range asked {
		right := r.Status == 206 || r.Status == 499 || w.whole && r.Status == 200 || w.refuses && r.Status == 503
		if !right || r.Range == "-" || strings.Contains(r.Path, ".pad") {
			t.Errorf("asked: %+v", r)
		}
	}
	return asked
}

// TestWebAddresses: a web seed may lead to the internet and to no address inside, by a
// redirect neither, whether through the user's proxy or past it.
func TestWebAddresses(t *testing.T) {
	if !foreign.Enclosed() {
		t.Skip("needs root: addresses of the internet are given to loopback")
	}
	path := filepath.Join(t.TempDir(), "content")
	foreign.Fill(t, filepath.Join(path, "a"), 100_000)
	foreign.Fill(t, filepath.Join(path, "b"), 200_000)
	root := filepath.Dir(path)
	public := foreign.OpenNginx(t, foreign.Web{Dir: root, IP: foreign.PublicIP})
	inside := foreign.OpenNginx(t, foreign.Web{Dir: root})
	leads := foreign.OpenNginx(t, foreign.Web{Dir: root, IP: foreign.PublicIP, Directives: "rewrite ^/(.*)$ " + inside.URL + "/$1 redirect;"})
	private := foreign.OpenNginx(t, foreign.Web{Dir: root, IP: foreign.PublicIP, Directives: "rewrite ^/(.*)$ http://10.1.2.3/$1 redirect;"})

	var through atomic.Int32
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: &http.Transport{}, // which knows no proxy
		Rewrite:   func(*httputil.ProxyRequest) { through.Add(1) },
	})
	t.Cleanup(proxy.Close)
	for name, tt := range map[string]struct {
		seed    string
		env     map[string]string
		allow   bool
		right   bool
		proxied bool
	}{
		"Direct":          {seed: public.URL, right: true},
		"Proxy":           {seed: public.URL, env: map[string]string{"HTTP_PROXY": proxy.URL}, right: true, proxied: true},
		"PastTheProxy":    {seed: public.URL, env: map[string]string{"HTTP_PROXY": proxy.URL, "NO_PROXY": "192.0.2.1,203.0.113.0/24"}, right: true},
		"Inside":          {seed: inside.URL},
		"LeadsInside":     {seed: leads.URL},
		"ProxyInside":     {seed: leads.URL, env: map[string]string{"HTTP_PROXY": proxy.URL}, proxied: true},
		"ProxyPrivate":    {seed: private.URL, env: map[string]string{"HTTP_PROXY": proxy.URL}, proxied: true},
		"PrivateByAProxy": {seed: "http://10.1.2.3", env: map[string]string{"HTTP_PROXY": proxy.URL}},
		"Allowed":         {seed: leads.URL, allow: true, right: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range []string{"HTTP_PROXY", "NO_PROXY"} {
				t.Setenv(k, tt.env[k])
			}
			through.Store(0)
			before := len(inside.Requests(t))
			torrent := foreign.MkTorrent(t, foreign.Making{Path: path, Announce: nowhere, PieceBytes: 32 << 10, WebSeeds: []string{tt.seed + "/"}})
			args := []string{"--allow-private=" + strconv.FormatBool(tt.allow), torrent}
			if !tt.right {
				args = append(args, "--read-timeout=1s")
			}
			m := start(t, args...)
			got, err := os.ReadFile(m.Path("content", "b"))
			want, _ := os.ReadFile(filepath.Join(path, "b"))
			if right := err == nil && bytes.Equal(got, want); right != tt.right {
				t.Errorf("read: %v; right %v, want %v", err, right, tt.right)
			}
			m.Unmount(t)
			if n := through.Load(); (n > 0) != tt.proxied {
				t.Errorf("%d requests through the proxy", n)
			}
			if n := len(inside.Requests(t)) - before; (n > 0) != tt.allow {
				t.Errorf("%d requests reached a server inside", n)
			}
		})
	}
}
