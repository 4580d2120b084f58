package plugfn

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// MetricsQuery says what is counted; what is empty stands for any.
type MetricsQuery struct {
	Within   time.Duration // how far back, at most 7 days; 0: 24 hours
	By       string        // provider, action or user; empty: provider
	User     string
	Provider string
}

// Metrics is how actions ended, and how long they took.
type Metrics struct {
	Since  time.Time      `json:"since"`
	By     string         `json:"group_by"`
	All    MetricsGroup   `json:"all"`
	Groups []MetricsGroup `json:"groups"` // the largest first
}

// MetricsGroup counts the requests of one provider, action or user.
type MetricsGroup struct {
	Group       string  `json:"group"`
	Total       int     `json:"total"`
	Succeeded   int     `json:"succeeded"`
	Failed      int     `json:"failed"`
	Unknown     int     `json:"unknown"`
	RateLimited int     `json:"rate_limited"` // of the failed
	Retried     int     `json:"retried"`
	SuccessRate float64 `json:"success_rate"` // from 0 to 1
	AverageMS   float64 `json:"average_ms"`
	P95MS       float64 `json:"p95_ms"`
	LimitWaits  int     `json:"limit_waits"`   // that a rate limit held back
	LimitWaitMS float64 `json:"limit_wait_ms"` // how long, on average of those
}

// Metrics counts how actions ended. It needs the API, see [WithAPI].
func (c *Client) Metrics(ctx context.Context, q MetricsQuery) (Metrics, error) {
	query := url.Values{}
	if q.Within > 0 {
		query.Set("range", q.Within.String())
	}
	set(query, "group_by", q.By)
	set(query, "user_id", q.User)
	set(query, "provider", q.Provider)
	var out Metrics
	return out, c.call(ctx, http.MethodGet, "/v1/metrics", query, nil, &out)
}
