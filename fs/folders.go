package fs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// byHashName is the folder in the root that leads to torrents by info hash.
const byHashName = "by-hash"

// root is the part of the tree above the torrents: the sorting folders, and in them the
// torrents' folders and incoming files. It is small, and one lock guards all of it.
type root struct {
	mu       sync.RWMutex
	next     uint64 // position of the next slot
	top      *folder
	torrents []*torrent // as added, by number
	byPrefix map[uint64]owner
	byHash   map[weir.InfoHash]*torrent
}

// owner is what the nodes with one prefix belong to: either a torrent or a folder.
type owner struct {
	t   *torrent
	dir *folder
}

// folder is a sorting folder, or the root itself. It is listed in the order in which things
// were added. A position never changes, so a listing that is under way neither repeats nor
// misses what stays.
type folder struct {
	id         node.ID
	slot       *slot // nil: the root
	changed    time.Time
	order      []*slot
	byName     map[string]*slot
	subdirs    int
	handedOver map[string]*slot // incoming files that are not listed any more: see delist
}

// slot is a name in a folder: of a torrent's folder, a sorting folder, an incoming file,
// or of by-hash. A slot never changes; a move makes another one.
type slot struct {
	in       *folder
	name     string
	position uint64
	t        *torrent
	dir      *folder
	file     *incomingFile
}

func (s *slot) isDir() bool { return s.file == nil }

// node returns the node id, which is also the inode number.
func (s *slot) node() node.ID {
	switch {
	case s.t != nil:
		return node.Make(s.t.prefix, 0)
	case s.dir != nil:
		return s.dir.id
	case s.file != nil:
		return s.file.id
	}
	return node.ByHash
}

func newRoot(now time.Time, byHash bool) *root {
	r := &root{
		top:      &folder{id: node.Root, changed: now, byName: make(map[string]*slot)},
		byPrefix: make(map[uint64]owner),
		byHash:   make(map[weir.InfoHash]*torrent),
	}
	if byHash {
		r.put(&slot{in: r.top, name: byHashName})
	}
	return r
}

// put adds a slot at the end of its folder.
func (r *root) put(s *slot) {
	s.position = r.next
	r.next++
	s.in.order = append(s.in.order, s)
	s.in.byName[s.name] = s
	s.markChanged()
	if s.isDir() {
		s.in.subdirs++
	}
}

// drop removes a slot from its folder.
func (r *root) drop(s *slot) {
	i, _ := slices.BinarySearchFunc(s.in.order, s.position, func(s *slot, position uint64) int { return cmp.Compare(s.position, position) })
	s.in.order = slices.Delete(s.in.order, i, i+1)
	delete(s.in.byName, s.name)
	s.markChanged()
	if s.isDir() {
		s.in.subdirs--
	}
}

// markChanged sets the folder's time when a slot is added or removed. Incoming files don't
// count: they are never in the catalogue, so the time would not survive a restart.
func (s *slot) markChanged() {
	if s.file == nil {
		s.in.changed = time.Now()
	}
}

// find returns the sorting folder at dir.
func (r *root) find(dir string) (*folder, error) {
	names, err := tree.SplitDir(dir)
	if err != nil {
		return nil, err
	}
	at := r.top
	for _, name := range names {
		s := at.byName[name]
		if s == nil || s.dir == nil {
			return nil, weir.Errorf(weir.ErrNotFound, "there is no folder %q", dir)
		}
		at = s.dir
	}
	return at, nil
}

// findOrMake returns the sorting folder at dir. It makes it and those above it if they are
// missing, and returns the folders that changed.
func (r *root) findOrMake(dir string) (at *folder, changed []node.ID, err error) {
	names, err := tree.SplitDir(dir)
	if err != nil {
		return nil, nil, err
	}
	at = r.top
	for i, name := range names {
		s := at.byName[name]
		if s == nil {
			sub := &folder{id: r.freeNode(strings.Join(names[:i+1], "/")), byName: make(map[string]*slot), changed: time.Now()}
			s = &slot{in: at, name: name, dir: sub}
			sub.slot = s
			prefix, _ := sub.id.Split()
			r.byPrefix[prefix] = owner{dir: sub}
			r.put(s)
			changed = append(changed, at.id)
		}
		if s.dir == nil {
			return nil, changed, weir.Errorf(weir.ErrExists, "folder %q: %q is not a folder of torrents", dir, name)
		}
		at = s.dir
	}
	return at, changed, nil
}

// freeNode returns the node id of a new sorting folder.
func (r *root) freeNode(dir string) node.ID {
	for n := uint32(0); ; n++ {
		prefix := node.FolderPrefix(dir, n)
		if _, taken := r.byPrefix[prefix]; !taken {
			return node.Make(prefix, 0)
		}
	}
}

// path returns where a folder is, "" for the root.
func (r *root) path(d *folder) string {
	if d.slot == nil {
		return ""
	}
	p := d.slot.name
	for d = d.slot.in; d.slot != nil; d = d.slot.in {
		p = d.slot.name + "/" + p
	}
	return p
}

