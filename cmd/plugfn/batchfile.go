package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	maxBatch = 64 << 20 // bytes of a file
	maxLine  = 1 << 20  // bytes of one line: the bus takes no more
)

// readBatch reads the requests of a file, all or none of them.
func readBatch(name string, stdin io.Reader, user string) ([]events.ActionRequest, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("", "-f: %v", err)
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxBatch+1))
	switch {
	case err != nil:
		return nil, usage("", "-f: %v", err)
	case len(body) > maxBatch:
		return nil, usage("cut it into several", "-f: more than %d MiB", maxBatch>>20)
	}
	return parseBatch(body, user)
}

// parseBatch reads requests line by line; empty lines count, and mean nothing.
func parseBatch(body []byte, user string) ([]events.ActionRequest, error) {
	sum := sha256.Sum256(append([]byte(user+"\n"), body...))
	var all []events.ActionRequest
	seen := map[string]int{}
	for n, line := range bytes.Split(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r, err := parseBatchLine(line, user)
		if err != nil {
			return nil, usage("nothing was sent; correct the line", "line %d: %v", n+1, err)
		}
		if r.ID == "" {
			r.ID = fmt.Sprintf("batch-%x-%d", sum[:10], n+1)
		}
		key := events.Key(r.UserID, r.ID)
		if first, ok := seen[key]; ok {
			return nil, usage("nothing was sent; correct the line", "line %d: id %q is that of line %d", n+1, clip(r.ID, 80), first)
		}
		seen[key] = n + 1
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, usage("", "-f: there is no action in it")
	}
	return all, nil
}

func parseBatchLine(line []byte, user string) (r events.ActionRequest, err error) {
	var in struct {
		User       string          `json:"user"`
		Action     string          `json:"action"`
		Params     json.RawMessage `json:"params"`
		ID         string          `json:"id"`
		Connection string          `json:"connection"`
	}
	if len(line) > maxLine {
		return r, fmt.Errorf("longer than %d bytes", maxLine)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return r, fmt.Errorf(`not a request such as {"action":"slack.chat.postMessage","params":{…}}: %w`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("more than one JSON value")
	}
	provider, action, ok := strings.Cut(in.Action, ".")
	if in.Params == nil {
		in.Params = json.RawMessage("{}")
	}
	r = events.ActionRequest{
		ID: in.ID, UserID: firstOf(in.User, user), Provider: provider, Action: action, Params: in.Params, ConnectionID: in.Connection,
	}
	switch {
	case !ok || provider == "" || action == "":
		return r, fmt.Errorf("action %q: must be <provider>.<action>", in.Action)
	case r.UserID == "":
		return r, errors.New("user is missing: it says whose connection acts; or give --user")
	case in.Params[0] != '{':
		return r, errors.New("params: must be an object")
	case len(in.ID) > events.MaxID:
		return r, fmt.Errorf("id: longer than %d bytes", events.MaxID)
	}
	// What a header cannot carry is refused by the executor in the same words.
	msg := r.Msg(r.Subject())
	if strings.ContainsAny(in.ID+in.Connection, "\r\n") {
		return r, errors.New("id and connection: must be one line")
	}
	_, err = events.ParseActionRequest(msg.Subject, msg.Header, msg.Data)
	return r, err
}

// batchLedger is the file that says which lines of a batch have ended. A nil one
// knows nothing and notes nothing. It is safe for concurrent use.
type batchLedger struct {
	mu   sync.Mutex
	file *os.File
	of   map[string]*events.Result
}

// openLedger reads the ledger there is, or begins one. What a crash left of its
// last line is cut off.
func openLedger(name string) (*batchLedger, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, usage("", "--ledger: %v", err)
	}
	l := &batchLedger{file: f, of: map[string]*events.Result{}}
	whole, err := l.read()
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(usage("name another file, or delete it", "--ledger %s: %v", name, err), f.Close())
	}
	return l, nil
}

// lineStart begins each line of a ledger, so that no other file is cut off.
const lineStart = `{"line":`

// read returns how many bytes are whole lines.
func (l *batchLedger) read() (whole int64, err error) {
	in := bufio.NewReader(l.file)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if !bytes.HasPrefix([]byte(lineStart), line[:min(len(line), len(lineStart))]) {
				return whole, errors.New("it is no ledger")
			}
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		var e ended
		if err := json.Unmarshal(line, &e); err != nil || e.Result == nil {
			return whole, errors.New("it is no ledger")
		}
		whole += int64(len(line))
		l.of[events.Key(e.Result.UserID, e.Result.ID)] = e.Result
	}
}

// known is the noted result of a request, nil if there is none.
func (l *batchLedger) known(r *events.ActionRequest) *events.Result {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[events.Key(r.UserID, r.ID)]
}

// add notes a result once.
func (l *batchLedger) add(e *ended) error {
	if l == nil || e.Result == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := events.Key(e.Result.UserID, e.Result.ID)
	if l.of[key] != nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	l.of[key] = e.Result
	return nil
}

func (l *batchLedger) close() {
	if l != nil {
		_ = l.file.Close() // each line was written
	}
}
