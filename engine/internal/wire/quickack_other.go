//go:build !linux

package wire

func setQuickAck(uintptr) {} // the option is Linux's own
