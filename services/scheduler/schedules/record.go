package schedules

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/services/scheduler/rule"
)

// State says whether a schedule has ticks.
type State string

// The states of a schedule.
const (
	Active State = "active"
	Paused State = "paused"
	// Done has had its last tick. It is deleted after a week.
	Done State = "done"
)

// eventProvider is the token that stands for the provider in events of ticks.
const eventProvider = "schedule"

// record is the value of a key in the bucket of schedules.
type record struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Plan
	State State `json:"state"`
	// Owner is the workflow that the schedule is the trigger of; "": it is the
	// user's.
	Owner string `json:"owner,omitempty"`

	// Generation counts the changes. What was parked before a change is void.
	Generation uint64    `json:"generation"`
	Anchor     time.Time `json:"anchor"`
	Settled    time.Time `json:"settled"`       // the ticks up to here are dealt with
	Next       time.Time `json:"next,omitzero"` // the tick after those; zero: there is none
	// Wake is when the parked message fires; zero: none is parked.
	Wake time.Time `json:"wake,omitzero"`
	// Waiting are the ticks that wait for what goes on.
	Waiting []time.Time `json:"waiting,omitempty"`

	Last      *Tick     `json:"last,omitempty"`
	Counts    Counts    `json:"counts"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"` // when it was done
	// Nonce makes message ids that nobody can guess: a stream drops the second
	// message with an id, whoever sent the first.
	Nonce string `json:"nonce"`
}

// Tick is one firing of a schedule.
type Tick struct {
	ID      string    `json:"id" doc:"The id of the request that it made, or of the event."`
	At      time.Time `json:"at" doc:"Its time by the rule."`
	FiredAt time.Time `json:"fired_at"`
	Missed  int       `json:"missed,omitempty" doc:"How many ticks before it were missed, that it stands for."`
	ByHand  bool      `json:"by_hand,omitempty" doc:"Somebody asked for it."`
}

// Counts is what became of all ticks so far.
type Counts struct {
	Fired   uint64 `json:"fired"`
	Missed  uint64 `json:"missed" doc:"Their time went by while no scheduler worked, and by the policy they were left out."`
	Skipped uint64 `json:"skipped" doc:"The tick before them was still going on."`
}

func (r *record) key() string { return events.Key(r.UserID, r.ID) }

func (r *record) rule() (rule.Rule, error) { return r.Plan.rule(r.Anchor) }

// tickID names a tick: the same whoever makes it, and whenever.
func (r *record) tickID(at time.Time) string {
	at = at.UTC()
	id := r.ID + "-" + at.Format("20060102T150405Z")
	if n := at.Nanosecond(); n != 0 {
		id += "-" + strconv.Itoa(n)
	}
	return id
}

// renew begins the schedule anew at a time: ticks before it are no concern any
// more, and what is parked is void.
func (r *record) renew(now time.Time) error {
	parsed, err := r.rule()
	if err != nil {
		return err
	}
	if err := parsed.CheckFrom(now); err != nil {
		return asInvalid(err)
	}
	r.Generation++
	r.State, r.Waiting, r.EndedAt = Active, nil, time.Time{}
	r.Settled = now
	r.Next = parsed.Next(now)
	r.Wake = parsed.Fire(r.ID, r.Next)
	return nil
}

// decode reads the record at key. One that was copied from another key is
// refused.
func decode(key string, value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, errors.New("the schedule is not JSON of the known form")
	}
	if r.ID == "" || r.key() != key {
		return record{}, errors.New("the schedule belongs to another key")
	}
	return r, nil
}
