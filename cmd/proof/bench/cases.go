package main

import (
	"slices"
	"strings"

	"github.com/weirfs/weir/cmd/proof/bench/applications"
	"github.com/weirfs/weir/cmd/proof/bench/collections"
	"github.com/weirfs/weir/cmd/proof/bench/hostile"
	"github.com/weirfs/weir/cmd/proof/bench/reading"
	"github.com/weirfs/weir/cmd/proof/bench/storage"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/web"
)

// cases are all workloads, in the order in which they run.
func cases() []suite.Case {
	all := []suite.Case{
		reading.FirstByte("first-byte/lan/torrent", "lan", false, 0, suite.Raw, suite.BTFS),
		reading.FirstByte("first-byte/lan/magnet", "lan", true, 0, suite.Raw),
		reading.FirstByte("first-byte/rtt50/torrent", "rtt50", false, 0.85, suite.Raw, suite.BTFS),
		reading.FirstByte("first-byte/rtt50/magnet", "rtt50", true, 1.0, suite.Raw),
		reading.Sequential{
			Name: "sequential/loopback/1", Wire: "loopback", Hosts: 1, Bytes: suite.GiB, Systems: []string{suite.HTTP},
		}.Case(),
		reading.Sequential{
			Name: "sequential/loopback/4", Wire: "loopback", Hosts: 4, Bytes: suite.GiB, Bar: suite.Bar{Least: 300e6},
			Systems: []string{suite.HTTP, suite.Raw, suite.BTFS},
		}.Case(),
		reading.Sequential{
			Name: "sequential/rtt50/4x5", Wire: "rtt50", Hosts: 4, BytesPerSec: suite.Rate5, Bytes: 160 * suite.MiB, Bar: suite.Bar{LeastOf: 0.97},
			Systems: []string{suite.HTTP, suite.Raw, suite.BTFS},
		}.Case(),
		reading.Sequential{
			Name: "sequential/rtt50/4x20", Wire: "rtt50", Hosts: 4, BytesPerSec: suite.Rate20, Bytes: 640 * suite.MiB, Bar: suite.Bar{Least: 72e6},
			Systems: []string{suite.HTTP, suite.Raw},
		}.Case(),
		reading.RandomReads("random/64k", 64*suite.KiB, 0.180, 0.250, suite.Raw, suite.BTFS),
		reading.RandomReads("random/4k", 4*suite.KiB, 0, 0, suite.Raw),
		reading.SmallReads("off"),
		reading.SmallReads("required"),
		reading.BesideStream(),
		reading.Freeze(),
		hostile.Corrupt(),
		reading.Playback(),
		reading.ManyReaders(),
		reading.StopReading("stop/open", false),
		reading.StopReading("stop/closed", true),
		collections.SmallFiles(),
		collections.AlignedFiles("loopback"),
		collections.AlignedFiles("rtt50"),
		reading.Amplification(),
		storage.Warm(),
		storage.Disk(),
		collections.Metadata(),
		collections.Million(),
		collections.Catalogue(),
		collections.AddTorrent(),
		hostile.Hanging(),
		hostile.DeadMagnets(),
		storage.Hits(),
		storage.Puts(),
		applications.Video(applications.MoovLast, 0.9, 4e6, suite.HTTP, suite.BTFS),
		applications.Video(applications.Faststart, 0.7, 0, suite.HTTP),
		applications.Video(applications.Matroska, 0.7, 0, suite.HTTP),
	}
	all = append(all,
		web.FirstByte(),
		web.Random(),
		web.Sequential("web/sequential/rtt50", 160*suite.MiB),
		web.Sequential("web/gigabyte/rtt50", suite.GiB),
		web.Loopback(),
		web.Bounded(),
		web.BesidePeers(),
		applications.WebVideo(applications.MoovLast),
		web.SmallFiles(),
		web.Archive(),
	)
	for _, u := range applications.Uses() {
		all = append(all, applications.Program(u))
	}
	return append(all, hostile.Cases()...)
}

// quick are the cases that --quick runs, small: one of each kind of swarm.
var quick = []string{
	"first-byte/rtt50/torrent", "sequential/loopback/4", "random/64k", "corrupt", "warm", "metadata", "program/unzip -l",
}

// quickly returns the cases for --quick. They are held to no bar: a machine that
// runs tests is in no state to be measured.
func quickly(all []suite.Case) (some []suite.Case) {
	for _, c := range all {
		if !slices.Contains(quick, c.Name) {
			continue
		}
		c.Figures = slices.Clone(c.Figures)
		for i := range c.Figures {
			c.Figures[i].Bar = suite.Bar{}
		}
		some = append(some, c)
	}
	return some
}

// chosen returns the cases whose names contain one of the parts, which have
// commas between; for none all but those that run only when named.
func chosen(all []suite.Case, parts string) (some []suite.Case) {
	for _, c := range all {
		if parts == "" && c.Aside {
			continue
		}
		for part := range strings.SplitSeq(parts, ",") {
			if strings.Contains(c.Name, part) {
				some = append(some, c)
				break
			}
		}
	}
	return some
}
