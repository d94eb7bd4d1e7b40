package background

import (
	"os/exec"
	"testing"
	"time"
)

// TestDying looks at a process that runs, one that has ended and is not asked for its
// exit code yet, and none.
func TestDying(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if dying(pid) {
		t.Error("a process that runs counts as dying")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !dying(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process that has ended does not count as dying")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if dying(pid) {
		t.Error("no process counts as dying")
	}
}
