package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir/cmd/internal/weirtest"
)

const repository = "../.."

// TestDocumentedSettings reads the settings files in docs/configuration.md as
// weir does, and checks that the variables and flags that it names are there.
func TestDocumentedSettings(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(repository, "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(samples) == 0 {
		t.Fatal("there is no sample")
	}
	for _, sample := range samples {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, sample[1], 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := runWeir(t, "config", "--config", path, "--json")
		if code != 0 {
			t.Fatalf("%s\nis refused: %s", sample[1], stderr)
		}
		var got struct {
			File, Mountpoint string
			Torrents         []string
			Settings         []settingRow
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatal(err)
		}
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		if got.File != path || got.Mountpoint != filepath.Join(home, "t") || len(got.Torrents) != 3 {
			t.Errorf("weir config says %s", stdout)
		}
		for name, want := range map[string][]string{"cache-size": {"100 GiB"}, "read-timeout": {"30s"}, "peer": {"192.0.2.7:6881", "192.0.2.8:6881"}} {
			i := slices.IndexFunc(got.Settings, func(r settingRow) bool { return r.Name == name })
			if i < 0 || !slices.Equal(got.Settings[i].Value, want) || !strings.HasPrefix(got.Settings[i].From, path+":") {
				t.Errorf("%s is not %q from the file: %s", name, want, stdout)
			}
		}
	}
	flags := newMount().Flags()
	for _, m := range regexp.MustCompile("`--([a-z-]+)|WEIR_([A-Z_]+)=").FindAllStringSubmatch(string(doc), -1) {
		name := m[1] + strings.ToLower(strings.ReplaceAll(m[2], "_", "-"))
		if flags.Lookup(name) == nil {
			t.Errorf("docs/configuration.md names %s, which is no flag of mount", m[0])
		}
	}
}

// unit is a systemd unit file: values by section and key, such as Service/Type.
type unit map[string][]string

func readUnit(tb testing.TB, path string) unit {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	u, section := unit{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
		case !ok || section == "":
			tb.Errorf("%s: %q makes no sense", path, line)
		default:
			u[section+"/"+key] = append(u[section+"/"+key], value)
		}
	}
	return u
}

// namespaced are settings that give a service a mount namespace of its own, in
// which its mount is invisible to all others.
var namespaced = []string{"ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ReadOnlyPaths", "ReadWritePaths",
	"InaccessiblePaths", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectProc", "ProcSubset",
	"RootDirectory", "MountFlags", "DynamicUser", "TemporaryFileSystem", "BindPaths", "PrivateUsers", "ProtectHostname"}

// unprivileged are settings that imply NoNewPrivileges in a user's service, by
// which fusermount3 can't become root.
var unprivileged = []string{"NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces",
	"MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "CapabilityBoundingSet", "ProtectClock", "SystemCallLog"}

// TestUnits reads the systemd units; where systemd is, it looks at them too.
func TestUnits(t *testing.T) {
	for _, name := range []string{"user/weir.service", "user/weir@.service", "system/weir@.service"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(repository, "contrib", "systemd", name)
			u := readUnit(t, path)
			if !slices.Equal(u["Service/Type"], []string{"notify"}) || len(u["Service/ExecStart"]) != 1 || len(u["Install/WantedBy"]) != 1 {
				t.Errorf("got %v", u)
			}
			forbidden := namespaced
			if strings.HasPrefix(name, "user/") {
				forbidden = slices.Concat(namespaced, unprivileged)
			}
			for _, key := range forbidden {
				if u["Service/"+key] != nil {
					t.Errorf("%s breaks mounting", key)
				}
			}
			// What they call is what weir takes.
			for _, key := range []string{"Service/ExecStart", "Service/ExecStop"} {
				for _, line := range u[key] {
					words := strings.Fields(line)
					cmd, rest, err := newRoot().Find(words[1:])
					if err != nil || !cmd.HasParent() || cmd.ParseFlags(rest) != nil {
						t.Errorf("weir doesn't understand %q: %v", line, err)
					}
				}
			}
			verifyUnit(t, path)
		})
	}
}

// verifyUnit asks systemd's own checker, with this weir as the program.
func verifyUnit(t *testing.T, path string) {
	checker, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the unit was only read")
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// An instance of a template has a name, and a copy another place.
	copied := filepath.Join(dir, strings.Replace(filepath.Base(path), "@", "@srv-linux", 1))
	text = bytes.ReplaceAll(text, []byte("/usr/local/bin/weir"), []byte(weirtest.Binary()))
	if err := os.WriteFile(copied, text, 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--man=no"}
	if strings.Contains(path, "/user/") {
		args = append(args, "--user")
	}
	cmd := exec.Command(checker, append(args, copied)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, filepath.Base(copied)) { // others are about units of this machine
			t.Error(line)
		}
	}
	if err != nil && strings.Contains(string(out), copied) {
		t.Error(err)
	}
}

