package link

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// headerBytes is the size of what stands before each packet (struct
// virtio_net_hdr): whether it is a row of TCP segments that the kernel has left
// together, and how long each of them is. It makes the line cheap: a packet of
// 16 KiB costs one system call at each end and not eleven.
const headerBytes = 10

// rowBytes bounds these rows, so that a packet takes no more than a few
// milliseconds at the rates of the benchmarks: what is at its front arrives no
// earlier than its end.
const rowBytes = 16 << 10

// packetBytes holds the largest packet that a device can hand out, in case the
// kernel knows no bound for rows.
const packetBytes = headerBytes + 64<<10

// OpenTUN makes a TUN device in the network namespace of the calling process,
// gives it addresses and switches it on. The device vanishes with the file.
func OpenTUN(name string, addrs []netip.Prefix) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := setUp(fd, name, addrs); err != nil {
		f.Close()
		return nil, fmt.Errorf("set up device %s: %w", name, err)
	}
	return f, nil
}

func setUp(fd int, name string, addrs []netip.Prefix) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	// The line's queue is the one that counts; this one must never be full.
	if err := netlink.LinkSetTxQLen(link, 5000); err != nil {
		return err
	}
	_ = netlink.LinkSetGSOMaxSize(link, rowBytes) // since Linux 5.19 for these devices; without it the line is coarser
	return Configure(link, addrs)
}

// Configure gives a device of the calling process's namespace addresses, and
// switches it on.
func Configure(link netlink.Link, addrs []netip.Prefix) error {
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// Quiet sets a new network namespace up for measuring, from inside: loopback is
// on, IPv6, which greets its neighbours, is off, and TCP remembers nothing from
// one connection for the next, so that each run begins as cold as the first.
func Quiet() error {
	for name, value := range map[string]string{
		"ipv6/conf/all/disable_ipv6":     "1",
		"ipv6/conf/default/disable_ipv6": "1",
		"ipv4/tcp_no_metrics_save":       "1",
	} {
		err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0)
		if err != nil && !os.IsNotExist(err) { // a kernel without IPv6 has nothing to switch off
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
