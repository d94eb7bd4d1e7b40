// Package mountpoint knows the places where weir is mounted, without a file system:
// whether one can be mounted there, what is mounted, who uses it and which copies
// it has, and how it is unmounted, by whatever process it was mounted.
//
// What must not live here: what a mount shows, and the connection to the kernel.
package mountpoint
