package daemon

import (
	"reflect"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

func TestWebSeeds(t *testing.T) {
	info := &weir.TorrentInfo{Files: []weir.FileInfo{{Path: []string{"a"}}, {Path: []string{"sub", "b"}}}}
	told := []engine.WebSeed{
		{URL: "http://h/", State: engine.WebSeedBusy, Rate: 1000.7, Received: 5, Why: "h: sub/b: 404 Not Found", Stale: []int{1, 9}, Newer: "https://n/"},
	}
	got := webSeeds([]string{"http://other/"}, told, info)
	want := []api.WebSeed{{URL: "http://h/", State: "busy", Rate: 1000, Received: 5, Error: "h: sub/b: 404 Not Found", Stale: []string{"sub/b"}, Newer: "https://n/"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("warm: %+v", got)
	}
	got = webSeeds([]string{"http://me:secret@h/x", "http://%zz/"}, nil, nil)
	if want := []api.WebSeed{{URL: "http://h/x", State: "untried"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("cold: %+v", got)
	}
	if n := activeWebSeeds(append(told, engine.WebSeed{State: engine.WebSeedReady}, engine.WebSeed{State: engine.WebSeedPaused}, engine.WebSeed{})); n != 2 {
		t.Errorf("%d are active, want 2", n)
	}
	if got := webSeedLines(told); got != "http://h/ busy 1000\n" {
		t.Errorf("attribute: %q", got)
	}
}
