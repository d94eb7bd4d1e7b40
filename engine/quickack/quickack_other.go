//go:build !linux

package quickack

func setQuickAck(uintptr) {} // the option is Linux's own
