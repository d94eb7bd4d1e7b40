package suite

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is how long each processor profile is; a run leaves as many as
// it lasts, and go tool pprof takes all of them together.
const profileSeconds = 3

// profiler collects profiles of a running weir.
type profiler struct {
	base string // of the URLs
	name string // where profiles go, and how they begin
	stop context.CancelFunc
	done chan struct{}
}

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// profileArgs returns the flags that make weir tell about itself, and starts to
// collect.
func (r *Run) profileArgs() ([]string, error) {
	if r.Options.Profile == "" {
		return nil, nil
	}
	if !r.Knows["--metrics"] {
		return nil, fmt.Errorf("--profile: %s mount knows no --metrics", r.Paths[Weir])
	}
	if err := os.MkdirAll(r.Options.Profile, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, stop := context.WithCancel(r.Ctx)
	r.profiler = &profiler{
		base: "http://" + addr + "/debug/pprof/", stop: stop, done: make(chan struct{}),
		name: filepath.Join(r.Options.Profile, fmt.Sprintf("%s-%d", strings.ReplaceAll(r.c.Name, "/", "-"), r.Repeat)),
	}
	go r.profiler.collect(ctx)
	flags := []string{"--metrics=" + addr}
	if r.Knows["--pprof"] { // before there was that flag, --metrics was enough
		flags = append(flags, "--pprof")
	}
	return flags, nil
}

// collect fetches one processor profile after another.
func (p *profiler) collect(ctx context.Context) {
	defer close(p.done)
	for i := 0; ctx.Err() == nil; {
		// While weir starts, nobody answers.
		if fetch(context.WithoutCancel(ctx), fmt.Sprint(p.base, "profile?seconds=", profileSeconds), fmt.Sprintf("%s-cpu-%d.pprof", p.name, i)) == nil {
			i++
		}
	}
}

// finish waits for the profile under way and adds one of the heap.
func (p *profiler) finish(ctx context.Context) error {
	p.stop()
	<-p.done
	return fetch(ctx, p.base+"heap", p.name+"-heap.pprof")
}

// fetch puts what a URL says into a file.
func fetch(ctx context.Context, url, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return os.WriteFile(name, b, 0o644)
}
