// Package background is what it takes to run weir without anybody looking at it:
// a process that leaves the terminal once its mount is ready (Detach), the word
// to those who wait for that, a service manager among them (ReadyNotifier), and a small
// process beside weir that clears its mount away when weir dies (Guard).
//
// What must not live here: mounting itself, and what a command line means.
package background
