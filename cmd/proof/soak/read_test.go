package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

// read runs a reading program on a folder with one file.
func read(t *testing.T, way string, f File, content []byte) Progress {
	t.Helper()
	dir := t.TempDir()
	if content != nil {
		if err := os.WriteFile(filepath.Join(dir, f.Path), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	job, err := json.Marshal(Job{Way: way, Mount: dir, Files: []File{f}, Seed: 3, Threads: 2, For: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code, err := run(t.Context(), []string{"read", string(job)}, &out, os.Stderr); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var p Progress
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &p); err != nil {
		t.Fatal(err)
	}
	if !p.Done {
		t.Error("the last line is not the last")
	}
	return p
}

// TestRead reads right and wrong files in all ways: a reader that can't see a wrong
// byte would make the whole run worthless.
func TestRead(t *testing.T) {
	f := File{Path: "x", Length: 300_001, Seed: 9}
	right := make([]byte, f.Length)
	swarmtest.Fill(right, f.Seed, 0)
	flipped := bytes.Clone(right)
	for i := 1000; i < len(flipped); i += 4096 {
		flipped[i] ^= 1
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			if p := read(t, way, f, right); p.Wrong != "" || p.Errno != "" || p.Bytes == 0 {
				t.Errorf("the right file: %+v", p)
			}
			if p := read(t, way, f, flipped); !strings.Contains(p.Wrong, "and not 0x") {
				t.Errorf("the wrong file: %+v", p)
			}
			if p := read(t, way, f, right[:f.Length-1]); !strings.Contains(p.Wrong, "has 300000 bytes") {
				t.Errorf("the short file: %+v", p)
			}
			if p := read(t, way, f, nil); p.Errno != "ENOENT" {
				t.Errorf("no file: %+v", p)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-minutes", "0"}, {"-readers", "0"}, {"-mib", "1"}, {"x"}, {"-nonsense"}} {
		if code, err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); code != 2 || err != nil {
			t.Errorf("%v: exit code %d, %v", args, code, err)
		}
	}
}
