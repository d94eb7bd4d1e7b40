package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/seeding"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/source"
)

// keepEvery is how often is written how far a check has come.
const keepEvery = 5 * time.Second

func newSeed() *cobra.Command {
	var flags seedingFlags
	var mount mountFlags
	cmd := &cobra.Command{
		Use:   "seed [flags] TORRENT PATH",
		Short: "serve files that you have already to peers",
		Long: `seed checks the content of a .torrent in files that are there already, and
serves what is right to peers, from where it lies, until Ctrl-C. PATH is the
torrent's folder, or its file if it has only one, or the folder in which that
lies. With --mount a mount serves it, as long as it is there. Nothing is written
to the files, and no byte is sent that is not the torrent's.

The check can be interrupted: the next one goes on where it ended. Files that
have not changed since are not read again.

` + exitCodes,
		Example: `  weir seed debian.torrent ~/Downloads
  weir seed --mount ~/t release-1.2.torrent ~/release-1.2`,
		Args: usage(cobra.ExactArgs(2), "a .torrent and the path of its content"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name := flags.given(cmd.Flags()); name != "" && mount.dir != "" {
				return usageError{fmt.Errorf("--%s is of no use with --mount: the mount has its own", name), cmd.CommandPath()}
			}
			if err := seed(cmd.Context(), args[0], args[1], &flags, &mount, screenOf(cmd.ErrOrStderr())); err != nil {
				return fmt.Errorf("seed %.200s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	mount.register(cmd.Flags())
	flags.register(cmd.Flags())
	completeValues(cmd, "encryption", "allowed", "required", "off")
	return cmd
}

func seed(ctx context.Context, torrent, path string, flags *seedingFlags, mount *mountFlags, screen screen) error {
	content, err := source.ReadFile(torrent, 0)
	if err != nil {
		return err
	}
	spec, err := source.ParseTorrent(content)
	if err != nil {
		return err
	}
	root, err := rootOf(spec.Info, path)
	if err != nil {
		return err
	}
	serving, err := mount.open(ctx, root)
	if err != nil {
		return err
	}
	defer serving.close()
	served, err := seeding.New(flags.options(spec, root))
	if err != nil {
		return err
	}
	defer func() { _ = served.Close() }() // serveFiles tells of an error
	if err := checkFiles(ctx, served.Files(), spec, screen); err != nil {
		return err
	}
	if serving != nil {
		return serving.serve(ctx, api.ServeRequest{Torrent: content, Missing: served.Files().Missing()}, screen)
	}
	return serveFiles(ctx, served, screen)
}

// rootOf returns where the content of a torrent lies: at path, or beneath it under the
// torrent's name.
func rootOf(info *weir.TorrentInfo, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", err
	}
	for _, root := range []string{path, filepath.Join(path, info.RawName())} {
		if filepath.Dir(root) != path && root != path {
			continue // the name is no name here
		}
		if inplace.Lies(info, root) {
			return root, nil
		}
	}
	return "", weir.Errorf(weir.ErrNotFound, "%s has no file of it with the right size: name its folder %q, or what that lies in", path, info.Name)
}

// checkFiles finds out which pieces are missing, and says it. What it has found is kept for
// the next time.
func checkFiles(ctx context.Context, files *inplace.Content, spec *source.Spec, screen screen) error {
	var bytes atomic.Int64
	total := int64(0)
	for i := range spec.Info.NumPieces() {
		total += spec.Info.PieceRange(i).Len()
	}
	kept := newKeptCheck(spec.InfoHash, files.Root())
	err := showWhile(screen, spec.DisplayName(), total, bytes.Load, func() error {
		return files.Check(ctx, inplace.CheckOptions{Former: kept.read(), Bytes: &bytes, Keep: kept.write, Every: keepEvery})
	})
	if err != nil {
		return err
	}
	incomplete := files.Incomplete()
	for i, at := range incomplete {
		if i == maxLeftOut {
			fmt.Fprintf(screen, "weir: %d more files are not complete\n", len(incomplete)-i)
			break
		}
		fmt.Fprintf(screen, "weir: %s is missing, or not complete\n", weir.Printable(filepath.Join(spec.Info.Files[at].Path...)))
	}
	return nil
}

// keptCheck is a file that says how far the check of a torrent has come.
type keptCheck struct {
	path string // empty: there is no place for it
	root string
}

// keptText is its content.
type keptText struct {
	Root []byte `json:"root"`
	inplace.Checked
}

func newKeptCheck(ih weir.InfoHash, root string) *keptCheck {
	path, err := stateFile(filepath.Join("checked", ih.String()+".json"))
	if err != nil {
		return &keptCheck{root: root} // then it begins anew each time
	}
	return &keptCheck{path, root}
}

// read returns what was written, nil if there is nothing of use.
func (k *keptCheck) read() *inplace.Checked {
	b, err := os.ReadFile(k.path)
	var text keptText
	if err != nil || json.Unmarshal(b, &text) != nil || string(text.Root) != k.root {
		return nil
	}
	return &text.Checked
}

// write replaces the file. What can't be written is found out again the next time.
func (k *keptCheck) write(c *inplace.Checked) {
	if k.path == "" {
		return
	}
	b, err := json.Marshal(keptText{[]byte(k.root), *c})
	if err != nil {
		return
	}
	part := fmt.Sprintf("%s.%d", k.path, os.Getpid())
	err = os.WriteFile(part, b, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(k.path), 0o700); err == nil {
			err = os.WriteFile(part, b, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(part, k.path)
	}
	if err != nil {
		_ = os.Remove(part) // it may not be there
	}
}
