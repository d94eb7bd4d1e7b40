package weir_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readPages returns the text of the pages that match, by path.
func readPages(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no page %s: %v", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			pages[name] = string(b)
		}
	}
	return pages
}

var (
	pageLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors returns the names by which links lead to the headings of a page.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		names[regexp.MustCompile(`[^\pL\pN_-]`).ReplaceAllString(name, "")] = true
	}
	return names
}

// TestLinks follows every link from page to page, to its heading too.
func TestLinks(t *testing.T) {
	for page, text := range readPages(t, "*.md", "docs/*.md", "docs/decisions/*.md") {
		for _, m := range pageLink.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			b, err := os.ReadFile(to)
			if info, statErr := os.Stat(to); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if anchor != "" && !anchors(string(b))[anchor] {
				t.Errorf("%s links to %s, and there is no such heading", page, m[1])
			}
		}
	}
}

var (
	testName   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)(…?)")
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	pathName   = regexp.MustCompile("`((?:cache|cmd|contrib|engine|fs|reader)/[\\w./-]+)`")
	makeTarget = regexp.MustCompile("(?m)(?:`|^    )make ([a-z]+)")
)

// TestDocumentedTests looks for each test, each file and folder, and each target of
// make that the pages name.
func TestDocumentedTests(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for page, text := range readPages(t, "README.md", "SECURITY.md", "docs/*.md") {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			found := tests[m[1]]
			for name := range tests {
				found = found || m[2] != "" && strings.HasPrefix(name, m[1])
			}
			if !found {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
		for _, m := range pathName.FindAllStringSubmatch(text, -1) {
			if strings.HasSuffix(m[1], "...") {
				continue
			}
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s names make %s, and the Makefile has no such target", page, m[1])
			}
		}
	}
}

// otherMessages are fragments of messages that are the kernel's, a library's or another
// program's, or that weir puts together from values.
var otherMessages = []string{
	"mount failed: Operation not permitted", "unknown filesystem type 'fuse.weir'", "weir: not found", "Failed with result 'timeout'",
	"permission denied", "read-only file system", "no space left on device", "Connection timed out", "Input/output error", "Stale file handle",
	"Transport endpoint is not connected", "Permission denied", "Read-only file system", "Invalid argument",
	") has not answered for", "is a loopback address", "a private address",
	"cp x.torrent ~/t/", "git clone ~/t/x.git",
}

var (
	messageParts = regexp.MustCompile(`…|"|\d+|\b[A-Z]+_|/dev/fuse`)
	cellBorder   = regexp.MustCompile(`[^\\]\|`)
)

// TestDocumentedMessages looks in the code for each message that the page of
// troubleshooting explains.
func TestDocumentedMessages(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == filepath.Join("cmd", "proof"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for page, text := range readPages(t, "docs/troubleshooting.md") {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "| ") {
				continue
			}
			cell := cellBorder.Split(line[1:], 2)[0]
			for i, span := range strings.Split(cell, "`") {
				longest := ""
				for _, part := range messageParts.Split(span, -1) {
					if part = strings.Trim(part, " :="); len(part) > len(longest) {
						longest = part
					}
				}
				if i%2 == 0 || slices.Contains(otherMessages, longest) {
					continue
				}
				found++
				if !strings.Contains(code.String(), longest) {
					t.Errorf("%s explains %q, and no code says %q", page, span, longest)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d messages", found)
	}
}
