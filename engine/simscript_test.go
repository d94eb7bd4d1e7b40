package engine_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/attack"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// simScript is everything that happens in a simulation, drawn from a seed in advance. It
// does not determine the order of goroutines that are ready at the same moment, of maps, and
// the random IDs of peers.
type simScript struct {
	Seed     uint64
	Options  engine.Options // but for Store, Network and the like
	Store    simFaults
	Torrents []simTorrent
	Readers  []simReader
	Losses   []simLoss
	Limits   []simLimits
	Close    time.Duration // ends the engine under the readers; 0 for after them
}

type simTorrent struct {
	Content  swarmtest.ContentOptions
	Magnet   bool
	Peers    bool // the spec names them
	Tracker  swarmtest.TrackerFault
	NoTrack  bool // it has no tracker
	Seeders  []simSeeder
	Attacks  []simAttack
	Removed  time.Duration // 0 for never
	AddAgain bool          // right after
}

type simSeeder struct {
	Kind         string
	Honest       bool // and there all the time
	Link         simnet.Link
	Faults       swarmtest.Faults
	Encrypt      swarmtest.Encryption
	PartPerMille int           // per mille of the pieces that it has
	LeavesAt     time.Duration // 0 for never
	ResetEvery   time.Duration // connections are reset so often; 0 for never
	ConnectsAt   time.Duration // when it connects to us; 0 for never
}

type simAttack struct {
	Kind  int // of attack.Kinds
	At    time.Duration
	Bytes int
}

type simReader struct {
	Torrent int
	Start   time.Duration
	Reads   []simRead
}

type simRead struct {
	Off, Length int64 // per million of the content, and bytes
	Within      time.Duration
	Cancel      time.Duration // 0 for never
	Window      int64         // bytes ahead; 0 for none
	Pause       time.Duration
}

// simLoss is the Store forgetting a share of its pieces, per mille.
type simLoss struct {
	At    time.Duration
	Share int
}

type simLimits struct {
	At       time.Duration
	Up, Down int64
}

// simReadTime is the deadline of a read that must succeed.
const simReadTime = 4 * time.Minute

// draw makes random choices.
type draw struct{ *rand.Rand }

// chance is true in so many cases of 1000.
func (d draw) chance(perMille int) bool { return d.IntN(1000) < perMille }

func (d draw) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)+1))
}

func pick[T any](d draw, of ...T) T { return of[d.IntN(len(of))] }

// newSimScript draws the script of a seed.
func newSimScript(seed uint64) *simScript {
	d := draw{rand.New(rand.NewPCG(seed, 0x5eed))}
	s := &simScript{Seed: seed}
	s.Options = engine.Options{
		MaxPeers:       pick(d, 0, 0, 3, 8, 20),
		MaxConnections: pick(d, 0, 0, 6, 20, 60),
		MemoryBytes:    pick[int64](d, 0, 1<<20, 4<<20),
		MaxWarm:        pick(d, 0, 0, 1),
		Idle:           pick(d, 0, time.Second, 20*time.Second),
		Encryption:     pick(d, engine.EncryptionAllowed, engine.EncryptionAllowed, engine.EncryptionAllowed, engine.EncryptionOff, engine.EncryptionRequired),
	}
	if d.chance(200) {
		s.Options.DownloadLimit = pick[int64](d, 50_000, 500_000, 5_000_000)
	}
	if d.chance(300) {
		s.Store = d.storeFaults()
	}
	for i := range 1 + d.IntN(3) {
		s.Torrents = append(s.Torrents, d.torrent(i, s.Options.Encryption))
	}
	for range 1 + d.IntN(5) {
		s.Readers = append(s.Readers, d.reader(len(s.Torrents)))
	}
	for d.chance(250) {
		s.Losses = append(s.Losses, simLoss{At: d.between(0, time.Minute), Share: pick(d, 100, 500, 1000)})
	}
	for d.chance(150) {
		s.Limits = append(s.Limits, simLimits{At: d.between(0, time.Minute), Up: pick[int64](d, 0, 20_000), Down: pick[int64](d, 0, 100_000, 1_000_000)})
	}
	if d.chance(80) {
		s.Close = d.between(0, time.Minute)
	}
	return s
}

