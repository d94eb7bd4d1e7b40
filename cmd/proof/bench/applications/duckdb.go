package applications

import (
	"context"

	"github.com/weirfs/weir/cmd/proof/bench/suite"

	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// duck is a way to run DuckDB's queries: a program that wants one more argument,
// a query, and prints a line for each row.
type duck struct{ args, env []string }

// The programs, for python3 and for node.
const duckPython = "import duckdb, sys\nfor row in duckdb.execute(sys.argv[1]).fetchall(): print(*row, sep='|')"

//go:embed duckdb/query.cjs
var duckNode string

// findDuck looks for Python's module and then for node's, which make bench installs.
func findDuck() (duck, error) {
	ways := []duck{{args: []string{"python3", "-c", duckPython}}}
	if base, err := os.UserCacheDir(); err == nil {
		ways = append(ways, duck{
			args: []string{"node", "-e", duckNode},
			env:  []string{"NODE_PATH=" + filepath.Join(base, "weir-bench", "duckdb", "node_modules")},
		})
	}
	for _, d := range ways {
		if out, err := suite.Output(d.command(context.Background(), "select 42")); err == nil && string(out) == "42\n" {
			return d, nil
		}
	}
	return duck{}, suite.Absent("neither python3 nor node has DuckDB, which make bench installs")
}

func (d duck) command(ctx context.Context, query string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.args[0], append(d.args[1:len(d.args):len(d.args)], query)...)
	cmd.Env = append(os.Environ(), d.env...)
	return cmd
}

// The Parquet file's rows, and how many of them are a group. A query for a range
// of one group's length needs two groups of 40, as their statistics say.
const (
	duckRows  = 2_000_000
	duckGroup = 50_000
)

// duckDB asks DuckDB for the number of all rows of a Parquet file, which its end
// knows, and for the sum of one column over a range of another.
func duckDB() use {
	var d duck
	return use{
		name: "DuckDB on Parquet",
		able: func() (err error) {
			d, err = findDuck()
			return err
		},
		prepare: func(path string) error {
			// Nothing is drawn at random: the file is the same each time.
			_, err := suite.Output(d.command(context.Background(), fmt.Sprintf(
				"copy (select i as a, (hash(i) >> 33)::bigint as b, left(md5(i::varchar), 16) as c from range(%d) t(i)) to '%s' (format parquet, row_group_size %d)",
				duckRows, path, duckGroup)))
			return err
		},
		run: func(r *suite.Run, path, _ string) ([]byte, error) {
			return suite.Output(d.command(r.Ctx, fmt.Sprintf(
				"select (select count(*) from read_parquet('%[1]s')), count(*), sum(b) from read_parquet('%[1]s') where a between %d and %d", path, duckRows/2, duckRows/2+duckGroup)))
		},
	}
}
