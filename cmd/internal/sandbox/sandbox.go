// Package sandbox takes from this process, for good, the right to open files that it
// doesn't need (Landlock). Whoever takes over weir by a fault in it finds the cache
// and what every program may read, and no key, no mail and no other user's file.
// What is open already stays open, sockets are another matter, and nothing that is
// started from then on can gain rights, so no set-user-ID program works.
//
// What must not live here: which paths weir needs.
package sandbox

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// Paths are folders and files with what lies beneath them. Those that are not there
// are passed over; links are followed.
type Paths struct {
	Write []string // may be read, written, made and removed
	Read  []string // may be read
}

// system is what every program needs that looks up names, checks certificates and
// asks the kernel about programs.
var system = Paths{
	Write: []string{"/dev/null"},
	Read: []string{
		"/etc", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/zoneinfo", "/var/lib/ca-certificates",
		"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/nscd",
		"/lib", "/lib64", "/usr/lib", "/usr/lib64", // resolvers that the C library loads
		"/proc", "/sys/class/net", "/sys/devices/virtual/bdi",
		"/dev/urandom",
	},
}

// Restrict leaves this process, all its threads and what it starts with these paths.
// A kernel that knows less of Landlock restricts less; one without it, nothing, which
// is no error.
func Restrict(p Paths) error {
	p.Write = append(p.Write, system.Write...)
	p.Read = append(p.Read, system.Read...)
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if path := os.Getenv(name); path != "" {
			p.Read = append(p.Read, path)
		}
	}
	var rules []landlock.Rule
	add := func(paths []string, dirs, files func(...string) landlock.FSRule) {
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case err != nil:
			case info.IsDir():
				rules = append(rules, dirs(path).IgnoreIfMissing())
			default:
				rules = append(rules, files(path).IgnoreIfMissing())
			}
		}
	}
	add(p.Read, landlock.RODirs, landlock.ROFiles)
	add(p.Write, func(paths ...string) landlock.FSRule { return landlock.RWDirs(paths...).WithRefer() }, landlock.RWFiles)
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}
