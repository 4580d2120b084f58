package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// spill keeps refreshed credentials on disk that the bus does not take: each in
// a file of its own, as encrypted as in its record. Without a directory it keeps
// nothing.
type spill struct {
	dir string
}

const spillSuffix = ".credential"

// spilled is what is in a file.
type spilled struct {
	Key    string          `json:"key"`
	Record json.RawMessage `json:"record"`
}

var errNoSpill = errors.New("there is no directory to spill to")

// put writes a record that belongs at key. A later one of the same connection
// replaces it.
func (s *spill) put(key string, r *record) error {
	if s.dir == "" {
		return errNoSpill
	}
	value, err := r.encode()
	if err != nil {
		return err
	}
	text, err := json.Marshal(spilled{Key: key, Record: value})
	if err != nil {
		return fmt.Errorf("encoding the spilled record: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the spill directory: %w", err)
	}
	path := s.path(r)
	draft := path + ".new"
	_ = os.Remove(draft) // of a process that died
	if err := writeSynced(draft, text); err != nil {
		return fmt.Errorf("spilling a record: %w", err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("spilling a record: %w", err)
	}
	return syncDir(s.dir)
}

// path has nothing in it that a caller chose: ids are made here.
func (s *spill) path(r *record) string {
	return filepath.Join(s.dir, filepath.Base(filepath.Clean("/"+r.ID))+spillSuffix)
}

// remove deletes the file of a record that the bus has taken.
func (s *spill) remove(_ string, r *record) error {
	if s.dir == "" {
		return nil
	}
	err := os.Remove(s.path(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// load reads what an earlier process had to leave behind. Files that cannot be
// read are errors beside those that can.
func (s *spill) load() (found []spilled, err error) {
	if s.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var problems []error
	if err != nil {
		problems = append(problems, fmt.Errorf("reading the spill directory: %w", err))
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), spillSuffix) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.dir, entry.Name()))
		var one spilled
		if err == nil {
			err = json.Unmarshal(text, &one)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("reading %s: %w", entry.Name(), err))
			continue
		}
		found = append(found, one)
	}
	return found, errors.Join(problems...)
}
