package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/background"
	"github.com/weirfs/weir/cmd/internal/config"
)

// mount(8) and /etc/fstab mount torrents through this file:
//
//	mount -t fuse.weir 'magnet:?…' /mnt -o cache_size=20GiB
//
// runs mount.fuse.weir where it is installed, which is a link to weir, and else
// mount.fuse, which comes with fuse3 and runs "weir SOURCE DIR -o OPTIONS". Both
// become a "weir mount --detach".

// Exit codes of mount helpers, of mount(8).
const (
	helperUsage   = 1
	helperFailure = 32
)

// helperNames are the names by which weir is called as a mount helper.
var helperNames = []string{"mount.fuse.weir", "mount.weir"}

// Hidden flags of mount that only mount helpers use.
const (
	helperFlag = "as-helper" // defaults for a machine's mount and not for a user's
	setuidFlag = "setuid"    // whose process it is to be
	fsnameFlag = "fsname"    // what the kernel lists as the mount's source
)

// maxSourceBytes bounds what is shown as the mount's source: the kernel refuses
// more than a page.
const maxSourceBytes = 3500

// isHelperCall reports whether mount(8) or mount.fuse calls.
func isHelperCall(name string, args []string) bool {
	if slices.Contains(helperNames, filepath.Base(name)) {
		return true
	}
	if len(args) != 4 || args[2] != "-o" || strings.HasPrefix(args[0], "-") {
		return false
	}
	cmd, _, err := newRoot().Find(args[:1])
	return err != nil || !cmd.HasParent()
}

// mountHelper carries out one call and returns the exit code.
func mountHelper(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	call, err := parseHelperArgs(args)
	if err == nil {
		err = call.translate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "weir: %s\n", weir.PrintableLines(weir.ErrorText(err)))
		return helperUsage
	}
	if call.fake {
		return exitOK
	}
	if os.Getenv("PATH") == "" { // as it may be at boot; fusermount3 is looked up there
		if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
			fmt.Fprintf(stderr, "weir: %s\n", weir.PrintableLines(weir.ErrorText(err)))
			return helperFailure
		}
	}
	if !call.verbose {
		stdout = io.Discard
	}
	err = run(ctx, call.args, stdout, stderr)
	if err == nil && call.restrict != 0 && os.Geteuid() == 0 {
		err = restrict(call.dir, call.restrict)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "weir: %s\n", weir.PrintableLines(weir.ErrorText(err)))
	var u usageError
	if errors.As(err, &u) {
		return helperUsage
	}
	return helperFailure
}

// restrict forbids to write to the mount (MS_RDONLY), or to run programs from it
// (MS_NOEXEC), for neither of which fusermount3 was asked.
func restrict(dir string, flags uintptr) error {
	// By a descriptor, as another user may own the folder above: what was looked at
	// is what is changed.
	at, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("options ro and noexec: %w", err)
	}
	defer at.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(at.Fd()), &st); err != nil {
		return fmt.Errorf("options ro and noexec: %w", err)
	}
	if st.Type != unix.FUSE_SUPER_MAGIC {
		return fmt.Errorf("options ro and noexec: %s is not weir's mount any more", dir)
	}
	// What is forbidden already stays so; the bits of statfs(2) are those of mount(2).
	kept := uintptr(st.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("", fmt.Sprintf("/proc/self/fd/%d", at.Fd()), "", unix.MS_REMOUNT|unix.MS_BIND|kept|flags, ""); err != nil {
		return fmt.Errorf("options ro and noexec on %s: %w", dir, err)
	}
	return nil
}

// helperCall is what mount(8) asks for.
type helperCall struct {
	source, dir string
	options     []string
	sloppy      bool // -s: unknown options are to be ignored
	fake        bool // -f: everything but the mount itself
	verbose     bool // -v

	// What translate makes of it.
	args     []string // of weir
	restrict uintptr  // MS_RDONLY and MS_NOEXEC, as far as they are asked for
}

// parseHelperArgs reads SOURCE DIR [-sfnvrw] [-N NAMESPACE] [-o OPTIONS] [-t TYPE],
// as mount(8) describes under "external helpers".
func parseHelperArgs(args []string) (*helperCall, error) {
	c := &helperCall{}
	var names []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			names = append(names, arg)
			continue
		}
		for j, letter := range arg[1:] {
			switch letter {
			case 's':
				c.sloppy = true
			case 'f':
				c.fake = true
			case 'v':
				c.verbose = true
			case 'r':
				c.options = append(c.options, "ro")
			case 'n', 'w': // no mtab; not read-only
			case 'o', 't', 'N':
				value := arg[1+j+1:]
				if value == "" {
					if i++; i == len(args) {
						return nil, fmt.Errorf("-%c needs a value", letter)
					}
					value = args[i]
				}
				if letter == 'o' {
					c.options = append(c.options, splitOptions(value)...)
				}
			default:
				return nil, fmt.Errorf("unknown flag -%c; want SOURCE DIR -o OPTIONS", letter)
			}
			if strings.ContainsRune("otN", letter) {
				break
			}
		}
	}
	if len(names) != 2 {
		return nil, fmt.Errorf("want SOURCE DIR -o OPTIONS, got %d names", len(names))
	}
	c.source, c.dir = names[0], names[1]
	return c, nil
}

// splitOptions splits at commas, but not in double quotes, which go away.
func splitOptions(s string) []string {
	var list []string
	var b strings.Builder
	quoted := false
	for _, r := range s + "," {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			if b.Len() > 0 {
				list = append(list, b.String())
			}
			b.Reset()
		default:
			b.WriteRune(r)
		}
	}
	if quoted && b.Len() > 1 { // a quote that doesn't end
		list = append(list, strings.TrimSuffix(b.String(), ","))
	}
	return list
}

