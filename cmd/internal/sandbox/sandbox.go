// Package sandbox gives up, for good, this process's right to open files that it doesn't
// need (Landlock). An attacker who takes over weir can then read the cache and system files,
// but no keys, mail or other users' files. Open files stay open, and sockets are not
// restricted. Programs started later can't gain rights, so set-user-ID programs don't work.
//
// What must not live here: which paths weir needs.
package sandbox

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// Paths are files, and folders with everything in them. Missing ones are ignored; links are
// followed.
type Paths struct {
	Write []string // may be read, written, made and removed
	Read  []string // may be read
}

// system is what is needed to resolve names, check certificates and read /proc.
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

// Restrict limits this process, its threads and its children to these paths. An older kernel
// restricts less, or nothing, without an error.
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
