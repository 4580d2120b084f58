package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

// replayOf is the extension attribute with the id of the event that another one
// repeats.
const replayOf = "replayof"

func newEventReplayCommand() *cobra.Command {
	r := replay{perRun: 5}
	rate := ""
	cmd := &cobra.Command{
		Use:   "replay [<id>…]",
		Short: "Publish events again",
		Long: "Replay publishes kept events again, to the same users: those of the ids, or those that fit the flags, of which " +
			"--since is needed then. Each gets a new id, the old one, a colon and the name of the run, and names the old one in " +
			"ce-replayof; it is not taken for a repetition, and subscribers act on it anew. The same --run does not publish an " +
			"event twice within a quarter of an hour: an interrupted replay is continued with it.\n\n" +
			"With --dead it reads deliveries again that were genuine and made no event, with the packs as this program has them now " +
			"(PLUGFN_PROVIDERS_DIR), and publishes what they make, with the ids of their provider, for the first time: what was " +
			"published before is left out.",
		Example: `plugfn event replay 72d3162e-cc78-11e3-81ab-4c9367dc0958
plugfn event replay --provider github --event push --since 2h --until 1h --dry-run
plugfn event replay --dead --provider github --since 24h --dry-run`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.filter.ids = args
			if len(args) == 0 && r.filter.since == "" {
				return usage(cmd.CommandPath()+" --since 1h --dry-run", "say which: ids, or --since")
			}
			if r.pause, err = pauseOf(rate); err != nil {
				return err
			}
			if r.filter.dead {
				if r.run != "" {
					return usage("", "--run and --dead: what was dead is published once, leave --run out")
				}
				return withEvents(cmd, &r.filter, func(p *printer, s *eventStore) error { return r.revive(cmd, p, s) })
			}
			if r.run == "" {
				r.run = id.New("r")
			} else if !runName().MatchString(r.run) {
				return usage("", "--run %q: want up to 40 of a-z, 0-9, _ and -", r.run)
			}
			return withEvents(cmd, &r.filter, func(p *printer, s *eventStore) error { return r.start(cmd, p, s) })
		},
	}
	r.filter.addTo(cmd)
	r.filter.addDeadTo(cmd)
	cmd.Flags().BoolVar(&r.dry, "dry-run", false, "say how many it would be, and the first of them")
	cmd.Flags().StringVar(&rate, "rate", "100/s", "how many at most in a second or minute")
	cmd.Flags().StringVar(&r.run, "run", "", "name of the run [a new one]")
	return withTarget(settings.Bus|settings.Packs|settings.HTTP|settings.API, withOutput(cmd))
}

func runName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_-]{1,40}$`) }

// pauseOf is the time from one event to the next at a rate.
func pauseOf(rate string) (time.Duration, error) {
	number, unit, _ := strings.Cut(rate, "/")
	n, err := strconv.Atoi(number)
	per := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute}[unit]
	if err != nil || n < 1 || n > 100_000 || per == 0 {
		return 0, usage("", "--rate %q: want such as 100/s or 30/m", rate)
	}
	return per / time.Duration(n), nil
}

// replay publishes events again.
type replay struct {
	filter eventFilter
	dry    bool
	run    string
	pause  time.Duration
	perRun int // how many a dry run names
}

// replayed is what came of it.
type replayed struct {
	Run       string        `json:"run"`
	DryRun    bool          `json:"dry_run,omitempty"`
	Events    int           `json:"events"`               // that fit
	Published int           `json:"published"`            // and were not there yet
	Repeated  int           `json:"repeated"`             // that this run had published before
	Unread    int           `json:"unreadable,omitempty"` // no CloudEvents: left out
	First     []listedEvent `json:"first,omitempty"`
}

func (r *replay) start(cmd *cobra.Command, p *printer, s *eventStore) error {
	out := replayed{Run: r.run, DryRun: r.dry}
	err := r.all(cmd.Context(), s, &out)
	if cmd.Context().Err() != nil {
		err = &failure{
			exit: exitInterrupted, what: fmt.Sprintf("interrupted after %d events", out.Published+out.Repeated),
			fix: "go on with: the same command and --run " + r.run,
		}
	}
	if err == nil && out.Events == 0 {
		return &failure{exit: exitNotFound, what: "no event that is kept fits", fix: s.filter.listCommand()}
	}
	return errors.Join(r.print(p, &out), err)
}

func (r *replay) print(p *printer, out *replayed) error {
	result := done(fmt.Sprintf("%d published again", out.Published))
	if r.dry {
		result = waiting(fmt.Sprintf("%d would be published again", out.Events-out.Unread))
	}
	count := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%d %s", n, what)
	}
	fields := []field{
		{"result", result},
		{"run", out.Run},
		{"repeated", count(out.Repeated, "that this run had published before")},
		{"unreadable", count(out.Unread, "that are no CloudEvents were left out")},
	}
	for _, e := range out.First {
		fields = append(fields, field{"event", fmt.Sprintf("%s  %s  %s", e.Stored.Local().Format(time.DateTime), clip(e.ID, 60), safe(e.Subject))})
	}
	return p.object(out, out.Run, fields)
}

// all goes through the events that were there when the replay began: its own
// come behind them.
func (r *replay) all(ctx context.Context, s *eventStore, out *replayed) error {
	next := time.NewTicker(r.pause)
	defer next.Stop()
	return s.scan(ctx, s.state.FirstSeq, s.last(), func(e *storedEvent) error {
		out.Events++
		if e.ID == "" {
			out.Unread++
			return nil
		}
		if r.dry {
			if len(out.First) < r.perRun {
				out.First = append(out.First, listed(e))
			}
			return nil
		}
		if out.Published+out.Repeated > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-next.C:
			}
		}
		again, err := r.publish(ctx, s, e.sequence)
		if err != nil {
			return err
		}
		if again {
			out.Repeated++
		} else {
			out.Published++
		}
		return nil
	})
}

// publish stores one event again. It reports whether this run had done so.
func (r *replay) publish(ctx context.Context, s *eventStore, sequence uint64) (again bool, err error) {
	e, err := s.whole(ctx, sequence)
	if err == nil {
		err = e.missing
	}
	if err != nil {
		return false, err
	}
	// What is kept beside the message is stored anew: it has to outlive this one.
	msg, err := events.Payloads{Conn: s.conn}.Offload(ctx, r.msg(e))
	if err != nil {
		return false, fmt.Errorf("publishing %s again: %w", clip(e.ID, 80), err)
	}
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamEvents))
	if err != nil {
		return false, fmt.Errorf("publishing %s again: %w", clip(e.ID, 80), err)
	}
	return ack.Duplicate, nil
}

// msg is the event under a new id, and all else as it was.
func (r *replay) msg(e *storedEvent) *nats.Msg {
	original := firstOf(e.Extensions[replayOf], e.ID)
	again := e.Event
	again.ID = original + ":" + r.run
	again.Extensions = map[string]string{replayOf: original}
	for name, value := range e.Extensions {
		if name != replayOf {
			again.Extensions[name] = value
		}
	}
	msg := again.Msg(e.subject)
	for name, values := range events.CarriedHeader(e.header) {
		if msg.Header.Get(name) == "" && !strings.HasPrefix(strings.ToLower(name), "ce-") {
			msg.Header[name] = values
		}
	}
	msg.Header.Set(jetstream.MsgIDHeader, replayID(e.subject, e.Source, again.ID))
	return msg
}

// replayID is the same for the same event of the same connection and run. The
// source holds the connection.
func replayID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return "r1:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
