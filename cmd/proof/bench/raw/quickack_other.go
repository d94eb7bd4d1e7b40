//go:build !linux

package raw

func setQuickAck(uintptr) {}
