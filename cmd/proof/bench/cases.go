package main

import (
	"slices"
	"strings"
)

// cases are all workloads, in the order in which they run.
func cases() []Case {
	all := []Case{
		firstByte("first-byte/lan/torrent", "lan", false, 0, rawSystem, btfsSystem),
		firstByte("first-byte/lan/magnet", "lan", true, 0, rawSystem),
		firstByte("first-byte/rtt50/torrent", "rtt50", false, 0.85, rawSystem, btfsSystem),
		firstByte("first-byte/rtt50/magnet", "rtt50", true, 1.0, rawSystem),
		sequentialCase{
			name: "sequential/loopback/1", wire: "loopback", hosts: 1, bytes: gib, systems: []string{httpSystem},
		}.Case(),
		sequentialCase{
			name: "sequential/loopback/4", wire: "loopback", hosts: 4, bytes: gib, bar: Bar{Least: 300e6},
			systems: []string{httpSystem, rawSystem, btfsSystem},
		}.Case(),
		sequentialCase{
			name: "sequential/rtt50/4x5", wire: "rtt50", hosts: 4, bytesPerSec: rate5, bytes: 160 * mib, bar: Bar{LeastOf: 0.97},
			systems: []string{httpSystem, rawSystem, btfsSystem},
		}.Case(),
		sequentialCase{
			name: "sequential/rtt50/4x20", wire: "rtt50", hosts: 4, bytesPerSec: rate20, bytes: 640 * mib, bar: Bar{Least: 72e6},
			systems: []string{httpSystem, rawSystem},
		}.Case(),
		randomReads("random/64k", 64*kib, 0.180, 0.250, rawSystem, btfsSystem),
		randomReads("random/4k", 4*kib, 0, 0, rawSystem),
		smallReads("off"),
		smallReads("required"),
		besideStream(),
		freeze(),
		corrupt(),
		playback(),
		manyReaders(),
		stopReading("stop/open", false),
		stopReading("stop/closed", true),
		smallFiles(),
		alignedFiles("loopback"),
		alignedFiles("rtt50"),
		amplification(),
		warm(),
		disk(),
		metadata(),
		million(),
		catalogue(),
		addTorrent(),
		hanging(),
		deadMagnets(),
		hits(),
		puts(),
		video(moovLast, 0.9, 4e6, httpSystem, btfsSystem),
		video(faststart, 0.7, 0, httpSystem),
		video(matroska, 0.7, 0, httpSystem),
	}
	for _, u := range uses() {
		all = append(all, realProgram(u))
	}
	return append(all, hostileCases()...)
}

// quick are the cases that --quick runs, small: one of each kind of swarm.
var quick = []string{
	"first-byte/rtt50/torrent", "sequential/loopback/4", "random/64k", "corrupt", "warm", "metadata", "program/unzip -l",
}

// quickly returns the cases for --quick. They are held to no bar: a machine that
// runs tests is in no state to be measured.
func quickly(all []Case) (some []Case) {
	for _, c := range all {
		if !slices.Contains(quick, c.Name) {
			continue
		}
		c.Figures = slices.Clone(c.Figures)
		for i := range c.Figures {
			c.Figures[i].Bar = Bar{}
		}
		some = append(some, c)
	}
	return some
}

// chosen returns the cases whose names contain one of the parts, which have
// commas between; for none all but those that run only when named.
func chosen(all []Case, parts string) (some []Case) {
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
