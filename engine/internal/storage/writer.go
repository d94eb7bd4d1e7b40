package storage

import "sync"

// Writer writes records beside those who have them written: each write is synced, and a
// disk may take long. Writes are done one at a time, in the order of Post.
type Writer struct {
	mu      sync.Mutex
	queue   []func()
	writing bool
	wg      sync.WaitGroup // the goroutine that writes
}

// Post has write called after those that were posted before. It does not wait.
func (w *Writer) Post(write func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, write)
	if !w.writing {
		w.writing = true
		w.wg.Go(w.run)
	}
}

// run writes until nothing is left.
func (w *Writer) run() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.queue, w.writing = nil, false
			w.mu.Unlock()
			return
		}
		write := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		write()
	}
}

// Wait returns when all that was posted is written.
func (w *Writer) Wait() { w.wg.Wait() }
