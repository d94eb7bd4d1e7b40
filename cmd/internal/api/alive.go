package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Some requests take minutes and some streams are silent for hours, so the client checks
// separately whether the mount is alive: a live one answers GET /v1/ at once, whatever else
// it does.
const (
	checkEvery    = 2 * time.Second
	answerTimeout = 8 * time.Second
)

// errNoAnswer is why a request ends early.
var errNoAnswer = errors.New("it is stopped or stuck")

// whileAlive returns a context that ends when the mount no longer answers. release
// ends it and the polling.
func (c *Client) whileAlive(ctx context.Context) (alive context.Context, release func()) {
	alive, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(checkEvery); ; {
			select {
			case <-alive.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			if !c.answers(alive) {
				cancel(c.noAnswerError())
			}
		}
	}()
	return alive, func() {
		cancel(nil)
		<-done
	}
}

// answers polls the mount. Only silence counts as no answer; any other failure is left
// to the request itself.
func (c *Client) answers(ctx context.Context) bool {
	asking, stop := context.WithTimeout(ctx, answerTimeout)
	defer stop()
	resp, err := c.request(asking, http.MethodGet, "/", "", nil)
	if err == nil {
		resp.Body.Close()
	}
	return ctx.Err() != nil || asking.Err() == nil
}

func (c *Client) noAnswerError() error {
	who := "the weir at " + c.socket
	help := "pgrep -a weir finds it"
	if pid := c.pid.Load(); pid > 0 {
		who = fmt.Sprintf("weir (process %d)", pid)
		help = fmt.Sprintf("kill -CONT %d wakes it if it is stopped, else end it and mount again", pid)
	}
	return fmt.Errorf("%s has not answered for %v: %w: %s", who, answerTimeout, errNoAnswer, help)
}

// FindContext is Find for a path whose mount may not answer: it returns when ctx
// ends, and with an error after a while.
func FindContext(ctx context.Context, path string) (Place, error) {
	type found struct {
		place Place
		err   error
	}
	result := make(chan found, 1)
	go func() { // may wait in the kernel, for a mount that doesn't answer
		p, err := Find(path)
		result <- found{p, err}
	}()
	timeout := time.NewTimer(answerTimeout)
	defer timeout.Stop()
	select {
	case f := <-result:
		return f.place, f.err
	case <-ctx.Done():
		return Place{}, context.Cause(ctx)
	case <-timeout.C:
		return Place{}, fmt.Errorf("the mount at %s has not answered for %v: %w: pgrep -a weir finds it; kill -CONT wakes it if it is stopped, else end it and mount again", path, answerTimeout, errNoAnswer)
	}
}
