// Package api is the client side of weir's control API: the types of version 1 (documented
// in docs/api.md), a client that speaks HTTP and JSON over a mount's unix socket, and how to
// find that socket from any path inside a mount.
//
// What must not live here: the server (package control), and whatever prints.
package api

// Prefix begins the path of every resource of this version. Fields may be added to
// a version; removing one or changing its meaning needs a new version.
const Prefix = "/v1"

// ControlAttr is the extended attribute of a mount's root that holds the path of
// its control socket.
const ControlAttr = "user.weir.control"
