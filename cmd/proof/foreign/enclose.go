package foreign

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// insideEnv marks the process that Enclose started.
const insideEnv = "WEIR_TEST_ENCLOSED"

// Enclosed reports whether this process is in a network of its own.
func Enclosed() bool { return os.Getenv(insideEnv) != "" }

// CanEnclose reports whether Enclose can do its work: only root may.
func CanEnclose() bool { return os.Geteuid() == 0 }

// outside is the network device that the default route of an enclosed process
// leads to. Nothing is behind it; it counts what tried to leave the machine.
const outside = "outside"

// PublicIP is an address that counts as one of the internet (it is for documentation,
// RFC 5737), and is this machine's in the network that OpenEnclosure sets up.
const PublicIP = "203.0.113.7"

// Enclose runs this program again in a network of its own, which has loopback
// and a way out into nothing, and returns its exit code. Clients that would talk
// to somebody in the world can't, and Sent tells that they tried; and their
// ports and addresses meet nobody else's.
func Enclose(stderr io.Writer) int {
	runtime.LockOSThread() // the child is told to die with the thread that made it
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt) // the terminal sends it to both; the other one decides
	defer signal.Stop(interrupts)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(stderr, "enclose the tests:", err)
		return 1
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	fmt.Fprintln(stderr, "the enclosed tests:", cmd.ProcessState) // killed
	return 1
}

// OpenEnclosure sets the network up, in the process that Enclose started.
func OpenEnclosure() error {
	for _, c := range []string{
		"ip link set lo up",
		"ip addr add " + PublicIP + "/32 dev lo",
		"ip addr add 2001:db8::7/128 dev lo nodad", // or aria2 takes the machine for one without IPv6
		"ip link add " + outside + " type veth peer name void",
		"ip link set void up",
		"ip link set " + outside + " up",
		"ip route add default dev " + outside,
	} {
		if c == "ip link set void up" {
			// The kernel greets its neighbours over IPv6, which would be counted.
			for _, dev := range []string{outside, "void"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+dev+"/disable_ipv6", []byte("1"), 0); err != nil {
					return err
				}
			}
		}
		f := strings.Fields(c)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c, err, out)
		}
	}
	return nil
}

// Sent returns how many packets of this process's network have left for
// somewhere else than loopback.
func Sent() (packets int64, err error) {
	b, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if name, counters, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == outside {
			return strconv.ParseInt(strings.Fields(counters)[9], 10, 64) // transmitted packets
		}
	}
	return 0, fmt.Errorf("no device %s in /proc/self/net/dev", outside)
}