func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if code, _, stderr := runWeir(t, "man", dir); code != 0 {
		t.Fatal(stderr)
	}
	want := map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		want[strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"] = true
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
	pages, err := filepath.Glob(filepath.Join(dir, "weir*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		// Tables keep their lines: each is in a block that is not filled.
		if !want[filepath.Base(page)] || !bytes.Contains(b, []byte(".SH NAME")) || !regexp.MustCompile(`(?m)^\.EX\n +0  `).Match(b) {
			t.Errorf("%s is not a page of a command, or lacks its exit codes, line by line", page)
		}
		delete(want, filepath.Base(page))
	}
	if len(want) > 0 {
		t.Errorf("there are no pages %v", want)
	}
}

func TestCompletion(t *testing.T) {
	for shell := range shells {
		code, script, stderr := runWeir(t, "completion", shell)
		if code != 0 || !strings.Contains(script, "__complete") {
			t.Errorf("%s: exit code %d: %s", shell, code, stderr)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s doesn't understand its script: %v: %s", shell, err, out)
		}
	}
	if code, _, _ := runWeir(t, "completion", "tcsh"); code != exitUsage {
		t.Errorf("completion tcsh: exit code %d, want %d", code, exitUsage)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"mount", ""}, ":16"}, // folders only
		{[]string{"mount", "/mnt", ""}, "torrent\nmagnet\ntxt\nurl\ndesktop\n:8"},
		{[]string{"mount", "--encryption", ""}, "allowed\nrequired\noff\n:4"},
		{[]string{"completion", "z"}, "zsh\n:4"},
		{[]string{"doc"}, "doctor\t"},
	} {
		_, out, _ := runWeir(t, append([]string{cobra.ShellCompRequestCmd}, c.args...)...)
		if !strings.HasPrefix(out, c.want) {
			t.Errorf("%q completes to %q, want %q", c.args, out, c.want)
		}
	}
}

func TestWeirMounts(t *testing.T) {
	const list = "proc /proc proc rw 0 0\nweir /home/u/a\\040b fuse.weir ro 0 0\nmagnet:?xt /mnt fuse.weir ro 0 0\nx /y fuse.other ro 0 0\n"
	if got, want := weirMounts(list), []string{"/home/u/a b", "/mnt"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestManText holds help texts to the form in which the library takes them.
func TestManText(t *testing.T) {
	const in = "One *two* <three>.\n\nCodes:\n  0  ok\n  1  <bad>\nThe end.\n"
	const want = "One \\*two\\* \\<three>.\n\nCodes:\n\n      0  ok\n      1  <bad>\n\nThe end.\n"
	if got := manText(in); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestSettingsInEffect calls weir with settings from everywhere.
func TestSettingsInEffect(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config", "weir"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, ".config", "weir", "config.yaml")
	call := func(text string, args ...string) (int, string, string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(weirtest.Binary(), args...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "WEIR_CACHE_SIZE=2GiB", "WEIR_CASHE=x"}
		return ends(t, cmd)
	}
	code, stdout, stderr := call("cache-size: 1GiB\nread-timeout: 7s\n", "config", "--listen", ":7")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		`cache-size +2\.0 GiB +WEIR_CACHE_SIZE`, `read-timeout +7s +` + file + `:2`, `listen +:7 +flag`, `dht +true +default`,
		`cache +` + filepath.Join(home, ".cache/weir") + ` +default`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(stdout) {
			t.Errorf("no line %q in\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "WEIR_CASHE is no setting, WEIR_CACHE is") {
		t.Errorf("it said %q", stderr)
	}
	for command, want := range map[string]int{"config": exitUsage, "mount " + home + " x.torrent": exitUsage, "cache stat": exitUsage, "doctor": exitFailure} {
		code, stdout, stderr := call("cache-syze: 1GiB\n", strings.Fields(command)...)
		if code != want || !strings.Contains(stdout+stderr, file+`:1: no setting "cache-syze", did you mean "cache-size"?`) {
			t.Errorf("%s: exit code %d, want %d: %s%s", command, code, want, stdout, stderr)
		}
	}
	// The file's mountpoint and torrents, and what is wrong with them.
	if err := os.Mkdir(filepath.Join(home, "t"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = call("mountpoint: ~/t\ntorrents: [~/x.torrent]\n", "mount")
	if code != exitFailure || !strings.Contains(stderr, filepath.Join(home, "x.torrent")) {
		t.Errorf("mount of the file's torrents: exit code %d: %s", code, stderr)
	}
	if code, _, stderr := call("", "mount"); code != exitUsage {
		t.Errorf("mount without anything: exit code %d: %s", code, stderr)
	}
}
