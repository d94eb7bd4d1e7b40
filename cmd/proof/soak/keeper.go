package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// Keeper pins, fetches and evicts.
type Keeper struct {
	mount  *Mount
	ledger *Ledger
	books  []*Book
}

// Run gives one command after another until the context ends.
func (k *Keeper) Run(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(200+random.IntN(1500))*time.Millisecond) {
		b := k.books[random.IntN(len(k.books))]
		path := k.mount.Path(b.Name)
		if random.IntN(2) == 0 {
			path = k.mount.Path(b.Files[random.IntN(len(b.Files))].Path)
		}
		verb := []string{"evict", "evict", "pin", "unpin", "unpin", "fetch", "status", "ls"}[random.IntN(8)]
		if verb == "evict" {
			k.ledger.Count(Evicted)
		}
		limit, cancel := context.WithTimeout(ctx, time.Duration(1+random.IntN(10))*time.Second)
		err := k.mount.Command(limit, verb, path)
		given := limit.Err() != nil // interrupted by us
		cancel()
		if err == nil || given {
			continue
		}
		// Pins have a bound, and torrents go.
		refused := verb == "pin" && strings.Contains(err.Error(), "cache")
		if refused || k.ledger.InForce(slack, Removed) || k.ledger.InForce(slack, disturbing...) || strings.Contains(err.Error(), "not answered") {
			k.ledger.Seen(verb + " failed")
			continue
		}
		k.ledger.Fail("%v", err)
	}
}