// genericOptions are for mount(8), systemd or the kernel, and either have done
// their work when weir is called or are how weir's mounts are anyhow.
var genericOptions = []string{
	"defaults", "rw", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
	"suid", "nosuid", "dev", "nodev", "exec", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime",
	"strictatime", "nostrictatime", "lazytime", "nolazytime", "sync", "async", "dirsync", "default_permissions",
	"uhelper", "helper", "comment", "subtype",
}

// translate turns the call into arguments of weir. Options are weir mount's
// flags, with "-" or "_".
func (c *helperCall) translate() error {
	flags := newMount().Flags()
	c.args = []string{"mount", "--detach", "--" + helperFlag}
	source := c.source
	var more []string
	for _, option := range c.options {
		name, value, hasValue := strings.Cut(option, "=")
		flag := flags.Lookup(strings.ReplaceAll(name, "_", "-"))
		switch {
		case name == "noexec":
			c.restrict |= unix.MS_NOEXEC
		case name == "ro":
			c.restrict |= unix.MS_RDONLY
		case slices.Contains(genericOptions, name), strings.HasPrefix(strings.ToLower(name), "x-"):
		case name == "torrent" && hasValue:
			more = append(more, value)
		case name == fsnameFlag && hasValue:
			source = value
		case name == setuidFlag && hasValue, flag != nil && (config.IsSetting(flag) || flag.Name == config.FileFlag):
			if name == setuidFlag {
				flag = flags.Lookup(setuidFlag)
			}
			if !hasValue && flag.Value.Type() != "bool" {
				return fmt.Errorf("option %s needs a value, such as %s=%s", name, name, cmpExample(flag))
			}
			if !hasValue {
				value = "true"
			}
			c.args = append(c.args, "--"+flag.Name+"="+value)
		case !c.sloppy:
			return c.unknown(name, flags)
		}
	}
	if len(source) <= maxSourceBytes {
		c.args = append(c.args, "--"+fsnameFlag+"="+source)
	}
	c.args = append(c.args, "--", c.dir)
	if c.source != "none" && c.source != "weir" {
		c.args = append(c.args, c.source)
	}
	c.args = append(c.args, more...)
	return nil
}

// cmpExample is a value that a flag's help talks of.
func cmpExample(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

// unknown refuses an option with those that there are.
func (c *helperCall) unknown(name string, flags *pflag.FlagSet) error {
	known := []string{setuidFlag, "torrent", config.FileFlag}
	flags.VisitAll(func(f *pflag.Flag) {
		if config.IsSetting(f) {
			known = append(known, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	near := ""
	if n := config.Nearest(name, known); n != "" {
		near = fmt.Sprintf(", did you mean %s?", n)
	}
	return fmt.Errorf("unknown option %q%s\nweir's options: %s\nbeside those of mount(8), which weir leaves alone", name, near, strings.Join(known, " "))
}

// helperSettings are the hidden flags of mount that belong to mount helpers.
type helperSettings struct {
	called bool
	setuid string
	fsname string

	defaults []string // flags for what nobody has set
}

func (h *helperSettings) register(f *pflag.FlagSet) {
	f.BoolVar(&h.called, helperFlag, false, "")
	f.StringVar(&h.setuid, setuidFlag, "", "")
	f.StringVar(&h.fsname, fsnameFlag, "", "")
	for _, name := range []string{helperFlag, setuidFlag, fsnameFlag} {
		if err := f.MarkHidden(name); err != nil {
			panic(err)
		}
	}
}

// settle gives root's mounts, which stand in /etc/fstab for the most part, a
// cache and a log of their own each, where nothing else is said: such mounts
// have neither a home nor, at boot, HOME.
func (h *helperSettings) settle(cmd *cobra.Command, l *life, point string) {
	if !h.called || os.Geteuid() != 0 {
		return
	}
	name := background.PointName(point)
	if l.logFile == "" {
		l.logFile, l.logOurs = filepath.Join("/var/log/weir", name+".log"), true
	}
	if f := cmd.Flags().Lookup("cache"); l.as == nil && !f.Changed {
		h.defaults = []string{"--cache=" + filepath.Join("/var/cache/weir", name)}
	}
}

// become finds out whose process the detached one is to be, and refuses to be one
// that should be another user's.
func (l *life) become() error {
	name := l.helper.setuid
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("option %s=%s: %w", setuidFlag, name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("option %s=%s: groups: %w", setuidFlag, name, err)
	}
	l.as = &syscall.Credential{}
	for _, p := range []struct {
		text string
		id   *uint32
	}{{u.Uid, &l.as.Uid}, {u.Gid, &l.as.Gid}} {
		n, err := strconv.ParseUint(p.text, 10, 32)
		if err != nil {
			return err
		}
		*p.id = uint32(n)
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return err
		}
		l.as.Groups = append(l.as.Groups, uint32(n))
	}
	if uid := os.Geteuid(); uint32(uid) == l.as.Uid {
		l.as, l.environ = nil, nil // it is that user's
		return nil
	} else if !l.detach || l.readyFD != 0 || uid != 0 {
		return fmt.Errorf("option %s=%s: this process is user %d's and can't become another's: it is for mount(8), as root", setuidFlag, name, uid)
	}
	l.environ = []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username, "PATH=" + os.Getenv("PATH")}
	return nil
}