func (r *root) makeFolder(dir string) (changed []node.ID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.find(dir); err == nil {
		return nil, weir.Errorf(weir.ErrExists, "folder %q exists already", dir)
	}
	_, changed, err = r.findOrMake(dir)
	return changed, err
}

func (r *root) removeFolder(dir string) (*slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.find(dir)
	switch {
	case err != nil:
		return nil, err
	case d == r.top:
		return nil, weir.Errorf(weir.ErrInvalid, "the mount's root can't be removed")
	case len(d.order) > 0:
		return nil, weir.Errorf(weir.ErrInUse, "remove folder %q: it is not empty: it holds %q", dir, d.order[0].name)
	}
	for _, s := range d.handedOver {
		s.file.slot = nil
	}
	prefix, _ := d.id.Split()
	delete(r.byPrefix, prefix)
	r.drop(d.slot)
	return d.slot, nil
}

func (r *root) moveFolder(from, to string) (old *slot, changed []node.ID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.find(from)
	if err != nil {
		return nil, nil, err
	}
	if from == "" || to == "" || to == from || strings.HasPrefix(to, from+"/") {
		return nil, nil, weir.Errorf(weir.ErrInvalid, "move folder %q to %q: into itself", from, to)
	}
	above, name := "", to
	if i := strings.LastIndexByte(to, '/'); i >= 0 {
		above, name = to[:i], to[i+1:]
	}
	if !tree.FolderName(name) {
		return nil, nil, weir.Errorf(weir.ErrInvalid, "move folder %q to %q: no name for a folder", from, to)
	}
	at, changed, err := r.findOrMake(above)
	if err != nil {
		return nil, changed, err
	}
	if at.byName[name] != nil {
		return nil, changed, weir.Errorf(weir.ErrExists, "move folder %q to %q: something has that name already", from, to)
	}
	old = d.slot
	r.drop(old)
	d.slot = &slot{in: at, name: name, dir: d}
	r.put(d.slot)
	return old, append(changed, at.id), nil
}

// folder returns the sorting folder with this node id, or nil.
func (r *root) folder(id node.ID) *folder {
	if id == node.Root {
		return r.top
	}
	prefix, e := id.Split()
	if e != 0 {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byPrefix[prefix].dir
}

// lookup finds a name in a sorting folder, or returns nil.
func (r *root) lookup(in *folder, name string) *slot {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := in.byName[name]; s != nil {
		return s
	}
	return in.handedOver[name]
}

// folders returns the paths of all folders but the root, each before those in it.
func (r *root) folders() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []string
	var walk func(d *folder, path string)
	walk = func(d *folder, path string) {
		for _, s := range d.order {
			if s.dir != nil {
				p := tree.Join(path, s.name)
				all = append(all, p)
				walk(s.dir, p)
			}
		}
	}
	walk(r.top, "")
	return all
}

// slots returns what is in a folder, in the order in which it was added.
func (r *root) slots(d *folder) []*slot {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(d.order)
}

// describe returns what a folder's attributes depend on.
func (r *root) describe(d *folder) (subdirs int, changed time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return d.subdirs, d.changed
}

// lastChange returns when anything in any sorting folder changed.
func (r *root) lastChange() time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	last := r.top.changed
	for _, o := range r.byPrefix {
		if o.dir != nil && o.dir.changed.After(last) {
			last = o.dir.changed
		}
	}
	return last
}

// parent returns the folder that d is in; the root is in itself.
func (r *root) parent(d *folder) node.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d.slot == nil {
		return d.id
	}
	return d.slot.in.id
}

// folderOf returns the folder that a torrent's folder is in.
func (r *root) folderOf(t *torrent) node.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return t.slot.in.id
}

func (r *root) empty(d *folder) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(d.order) == 0
}

// pathOf is path for callers that don't hold the lock.
func (r *root) pathOf(d *folder) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.path(d)
}

// beneath returns the torrents in a folder and in those below it.
func (r *root) beneath(d *folder) []*torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d == r.top {
		return slices.Clone(r.torrents)
	}
	var all []*torrent
	var walk func(d *folder)
	walk = func(d *folder) {
		for _, s := range d.order {
			if s.t != nil {
				all = append(all, s.t)
			} else if s.dir != nil {
				walk(s.dir)
			}
		}
	}
	walk(d)
	return all
}

// list appends what is in folder d, from position on.
func (r *root) list(l *node.Listing, d *folder, position uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i, _ := slices.BinarySearchFunc(d.order, position, func(s *slot, position uint64) int { return cmp.Compare(s.position, position) })
	for _, s := range d.order[i:] {
		typ := node.Dir
		if !s.isDir() {
			typ = node.File
		}
		if !l.Add(s.node(), s.position+dotEntries+1, typ, s.name) {
			return
		}
	}
}
