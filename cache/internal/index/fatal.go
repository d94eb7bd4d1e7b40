package index

import (
	"fmt"
	"io"
	"log"
	"runtime"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// badger ends the process (log.Fatal) when it opens a database and cannot list the
// folder or make a file for its statistics there: when the folder is removed just
// then. All that comes before the end of the process is a line for the standard
// logger, so that is where it is turned into an error.

// openMu is held while the standard logger writes to a fatalTrap.
var openMu sync.Mutex

// openDatabase calls open (badger.Open), and returns an error where badger would end the
// process. What badger had begun is left to the end of the
// process then.
func openDatabase(open func(badger.Options) (*badger.DB, error), o badger.Options) (db *badger.DB, err error) {
	openMu.Lock()
	defer openMu.Unlock()
	trap := &fatalTrap{log.Writer()}
	log.SetOutput(trap)
	defer func() {
		if log.Writer() == io.Writer(trap) {
			log.SetOutput(trap.out)
		}
		r := recover()
		if fatal, ok := r.(badgerFatal); ok {
			db, err = nil, fmt.Errorf("open %s: %s", o.Dir, string(fatal))
		} else if r != nil {
			panic(r)
		}
	}()
	return open(o)
}

// badgerFatal is what badger says before it ends the process.
type badgerFatal string

// fatalTrap passes on what is logged, but panics instead when badger ends the
// process from within openDatabase. The standard logger survives that.
type fatalTrap struct{ out io.Writer }

func (t *fatalTrap) Write(line []byte) (int, error) {
	if endsInOpen() {
		first, _, _ := strings.Cut(string(line), "\n")
		panic(badgerFatal(first))
	}
	return t.out.Write(line)
}

// endsInOpen reports whether the caller was called by log.Fatalf, and that by
// openDatabase.
func endsInOpen() bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for fatal := false; ; {
		f, more := frames.Next()
		fatal = fatal || f.Function == "log.Fatalf"
		if fatal && strings.HasSuffix(f.Function, "/index.openDatabase") {
			return true
		}
		if !more {
			return false
		}
	}
}
