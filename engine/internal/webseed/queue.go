package webseed

import (
	"cmp"
	"slices"

	"github.com/weirfs/weir"
)

// queue is what is asked for and in no run yet, as spans of what lies end to end in a
// file: there may be a thousand blocks, and it is looked at whenever one comes.
type queue struct {
	spans  []*span         // in the order of asking
	starts map[int64]*span // by their first byte
	ends   map[int64]*span // by the byte behind their last
}

// span is what lies end to end in a file.
type span struct {
	file   int
	in     weir.Range // of the torrent
	blocks []*block   // in their order
}

func newQueue() queue { return queue{starts: map[int64]*span{}, ends: map[int64]*span{}} }

// add adds the bytes of a block from its next one up to end, which lie in a file.
func (q *queue) add(b *block, file int, end int64) {
	sp := q.ends[b.next]
	if sp == nil || sp.file != file {
		sp = &span{file: file, in: weir.Range{Off: b.next, End: b.next}}
		q.starts[b.next] = sp
		q.insert(sp, b.order)
	} else {
		delete(q.ends, b.next)
	}
	sp.blocks = append(sp.blocks, b)
	sp.in.End = end
	q.ends[end] = sp
	b.span = sp
}

// insert puts a span where it belongs by the order of asking: most often at the end.
func (q *queue) insert(sp *span, order uint64) {
	at := len(q.spans)
	if at > 0 && q.spans[at-1].blocks[0].order > order {
		at, _ = slices.BinarySearchFunc(q.spans, order, func(s *span, order uint64) int { return cmp.Compare(s.blocks[0].order, order) })
	}
	q.spans = slices.Insert(q.spans, at, sp)
}

// first returns the span with which the row begins, end to end in a file, that a span
// belongs to.
func (q *queue) first(sp *span) *span {
	for {
		before := q.ends[sp.in.Off]
		if before == nil || before.file != sp.file {
			return sp
		}
		sp = before
	}
}

// length returns how many bytes wait from a span on, end to end in its file.
func (q *queue) length(sp *span) int64 {
	end := sp.in.End
	for next := q.starts[end]; next != nil && next.file == sp.file; next = q.starts[end] {
		end = next.in.End
	}
	return end - sp.in.Off
}

// take takes blocks of so many bytes from the beginning of a span, and the one that
// exceeds them.
func (q *queue) take(sp *span, bytes int64) []*block {
	n := 0
	for at := sp.in.Off; n < len(sp.blocks) && at-sp.in.Off < bytes; n++ {
		sp.blocks[n].span = nil
		at = sp.blocks[n].in.End
	}
	taken := sp.blocks[:n:n]
	q.keep(sp, sp.blocks[n:])
	return taken
}

// remove takes one block out.
func (q *queue) remove(b *block) {
	sp := b.span
	b.span = nil
	i, _ := slices.BinarySearchFunc(sp.blocks, b.in.Off, func(o *block, off int64) int { return cmp.Compare(o.in.Off, off) })
	before, behind, end := sp.blocks[:i:i], sp.blocks[i+1:], sp.in.End
	if len(before) == 0 {
		q.keep(sp, behind)
		return
	}
	delete(q.ends, end)
	sp.blocks, sp.in.End = before, b.next
	q.ends[b.next] = sp
	if len(behind) == 0 {
		return
	}
	rest := &span{file: sp.file, in: weir.Range{Off: behind[0].next, End: end}, blocks: behind}
	for _, o := range behind {
		o.span = rest
	}
	q.starts[rest.in.Off], q.ends[end] = rest, rest
	q.insert(rest, behind[0].order)
}

// keep leaves a span with its last blocks, which may be none.
func (q *queue) keep(sp *span, last []*block) {
	delete(q.starts, sp.in.Off)
	if len(last) == 0 {
		delete(q.ends, sp.in.End)
		q.forget(sp)
		return
	}
	sp.blocks, sp.in.Off = last, last[0].next
	q.starts[sp.in.Off] = sp
	q.forget(sp)
	q.insert(sp, last[0].order)
}

func (q *queue) forget(sp *span) {
	i := slices.Index(q.spans, sp)
	q.spans = slices.Delete(q.spans, i, i+1)
}
