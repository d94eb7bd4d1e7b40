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

	"github.com/weirfs/weir"
)

// ReadyNotifier reports the state of a mount to the weir that has started this one in
// the background, and to systemd (sd_notify(3), Type=notify). Without either it does
// nothing. It is safe for concurrent use.
type ReadyNotifier struct {
	log   *slog.Logger
	point string

	mu      sync.Mutex
	waiting io.WriteCloser // where the weir that waits for us reads; nil: nobody, or it was told
	stop    chan struct{}  // ends the watchdog; nil: it doesn't run
	beating sync.WaitGroup
}

// report is what a detached weir reports to the one that has started it, as one line of
// JSON.
type report struct {
	Names []string `json:"names"`           // of the torrents' folders; the mount is ready
	Error string   `json:"error,omitempty"` // why it will never be
	Usage bool     `json:"usage,omitempty"` // the command line is wrong
}

// NewReadyNotifier returns a notifier for a mount at point. readyFD is the descriptor that
// Detach has given to this process, 0 if it was started otherwise.
func NewReadyNotifier(readyFD int, point string, log *slog.Logger) *ReadyNotifier {
	n := &ReadyNotifier{log: log, point: point}
	if readyFD > 2 {
		syscall.CloseOnExec(readyFD)
		n.waiting = os.NewFile(uintptr(readyFD), "ready")
	}
	n.notify("STATUS=mounting on " + point)
	return n
}

// Ready reports that the mount can be used, and the names in it. From now on it
// notifies systemd's watchdog, if there is one, as long as the mount answers.
func (n *ReadyNotifier) Ready(names []string) {
	n.answer(report{Names: names})
	noun := "torrents"
	if len(names) == 1 {
		noun = "torrent"
	}
	n.notify(fmt.Sprintf("%s\nSTATUS=mounted on %s, %d %s", systemd.SdNotifyReady, n.point, len(names), noun))
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("can't use the service manager's watchdog", "err", err)
	}
	if every <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop == nil {
		n.stop = make(chan struct{})
		n.beating.Go(func() { n.beat(every/2, n.stop) })
	}
}

// beat notifies the watchdog after each answer of the mount. If statfs hangs it does not,
// and systemd ends weir, with the stacks of all goroutines in its journal.
func (n *ReadyNotifier) beat(every time.Duration, stop <-chan struct{}) {
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
			_ = syscall.Statfs(n.point, &st) // any answer will do
			close(answered)
		}()
		select {
		case <-stop:
			return
		case <-answered:
			n.notify(systemd.SdNotifyWatchdog)
		}
	}
}

// Stopping reports that weir is unmounting, which may take a while when much is to be
// stored.
func (n *ReadyNotifier) Stopping() {
	n.notify(systemd.SdNotifyStopping + "\nSTATUS=unmounting " + n.point + ", storing what was fetched")
}

// Failed reports why there will be no mount. After Ready it does nothing.
func (n *ReadyNotifier) Failed(err error, usage bool) {
	n.answer(report{Error: weir.ErrorText(err), Usage: usage})
	n.notify("STATUS=" + strings.ReplaceAll(weir.ErrorText(err), "\n", "; "))
}

// Close ends what Ready has started.
func (n *ReadyNotifier) Close() {
	n.mu.Lock()
	stop := n.stop
	n.stop = nil
	if n.waiting != nil {
		n.waiting.Close()
		n.waiting = nil
	}
	n.mu.Unlock()
	if stop != nil {
		close(stop)
		n.beating.Wait()
	}
}

func (n *ReadyNotifier) answer(r report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		return
	}
	if err := json.NewEncoder(n.waiting).Encode(r); err != nil {
		n.log.Debug("report to the process that started weir", "err", err)
	}
	n.waiting.Close()
	n.waiting = nil
}

func (n *ReadyNotifier) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		n.log.Debug("notify the service manager", "err", err)
	}
}
