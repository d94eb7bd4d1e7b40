// Package mountpoint knows where weir is or may be mounted: whether a folder can be mounted
// on, what is mounted there by whatever process, who uses it, which copies it has, and how to
// unmount it.
//
// What must not live here: what a mount shows, and the connection to the kernel.
package mountpoint
