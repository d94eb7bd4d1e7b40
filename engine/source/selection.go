package source

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// FileSpan is a range of files by index, Last included.
type FileSpan struct{ First, Last int }

// maxSelected bounds the spans of one source, before adjacent ones are joined.
const maxSelected = 10_000

// addSelection adds the files that text names, as in "0,2,4-6" (BEP 53), to
// spans, and returns them sorted and disjoint. Items that make no sense are ignored, and
// so is a text with anything but digits, commas and dashes in it.
func addSelection(spans []FileSpan, text string) []FileSpan {
	if strings.Trim(text, "0123456789,- ") != "" {
		return spans
	}
	added := slices.Clone(spans)
	for item := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			to = from
		}
		first, ok1 := fileIndex(from)
		last, ok2 := fileIndex(to)
		if !ok1 || !ok2 || last < first || len(added) == maxSelected {
			continue
		}
		added = append(added, FileSpan{first, last})
	}
	slices.SortFunc(added, func(a, b FileSpan) int { return cmp.Compare(a.First, b.First) })
	if len(added) == 0 {
		return nil
	}
	out := added[:1]
	for _, s := range added[1:] {
		if last := &out[len(out)-1]; s.First <= last.Last+1 {
			last.Last = max(last.Last, s.Last)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// fileIndex reads an index, at most the highest that a torrent can have.
func fileIndex(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n < maxFiles
}
