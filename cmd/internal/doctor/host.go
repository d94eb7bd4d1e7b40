package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir"
)

// oldestKernel is the oldest that has all of the protocol that weir speaks
// (FUSE 7.33).
var oldestKernel = [2]int{5, 11}

func checkKernel(_ context.Context, o Options) Finding {
	release := strings.TrimSpace(o.read("proc/sys/kernel/osrelease"))
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return Finding{"kernel", Warn, fmt.Sprintf("can't tell its version from %q", release), "see that /proc is mounted"}
	}
	if major < oldestKernel[0] || major == oldestKernel[0] && minor < oldestKernel[1] {
		return Finding{"kernel", Warn, "Linux " + release + " is older than what weir was made for",
			fmt.Sprintf("use Linux %d.%d or newer; should it work, listing will be slower", oldestKernel[0], oldestKernel[1])}
	}
	return Finding{"kernel", OK, "Linux " + release, ""}
}

func checkDevice(_ context.Context, o Options) Finding {
	dev, err := os.OpenFile(o.path("dev/fuse"), os.O_RDWR, 0)
	switch {
	case err == nil:
		dev.Close()
		return Finding{"device", OK, "/dev/fuse can be opened", ""}
	case errors.Is(err, syscall.EPERM):
		return Finding{"device", Fail, "/dev/fuse may not be used in this container", "start it with --device /dev/fuse --cap-add SYS_ADMIN"}
	case errors.Is(err, os.ErrPermission):
		return Finding{"device", Fail, "you may not open /dev/fuse, and fusermount3 opens it in your name",
			"sudo chmod 666 /dev/fuse, as it is on most systems, or join the group that may (ls -l /dev/fuse)"}
	default:
		return Finding{"device", Fail, "the kernel's FUSE is not there: " + weir.ErrorText(err),
			"sudo modprobe fuse; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN"}
	}
}

func checkHelper(_ context.Context, o Options) Finding {
	const name, install = "helper", "install fuse3, on Debian: sudo apt-get install fuse3"
	path, err := o.LookPath("fusermount3")
	if err != nil {
		return Finding{name, Fail, "there is no fusermount3 in PATH", install}
	}
	info, err := os.Stat(path)
	if err != nil {
		return Finding{name, Fail, weir.ErrorText(err), install}
	}
	if o.EUID == 0 {
		return Finding{name, OK, path, ""}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (info.Mode()&os.ModeSetuid == 0 || st.Uid != 0) {
		return Finding{name, Fail, path + " is not set-user-ID root, without which only root can mount",
			fmt.Sprintf("sudo chown root %s && sudo chmod u+s %s", path, path)}
	}
	for line := range strings.Lines(o.read("proc/self/status")) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "NoNewPrivs:" && f[1] == "1" {
			return Finding{name, Fail, path + " can't become root here (no new privileges)",
				"start weir without it: not in a sandbox, and for a service without NoNewPrivileges= and what implies it"}
		}
	}
	return Finding{name, OK, path + ", set-user-ID root", ""}
}

func checkOthers(_ context.Context, o Options) Finding {
	const name = "others"
	if o.EUID == 0 {
		return Finding{name, OK, "root may let other users in (--allow-other)", ""}
	}
	for line := range strings.Lines(o.read("etc/fuse.conf")) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return Finding{name, OK, "/etc/fuse.conf has user_allow_other", ""}
		}
	}
	if o.AllowOther {
		return Finding{name, Fail, "--allow-other is set, and /etc/fuse.conf has no user_allow_other",
			"add the line user_allow_other to /etc/fuse.conf, or leave --allow-other out"}
	}
	return Finding{name, OK, "only you will see your mounts: /etc/fuse.conf has no user_allow_other", ""}
}

// checkTimeout warns of a kernel that ends the mount over a long request.
func checkTimeout(_ context.Context, o Options) Finding {
	const name = "timeout"
	limit := 0
	for _, file := range []string{"default_request_timeout", "max_request_timeout"} {
		n, err := strconv.Atoi(strings.TrimSpace(o.read("proc/sys/fs/fuse/" + file)))
		if err == nil && n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	if limit == 0 {
		return Finding{name, OK, "the kernel sets no limit to reads", ""}
	}
	allowed := max(time.Duration(limit)*time.Second, 15*time.Second) * 2 / 3
	if o.ReadTimeout > allowed {
		return Finding{name, Warn, fmt.Sprintf("the kernel ends mounts over requests of %d s: reads will wait %v and not %v", limit, allowed, o.ReadTimeout),
			"sudo sysctl fs.fuse.default_request_timeout=0, or set --read-timeout below that"}
	}
	return Finding{name, OK, fmt.Sprintf("the kernel ends mounts over requests of %d s, reads wait no longer than %v", limit, o.ReadTimeout), ""}
}

// weirMounts returns the mountpoints of type fuse.weir.
func (o Options) weirMounts() []string {
	var points []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(o.read("proc/self/mounts")) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "fuse.weir" {
			points = append(points, unescape.Replace(f[1]))
		}
	}
	return points
}

// answerTimeout is how long a mount has to answer.
const answerTimeout = 2 * time.Second

