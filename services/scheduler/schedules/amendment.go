package schedules

import "time"

// Amendment is what is changed about a schedule. What is left out stays as it is;
// to set one of cron, every and at takes the others away.
type Amendment struct {
	Name    *string    `json:"name,omitempty" maxLength:"100"`
	Cron    *string    `json:"cron,omitempty"`
	Zone    *string    `json:"zone,omitempty"`
	Every   *string    `json:"every,omitempty"`
	At      *time.Time `json:"at,omitempty"`
	Start   *time.Time `json:"start,omitempty"`
	End     *time.Time `json:"end,omitempty"`
	Jitter  *string    `json:"jitter,omitempty" doc:"Empty: none."`
	Misfire *Misfire   `json:"misfire,omitempty" enum:"fire_once,skip,all"`
	Overlap *Overlap   `json:"overlap,omitempty" enum:"allow,skip,queue"`
	Target  *Target    `json:"target,omitempty" doc:"The whole of it."`
}

func (a *Amendment) isEmpty() bool { return *a == Amendment{} }

// Apply changes p, which is not judged here.
func (a *Amendment) Apply(p *Plan) {
	if a.Cron != nil || a.Every != nil || a.At != nil {
		if a.Cron == nil {
			p.Zone = ""
		}
		p.Cron, p.Every, p.At = "", "", time.Time{}
	}
	set(&p.Name, a.Name)
	set(&p.Cron, a.Cron)
	set(&p.Zone, a.Zone)
	set(&p.Every, a.Every)
	set(&p.At, a.At)
	set(&p.Start, a.Start)
	set(&p.End, a.End)
	set(&p.Jitter, a.Jitter)
	set(&p.Misfire, a.Misfire)
	set(&p.Overlap, a.Overlap)
	set(&p.Target, a.Target)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