func (d draw) storeFaults() simFaults {
	f := simFaults{}
	if d.chance(400) {
		f.Ready = d.between(0, 30*time.Second)
	}
	if d.chance(400) {
		f.PutDelay = d.between(0, 2*time.Second)
	}
	if d.chance(300) {
		f.ReadDelay = d.between(0, 200*time.Millisecond)
	}
	if d.chance(300) {
		f.PutFails = pick(d, 20, 300, 1000)
	}
	if d.chance(150) {
		f.ReadFails = pick(d, 20, 200)
	}
	if d.chance(200) {
		f.RecordFails = pick(d, 200, 1000)
	}
	if d.chance(300) {
		f.FullFrom, f.FullFor = d.between(0, 20*time.Second), d.between(0, time.Minute)
	}
	return f
}

func (d draw) torrent(i int, e engine.Encryption) simTorrent {
	t := simTorrent{
		Content: swarmtest.ContentOptions{
			Name: fmt.Sprintf("torrent %d", i), PieceLength: int64(16<<10) << d.IntN(4),
			Version: pick(d, swarmtest.V1, swarmtest.V1, swarmtest.V2, swarmtest.Hybrid),
			Private: d.chance(150),
		},
		Magnet: d.chance(350), Peers: d.chance(600), NoTrack: d.chance(300),
	}
	t.Content.Padding = t.Content.Version == swarmtest.V1 && d.chance(200)
	for f := range 1 + d.IntN(4) {
		t.Content.Files = append(t.Content.Files, swarmtest.File{
			Path: []string{fmt.Sprintf("%c.bin", 'a'+f)}, Length: 1 + d.Int64N(pick[int64](d, 100, 100_000, 1_000_000)), Seed: d.Uint64N(100),
		})
	}
	if d.chance(250) {
		t.Tracker = pick(d, swarmtest.TrackerRefuses, swarmtest.TrackerError, swarmtest.TrackerHangs, swarmtest.TrackerEmpty, swarmtest.TrackerGarbage)
	}
	for range 1 + d.IntN(5) {
		t.Seeders = append(t.Seeders, d.seeder(e))
	}
	for d.chance(200) {
		t.Attacks = append(t.Attacks, simAttack{Kind: d.IntN(len(attack.Kinds())), At: d.between(0, time.Minute), Bytes: 16 << 10 << d.IntN(6)})
	}
	if d.chance(150) {
		t.Removed, t.AddAgain = d.between(time.Millisecond, time.Minute), d.chance(600)
	}
	return t
}

