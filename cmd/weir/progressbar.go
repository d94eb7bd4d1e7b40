package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

const (
	barTitle    = 30 // characters of the name, or of why nothing comes
	barLeast    = 5  // characters of a bar; with less room there is none
	usualScreen = 80 // characters of a terminal that does not say
)

// barProgress draws a bar with rate and time left, in one line of a terminal of so many
// characters (0: unknown). The words for why nothing comes stand in the place of the
// name. end leaves the line, and fills the bar if all is there.
func barProgress(w io.Writer, width func() int, name string) (show func(api.Progress), end func(all bool)) {
	var last *api.Progress
	draw := func(p api.Progress) {
		title := name
		if p.Wait != "" && p.Rate == 0 {
			title = p.Wait
		}
		fmt.Fprintf(w, "\r%s\x1b[K", barLine(weir.Printable(title), p, width()))
	}
	show = func(p api.Progress) {
		last = &p
		draw(p)
	}
	end = func(all bool) {
		if last == nil {
			return
		}
		if all && last.TotalBytes > 0 {
			draw(api.Progress{TotalBytes: last.TotalBytes, HaveBytes: last.TotalBytes, Rate: last.Rate})
		}
		fmt.Fprintln(w)
	}
	return show, end
}

// hashingTick is the time between two looks at how far hashing is.
const hashingTick = 200 * time.Millisecond

// showWhile shows how far do is, which hashes files here.
func showWhile(screen screen, name string, total int64, have func() int64, do func() error) error {
	show, _ := lineProgress(screen, name)
	end := func(bool) {}
	if screen.fd >= 0 {
		show, end = barProgress(screen, screen.width, name)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(hashingTick)
		defer tick.Stop()
		begin := time.Now()
		for {
			select {
			case <-tick.C:
				n := have()
				show(api.Progress{HaveBytes: n, TotalBytes: total, Rate: int64(float64(n) / time.Since(begin).Seconds())})
			case <-stop:
				return
			}
		}
	}()
	err := do()
	close(stop)
	<-stopped
	end(err == nil)
	return err
}

// barLine is one line that is shorter than the terminal: with the last column used,
// some move on to the next line. Until the size is known it is the title alone.
func barLine(title string, p api.Progress, width int) string {
	if width <= 0 {
		width = usualScreen
	}
	if p.TotalBytes <= 0 {
		return cut(title, width-1)
	}
	front := fmt.Sprintf("%s %4s ", cut(title, barTitle), shareText(p.HaveBytes, p.TotalBytes))
	back := fmt.Sprintf(" %s of %s", sizeText(p.HaveBytes), sizeText(p.TotalBytes))
	if p.Rate > 0 {
		back += ", " + rateText(p.Rate)
		if p.HaveBytes < p.TotalBytes {
			back += fmt.Sprintf(", %s left", timeLeft(p))
		}
	}
	room := width - 1 - utf8.RuneCountInString(front) - utf8.RuneCountInString(back) - len("||")
	if room < barLeast {
		return cut(front+strings.TrimPrefix(back, " "), width-1)
	}
	full := int(float64(room) * min(1, float64(p.HaveBytes)/float64(p.TotalBytes)))
	return front + "|" + strings.Repeat("█", full) + strings.Repeat(" ", room-full) + "|" + back
}

// timeLeft is how long the rest takes at the rate of now.
func timeLeft(p api.Progress) time.Duration {
	left := float64(p.TotalBytes-p.HaveBytes) / float64(p.Rate) * float64(time.Second)
	return time.Duration(left).Round(time.Second)
}
