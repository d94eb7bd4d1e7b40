package foreign

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
)

// Web says what an nginx serves, and how.
type Web struct {
	Dir            string              // the folder at "/"
	IP             string              // where it listens; an address of its own if empty
	TLS            *weirtest.Authority // HTTPS, with HTTP/2; nil for HTTP/1.1 without TLS
	User, Password string              // Basic authentication, if there is a user
	Directives     string              // more of nginx's server block
	HTTP           string              // more of the block around it
}

// Nginx is a running nginx.
type Nginx struct {
	URL string // "http://host:port", without user and password

	log string // path of its access log
}

// Request is a line of nginx's access log.
type Request struct {
	Status     int
	Protocol   string // "HTTP/2.0"
	Connection string // its number
	Range      string // the header, "-" for none
	Bytes      int64  // of the body
	Path       string // as it was sent, with the query
}

const nginxConfig = `daemon off; master_process off; pid %[1]s/pid; error_log stderr notice; %[2]s
events { worker_connections 512; }
http {
	log_format asked "$status\t$server_protocol\t$connection\t$http_range\t$body_bytes_sent\t$request_uri";
	access_log %[1]s/access.log asked;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	types { } default_type text/plain;
	gzip on; gzip_min_length 1; gzip_types *;
	autoindex on;
	%[3]s
	server {
		listen %[4]s;
		root "%[5]s";
		%[6]s
	}
}
`

// OpenNginx runs nginx on an address of its own until the test ends. It would compress
// what it sends, and shows listings of folders.
func OpenNginx(tb testing.TB, w Web) *Nginx {
	tb.Helper()
	dir := tb.TempDir()
	ip, port := w.IP, freePort(tb)
	if ip == "" {
		ip = NextIP()
	}
	at := hostPort(ip, port)
	n := &Nginx{URL: "http://" + at, log: filepath.Join(dir, "access.log")}
	listen, server := at, w.Directives
	if w.TLS != nil {
		n.URL = "https://" + at
		listen += " ssl http2"
		cert, key := w.TLS.Certificate(tb, ip)
		writeFile(tb, filepath.Join(dir, "cert.pem"), cert)
		writeFile(tb, filepath.Join(dir, "key.pem"), key)
		server += fmt.Sprintf("\nssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;", dir)
	}
	if w.User != "" {
		writeFile(tb, filepath.Join(dir, "users"), []byte(w.User+":{PLAIN}"+w.Password+"\n"))
		server += fmt.Sprintf("\nauth_basic files; auth_basic_user_file %s/users;", dir)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // only root sees into folders of tests
	}
	config := filepath.Join(dir, "nginx.conf")
	writeFile(tb, config, fmt.Appendf(nil, nginxConfig, dir, user, w.HTTP, listen, w.Dir, server))
	p := start(tb, exec.Command("nginx", "-c", config, "-p", dir))
	p.poll(tb, "nginx", func() error { return accepts(at) })
	return n
}

// Requests returns what it was asked so far, as far as it has answered.
func (n *Nginx) Requests(tb testing.TB) (all []Request) {
	tb.Helper()
	b, err := os.ReadFile(n.log)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 6 {
			tb.Fatalf("a line of nginx's log: %q", line)
		}
		status, err := strconv.Atoi(f[0])
		if err != nil {
			tb.Fatal(err)
		}
		bytes, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, Request{Status: status, Protocol: f[1], Connection: f[2], Range: f[3], Bytes: bytes, Path: f[5]})
	}
	return all
}

func writeFile(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}
