package web

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

const nginxAddr = "127.0.77.200:8080"

// nginx is a web server on loopback with the contents.
type nginx struct {
	url    string
	cancel context.CancelFunc
	exited chan struct{}
}

// openNginx starts one in the run's folder, which sends so many bytes a second over
// each connection, 0 for no bound.
func openNginx(r *suite.Run, bytesPerSec int) (*nginx, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return nil, suite.Absent("nginx is not installed")
	}
	dir := filepath.Join(r.Dir, "nginx")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // or it can't read what is ours
	}
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `%sworker_processes 1;
daemon off;
pid %[2]s/pid;
error_log %[2]s/log;
events {}
http {
	access_log off;
	sendfile on;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	server {
		listen %[3]s;
		root %[4]s;
		limit_rate %[5]d;
	}
}
`, user, dir, nginxAddr, r.Testbed.Data, bytesPerSec), 0o644); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Ctx)
	cmd := exec.CommandContext(ctx, path, "-c", conf, "-e", filepath.Join(dir, "log"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	n := &nginx{url: "http://" + nginxAddr + "/", cancel: cancel, exited: make(chan struct{})}
	go func() {
		defer close(n.exited)
		_ = cmd.Wait() // it is told to end
	}()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", nginxAddr)
		if err == nil {
			conn.Close()
			return n, nil
		}
		select {
		case <-n.exited:
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			n.close()
			return nil, fmt.Errorf("nginx ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *nginx) close() {
	n.cancel()
	<-n.exited
}