// seederKinds are ways in which a seeder is dishonest.
var seederKinds = []struct {
	name string
	set  func(d draw, s *simSeeder)
}{
	{"mute", func(d draw, s *simSeeder) { s.Faults.Mute = true }},
	{"wrong info hash", func(d draw, s *simSeeder) { s.Faults.WrongInfoHash = true }},
	{"bitfield extra", func(d draw, s *simSeeder) { s.Faults.BitfieldExtra = true }},
	{"bitfield spare", func(d draw, s *simSeeder) { s.Faults.BitfieldSpare = true }},
	{"frozen", func(d draw, s *simSeeder) { s.Faults.FreezeAfter = 1 + d.Int64N(300_000) }},
	{"drops", func(d draw, s *simSeeder) { s.Faults.DropAfter = 1 + d.Int64N(300_000) }},
	{"late", func(d draw, s *simSeeder) { s.Faults.ReplyDelay = d.between(0, 40*time.Second) }},
	{"chokes", func(d draw, s *simSeeder) { s.Faults.Choke = true }},
	{"chokes by turns", func(d draw, s *simSeeder) {
		s.Faults.ChokeEvery, s.Faults.ChokeFor = d.between(time.Millisecond, 20*time.Second), d.between(time.Millisecond, 20*time.Second)
	}},
	{"rejects", func(d draw, s *simSeeder) { s.Faults.RejectAll = true }},
	{"ignores", func(d draw, s *simSeeder) { s.Faults.IgnoreAll = true }},
	{"late blocks", func(d draw, s *simSeeder) { s.Faults.LateBlocks = true }},
	{"corrupt", func(d draw, s *simSeeder) { s.Faults.Corrupt = func(int) bool { return true } }},
	{"half corrupt", func(d draw, s *simSeeder) {
		odd := d.IntN(2)
		s.Faults.Corrupt = func(i int) bool { return i%2 == odd }
	}},
	{"garbage", func(d draw, s *simSeeder) { s.Faults.Garbage = true }},
	{"overlong", func(d draw, s *simSeeder) { s.Faults.Overlong = true }},
	{"bad have", func(d draw, s *simSeeder) { s.Faults.BadHave = true }},
	{"unasked", func(d draw, s *simSeeder) { s.Faults.Unasked = true }},
	{"no metadata", func(d draw, s *simSeeder) { s.Faults.MetadataReject = true }},
	{"silent metadata", func(d draw, s *simSeeder) { s.Faults.MetadataSilent = true }},
	{"corrupt metadata", func(d draw, s *simSeeder) { s.Faults.MetadataCorrupt = true }},
	{"slow metadata", func(d draw, s *simSeeder) { s.Faults.MetadataDelay = d.between(0, time.Minute) }},
	{"metadata size", func(d draw, s *simSeeder) { s.Faults.MetadataSize = 1 + d.Int64N(1<<d.IntN(34)) }},
	{"no hashes", func(d draw, s *simSeeder) { s.Faults.HashesReject = true }},
	{"silent hashes", func(d draw, s *simSeeder) { s.Faults.HashesSilent = true }},
	{"wrong hashes", func(d draw, s *simSeeder) { s.Faults.HashesWrong = true }},
	{"partial", func(d draw, s *simSeeder) { s.PartPerMille = d.IntN(1000) }},
	{"leaves", func(d draw, s *simSeeder) { s.LeavesAt = d.between(time.Millisecond, time.Minute) }},
	{"resets", func(d draw, s *simSeeder) { s.ResetEvery = d.between(100*time.Millisecond, 30*time.Second) }},
	{"slow line", func(d draw, s *simSeeder) { s.Link.BytesPerSec = 500 + d.Int64N(5000) }},
	{"other encryption", func(d draw, s *simSeeder) { s.Encrypt = pick(d, swarmtest.EncryptionOff, swarmtest.EncryptionRequired) }},
}

func (d draw) seeder(e engine.Encryption) simSeeder {
	s := simSeeder{
		Kind: "honest", Honest: true, PartPerMille: 1000, Encrypt: pick(d, swarmtest.EncryptionAllowed, swarmtest.EncryptionOff),
		Link: simnet.Link{RTT: d.between(0, 300*time.Millisecond), BytesPerSec: 100_000 + d.Int64N(10_000_000)},
	}
	if e == engine.EncryptionRequired {
		s.Encrypt = pick(d, swarmtest.EncryptionAllowed, swarmtest.EncryptionRequired)
	}
	s.Faults.NoFast = d.chance(100)
	if d.chance(200) {
		s.ConnectsAt = d.between(time.Millisecond, 30*time.Second)
	}
	if d.chance(550) {
		k := seederKinds[d.IntN(len(seederKinds))]
		s.Kind, s.Honest = k.name, false
		k.set(d, &s)
	}
	return s
}

func (d draw) reader(torrents int) simReader {
	r := simReader{Torrent: d.IntN(torrents), Start: d.between(0, pick(d, 0, time.Second, time.Minute))}
	at := d.Int64N(1_000_000)
	for range 1 + d.IntN(8) {
		if d.chance(300) {
			at = d.Int64N(1_000_000)
		}
		rd := simRead{Off: at, Length: 1 + d.Int64N(pick[int64](d, 4096, 131072, 500_000)), Within: simReadTime, Pause: d.between(0, pick(d, 0, time.Second, 30*time.Second))}
		switch d.IntN(6) {
		case 0:
			rd.Within = d.between(0, 30*time.Second)
		case 1:
			rd.Cancel = d.between(0, 5*time.Second)
		}
		if d.chance(300) {
			rd.Window = d.Int64N(1_000_000)
		}
		r.Reads = append(r.Reads, rd)
		at += 20_000
	}
	return r
}
