package process

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	status := func(state, thread, process, blocked, ignored string) []byte {
		return []byte("Name:\tcat\nState:\t" + state + "\nSigQ:\t0/1\nSigPnd:\t" + thread + "\nShdPnd:\t" + process +
			"\nSigBlk:\t" + blocked + "\nSigIgn:\t" + ignored + "\nSigCgt:\t0000000000000002\n")
	}
	const none, sigint, sigkill, sigchld = "0000000000000000", "0000000000000002", "0000000000000100", "0000000000010000"
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"Running", status("R (running)", none, none, none, none), false},
		{"Stuck", status("D (disk sleep)", none, none, none, none), false},
		{"StuckWithInt", status("D (disk sleep)", sigint, none, none, none), true},
		{"StuckWithIntOfProcess", status("D (disk sleep)", none, sigint, none, none), true},
		{"StuckKilled", status("D (disk sleep)", sigkill, none, none, none), true},
		{"StuckWithChild", status("D (disk sleep)", sigchld, none, none, none), false},
		{"IntBlocked", status("D (disk sleep)", none, sigint, sigint, none), false},
		{"IntIgnored", status("D (disk sleep)", none, sigint, none, sigint), false},
		{"AboutToHandle", status("S (sleeping)", sigint, none, none, none), false},
		{"Zombie", status("Z (zombie)", none, none, none, none), true},
		{"Rubbish", []byte("State:\nSigPnd: x"), false},
		{"Empty", nil, false},
	} {
		if got := parseStatus(tt.b).stopped(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestInterruptedInPassing(t *testing.T) {
	const urg, winch, sigint = 1 << (syscall.SIGURG - 1), 1 << (syscall.SIGWINCH - 1), 1 << (syscall.SIGINT - 1)
	for _, tt := range []struct {
		name string
		s    threadStatus
		want bool
	}{
		{"Nothing", threadStatus{}, false},
		{"Urgent", threadStatus{pending: urg}, true},
		{"Two", threadStatus{pending: urg | winch}, true},
		{"AndInt", threadStatus{pending: urg | sigint}, false},
		{"AndIntBlocked", threadStatus{pending: urg | sigint, blocked: sigint}, true},
		{"Blocked", threadStatus{pending: urg, blocked: urg}, false},
		{"Stop", threadStatus{pending: 1 << (syscall.SIGTSTP - 1)}, false},
		{"Unknown", threadStatus{pending: 1 << 40}, false},
	} {
		if got := tt.s.inPassing(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte("State:\tD (disk sleep)\nSigPnd:\t0000000000000002\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := parseStatus(b); s.stopped() && s.state != 'D' && s.state != 'Z' && s.state != 'X' {
			t.Fatalf("%+v is stopped", s)
		}
	})
}

func TestReaderStopped(t *testing.T) {
	if Stopped(uint32(os.Getpid())) {
		t.Error("we are here")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if Stopped(uint32(cmd.Process.Pid)) {
		t.Error("the child is there")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !Stopped(uint32(cmd.Process.Pid)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a zombie is not seen")
		}
	}
	cmd.Wait()
	if !Stopped(uint32(cmd.Process.Pid)) {
		t.Error("the child is gone")
	}
}