func checkMounts(ctx context.Context, o Options) Finding {
	const name = "mounts"
	points := o.weirMounts()
	answers := make([]chan error, len(points))
	for i, p := range points {
		answers[i] = make(chan error, 1)
		go func() {
			var st syscall.Statfs_t
			answers[i] <- syscall.Statfs(p, &st)
		}()
	}
	timeout := time.After(answerTimeout)
	for i, p := range points {
		select {
		case err := <-answers[i]:
			if errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) {
				return Finding{name, Warn, p + " was left behind by a weir that died", fmt.Sprintf("weir umount %q, or mount there again", p)}
			}
		case <-timeout:
			return Finding{name, Warn, p + " does not answer", "its weir is stopped or stuck: end it (pgrep -a weir)"}
		case <-ctx.Done():
			return Finding{}
		}
	}
	if len(points) == 0 {
		return Finding{name, OK, "no weir is mounted now", ""}
	}
	return Finding{name, OK, "mounted and answering: " + strings.Join(points, ", "), ""}
}

// fewFiles is the least that weir needs with all its connections and a large cache.
const fewFiles = 1024

func checkFiles(_ context.Context, o Options) Finding {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return Finding{"files", Warn, "open files: " + weir.ErrorText(err), "see ulimit -n"}
	}
	if r.Max < fewFiles { // weir raises its own limit to that
		return Finding{"files", Warn, fmt.Sprintf("only %d files may be open at a time", r.Max),
			fmt.Sprintf("raise the limit to %d or more: ulimit -Hn, LimitNOFILE= of a service", fewFiles)}
	}
	return Finding{"files", OK, fmt.Sprintf("%d files may be open at a time", r.Max), ""}
}

// littleMemory is what weir may use when it is busy.
const littleMemory = 512 << 20

func checkMemory(_ context.Context, o Options) Finding {
	for line := range strings.Lines(o.read("proc/meminfo")) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "MemAvailable:" {
			continue
		}
		kib, err := strconv.ParseUint(f[1], 10, 53)
		if err != nil {
			break
		}
		if kib<<10 < littleMemory {
			return Finding{"memory", Warn, humanize.IBytes(kib<<10) + " are available, of which a busy weir may use 512 MiB",
				"end something else, or bound weir: GOMEMLIMIT=200MiB weir mount …"}
		}
		return Finding{"memory", OK, humanize.IBytes(kib<<10) + " are available", ""}
	}
	return Finding{"memory", Warn, "can't tell how much is available", "see that /proc is mounted"}
}

func checkListen(ctx context.Context, o Options) Finding {
	const name = "listen"
	if o.Listen == "off" {
		return Finding{name, Warn, "no peer can reach weir (--listen off)", "leave it out, unless that is what you want: fewer peers are found"}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		if points := o.weirMounts(); len(points) > 0 {
			return Finding{name, Warn, o.Listen + " is in use, perhaps by the weir that is mounted on " + points[0],
				"each weir that runs at the same time needs a port of its own"}
		}
		return Finding{name, Fail, o.Listen + " is in use", "ss -ltnp tells by whom; or choose another: --listen :0 takes any free one"}
	}
	if err != nil {
		return Finding{name, Fail, weir.ErrorText(err), "--listen takes HOST:PORT, HOST being an address of this machine or nothing"}
	}
	defer l.Close()
	dialer := net.Dialer{Timeout: answerTimeout}
	c, err := dialer.DialContext(ctx, "tcp", local(l.Addr()))
	if err != nil {
		return Finding{name, Warn, fmt.Sprintf("%s can't be reached from this machine itself: %s", o.Listen, weir.ErrorText(err)), "look at the firewall: nft list ruleset"}
	}
	c.Close()
	if _, port, _ := net.SplitHostPort(o.Listen); port == "" || port == "0" {
		return Finding{name, OK, "any free port; for a router to forward one, fix it: --listen :6881", ""}
	}
	return Finding{name, OK, o.Listen + " is free, and reachable from this machine; from outside only if the router forwards it", ""}
}

// How far the clock may be from the time of weir's own file.
const (
	clockBehind = 24 * time.Hour
	clockAhead  = 10 * 365 * 24 * time.Hour
)

func checkClock(_ context.Context, o Options) Finding {
	const name, next = "clock", "set it (timedatectl): with a wrong clock, trackers' certificates are refused"
	info, err := os.Stat(o.Program)
	if err != nil {
		return Finding{name, Warn, "can't compare it with the time of weir's file: " + weir.ErrorText(err), next}
	}
	now, made := o.Now.Format(time.DateTime), info.ModTime()
	switch {
	case o.Now.Before(made.Add(-clockBehind)):
		return Finding{name, Fail, fmt.Sprintf("it says %s, before weir was installed (%s)", now, made.Format(time.DateTime)), next}
	case o.Now.After(made.Add(clockAhead)):
		return Finding{name, Warn, fmt.Sprintf("it says %s, years after weir was installed (%s)", now, made.Format(time.DateTime)), next}
	}
	return Finding{name, OK, "it says " + now, ""}
}
