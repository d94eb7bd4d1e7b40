package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// Pinner pins, fetches and evicts at random.
type Pinner struct {
	mount    *Mount
	faults   *FaultLog
	torrents []*Torrent
}

// Run runs one command after another until ctx ends.
func (k *Pinner) Run(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(200+random.IntN(1500))*time.Millisecond) {
		b := k.torrents[random.IntN(len(k.torrents))]
		path := k.mount.Path(b.Name)
		if random.IntN(2) == 0 {
			path = k.mount.Path(b.Files[random.IntN(len(b.Files))].Path)
		}
		verb := []string{"evict", "evict", "pin", "unpin", "unpin", "fetch", "status", "ls"}[random.IntN(8)]
		if verb == "evict" {
			k.faults.Count(Evicted)
		}
		limit, cancel := context.WithTimeout(ctx, time.Duration(1+random.IntN(10))*time.Second)
		err := k.mount.Command(limit, verb, path)
		interrupted := limit.Err() != nil
		cancel()
		if err == nil || interrupted {
			continue
		}
		// Pins are limited, and torrents are removed.
		refused := verb == "pin" && strings.Contains(err.Error(), "cache")
		if refused || k.faults.InForce(slack, Removed) || k.faults.InForce(slack, disruptive...) || strings.Contains(err.Error(), "not answered") {
			k.faults.Seen(verb + " failed")
			continue
		}
		k.faults.Fail("%v", err)
	}
}
