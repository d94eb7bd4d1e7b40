package background

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Herald tells others how far a mount is: the weir that has started this one in
// the background, and systemd (sd_notify(3), Type=notify). Without any of them
// it does nothing. It is safe for concurrent use.
type Herald struct {
	log   *slog.Logger
	point string

	mu      sync.Mutex
	waiting io.WriteCloser // where the weir that waits for us reads; nil: nobody, or it was told
	stop    chan struct{}  // ends the watchdog; nil: it doesn't run
	beating sync.WaitGroup
}

// news is what a detached weir tells the one that has started it, as one line of
// JSON.
type news struct {
	Names []string `json:"names"`           // of the torrents' folders; the mount is ready
	Error string   `json:"error,omitempty"` // why it will never be
	Usage bool     `json:"usage,omitempty"` // the command line is to blame
}

// NewHerald returns a herald for a mount at point. readyFD is the descriptor that
// Detach has given to this process, 0 if it was started otherwise.
func NewHerald(readyFD int, point string, log *slog.Logger) *Herald {
	h := &Herald{log: log, point: point}
	if readyFD > 2 {
		syscall.CloseOnExec(readyFD)
		h.waiting = os.NewFile(uintptr(readyFD), "ready")
	}
	h.notify("STATUS=mounting on " + point)
	return h
}

// Ready says that the mount can be used, and by which names. From now on, if
// systemd has asked for it, it is told at regular intervals that the mount
// answers, as long as it does.
func (h *Herald) Ready(names []string) {
	h.tell(news{Names: names})
	noun := "torrents"
	if len(names) == 1 {
		noun = "torrent"
	}
	h.notify(fmt.Sprintf("%s\nSTATUS=mounted on %s, %d %s", systemd.SdNotifyReady, h.point, len(names), noun))
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		h.log.Warn("the service manager's watchdog is left out", "err", err)
	}
	if every <= 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop == nil {
		h.stop = make(chan struct{})
		h.beating.Go(func() { h.beat(every/2, h.stop) })
	}
}

// beat reports that the mount answers. Where it doesn't, statfs waits, and so
// does the report: systemd ends weir then, with the stacks of all goroutines in
// its journal.
func (h *Herald) beat(every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		answered := make(chan struct{})
		go func() {
			var st syscall.Statfs_t
			_ = syscall.Statfs(h.point, &st) // any answer is a sign of life
			close(answered)
		}()
		select {
		case <-stop:
			return
		case <-answered:
			h.notify(systemd.SdNotifyWatchdog)
		}
	}
}

// Stopping says that the mount is going away, which may take a while when much
// is to be stored.
func (h *Herald) Stopping() {
	h.notify(systemd.SdNotifyStopping + "\nSTATUS=unmounting " + h.point + ", storing what was fetched")
}

// Failed says that there will be no mount, and why. After Ready it does nothing.
func (h *Herald) Failed(err error, usage bool) {
	h.tell(news{Error: err.Error(), Usage: usage})
	h.notify("STATUS=" + strings.ReplaceAll(err.Error(), "\n", "; "))
}

// Close ends what Ready has started.
func (h *Herald) Close() {
	h.mu.Lock()
	stop := h.stop
	h.stop = nil
	if h.waiting != nil {
		h.waiting.Close()
		h.waiting = nil
	}
	h.mu.Unlock()
	if stop != nil {
		close(stop)
		h.beating.Wait()
	}
}

func (h *Herald) tell(n news) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		return
	}
	if err := json.NewEncoder(h.waiting).Encode(n); err != nil {
		h.log.Debug("nobody waits for the mount any more", "err", err)
	}
	h.waiting.Close()
	h.waiting = nil
}

func (h *Herald) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		h.log.Debug("tell the service manager", "err", err)
	}
}
