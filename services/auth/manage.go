package auth

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/plugfn/plugfn/pkg/events"
)

// amendment is what a person changes about a connection. nil leaves it as it is.
type amendment struct {
	Name    *string
	Default *bool
}

// amend renames a connection, or makes it the default of its user and provider.
func (s *store) amend(ctx context.Context, user, connectionID string, a amendment) (connection, error) {
	if a.Name == nil && a.Default == nil {
		return connection{}, invalid("body", "change something: name or default")
	}
	if a.Name != nil && (utf8.RuneCountInString(*a.Name) > maxName || !isPlain(*a.Name)) {
		return connection{}, invalid("name", "must be at most %d characters of valid UTF-8 without control characters", maxName)
	}
	k, err := s.edit(ctx, user, connectionID, func(r *record) error {
		if a.Name != nil {
			r.Name = *a.Name
		}
		if a.Default != nil {
			r.Default, r.DefaultSince = *a.Default, time.Time{}
			if r.Default {
				r.DefaultSince = s.now().UTC()
			}
		}
		return nil
	})
	if err != nil {
		return connection{}, err
	}
	s.announce(ctx, k.Connection, events.Updated, k.revision)
	if k.Default && a.Default != nil {
		s.dethrone(ctx, &k)
	}
	return connection{Connection: k.Connection, Refresh: k.report()}, nil
}

// dethrone takes the mark from the defaults before k. While it is not done, or
// should it fail, the latest one counts.
func (s *store) dethrone(ctx context.Context, k *kept) {
	var former []string
	s.index.of(k.UserID, k.Provider, func(e *indexed) {
		if e.isDefault && e.id != k.ID {
			former = append(former, e.id)
		}
	})
	slices.Sort(former)
	for _, id := range former {
		_, err := s.edit(ctx, k.UserID, id, func(r *record) error {
			if !r.Default || r.DefaultSince.After(k.DefaultSince) {
				return errNothing
			}
			r.Default, r.DefaultSince = false, time.Time{}
			return nil
		})
		if err != nil && !errors.Is(err, errNothing) {
			s.log.Warn().Err(err).Str("connection", id).Msg("former default still marked")
		}
	}
}

var errNothing = errors.New("there is nothing to change")

// patience is how long a person waits for what asks a provider: less than HTTP
// servers give an answer.
const patience = 25 * time.Second

// tested is how trying a credential ended.
type tested struct {
	Tested bool                    `json:"tested" doc:"The provider was asked. false: its pack has nothing harmless to ask for."`
	Works  bool                    `json:"works" doc:"The provider accepts the credential."`
	Status events.ConnectionStatus `json:"status" doc:"Status of the connection now."`
	Error  *events.Error           `json:"error,omitempty" doc:"Why it does not work, or why nobody can tell."`
}

// test asks the provider for something harmless. What it says about the
// credential is written down, be it good or bad.
func (s *Service) test(ctx context.Context, user, connectionID string) (tested, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k, err := s.fresh(ctx, user, connectionID)
	if err != nil {
		return tested{}, err
	}
	in, err := s.store.hand(ctx, &k)
	if err != nil {
		return tested{}, err
	}
	asked, err := s.refresher.authority.probe(ctx, in)
	s.audit.note(ctx, newEntry(ctx, auditTested, s.store.now(), k.Connection))
	out := tested{Tested: asked, Works: asked && err == nil, Status: k.Status}
	var r *refusal
	switch {
	case err == nil && asked:
		out.Status, err = s.vouch(ctx, &k)
		return out, err
	case err == nil:
		return out, nil
	case errors.As(err, &r) && r.Class == failDead:
		out.Error, out.Status = mustReauthorise(&k.record), events.ConnectionNeedsReauth
		if k.Status == events.ConnectionActive && !k.Renewable {
			return out, s.refresher.giveUp(ctx, &k, r.failure)
		}
		return out, nil
	default:
		out.Error = events.Errorf(events.CodeProviderUnavailable, "%v", err)
		return out, nil
	}
}

// fresh returns the connection of that id, with a fresh credential where one
// can be had.
func (s *Service) fresh(ctx context.Context, user, connectionID string) (kept, error) {
	entry, err := s.store.find(ctx, user, connectionID)
	if err != nil {
		return kept{}, err
	}
	k, err := s.store.read(entry)
	if err != nil {
		return kept{}, unusable(k.record, err)
	}
	if k.Renewable && k.isStale(s.store.now()) && k.Status == events.ConnectionActive {
		return s.newer(ctx, &k, false, nil)
	}
	return k, nil
}

// vouch makes a connection usable again whose credential works after all.
func (s *Service) vouch(ctx context.Context, k *kept) (events.ConnectionStatus, error) {
	if k.Status != events.ConnectionNeedsReauth || k.Renewable {
		return k.Status, nil
	}
	next := k.record
	next.Status, next.UpdatedAt, next.Refresh = events.ConnectionActive, s.store.now().UTC(), refreshing{}
	written, err := s.store.swap(ctx, k, &next)
	if isOvertaken(err) {
		return k.Status, keepsChanging(k.ID)
	}
	if err != nil {
		return k.Status, err
	}
	s.store.announce(ctx, written.Connection, events.Recovered, written.revision)
	return written.Status, nil
}

// refreshNow gets a newer credential for the connection of that id, whether it
// is due or not, and also where it was given up.
func (s *Service) refreshNow(ctx context.Context, user, connectionID string) (connection, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	entry, err := s.store.find(ctx, user, connectionID)
	if err != nil {
		return connection{}, err
	}
	k, err := s.store.read(entry)
	if err != nil {
		return connection{}, unusable(k.record, err)
	}
	if !k.Renewable {
		return connection{}, invalid("id", "connection %s has a credential that cannot be refreshed; connect the account again to replace it", k.ID)
	}
	s.refresher.breakers.reset(appName{k.Provider, k.App}) // who asks may have mended it
	fresh, err := s.refresher.renewed(ctx, k.key, want{after: k.Version, now: true})
	if err != nil {
		return connection{}, told(err)
	}
	return connection{Connection: fresh.Connection}, nil
}

// told is what a person who waits for a refresh learns of its failure.
func told(err error) error {
	var later *postponed
	if errors.As(err, &later) {
		return events.Errorf(events.CodeProviderUnavailable, "%v", later)
	}
	return err
}
