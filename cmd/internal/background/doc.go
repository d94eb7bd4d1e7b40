// Package background runs weir unattended: Detach leaves the terminal once the mount is
// ready, ReadyNotifier reports readiness to the starting process and to systemd, and a
// Guard, a small process beside weir, unmounts when weir dies.
//
// What must not live here: mounting itself, and what a command line means.
package background
