package validate

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// ruleFile is a file of Prometheus rules.
type ruleFile struct {
	Groups []ruleGroup `json:"groups"`
}

type ruleGroup struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func alerts(t *testing.T) ruleFile {
	t.Helper()
	var f ruleFile
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy/observability/alerts.yml")), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Groups) == 0 || len(f.Groups[0].Rules) == 0 {
		t.Fatal("there are no alerts")
	}
	return f
}

// series are the metrics that docs/operations.md lists, and those of every Go
// program and of Prometheus itself.
func series(t *testing.T) []string {
	t.Helper()
	all := []string{"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
	for line := range strings.Lines(read(t, "docs/operations.md")) {
		if !strings.HasPrefix(line, "| `plugfn_") {
			continue
		}
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, m := range regexp.MustCompile("`(plugfn_[a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
	}
	if len(all) < 10 {
		t.Fatalf("docs/operations.md lists only %q", all)
	}
	return all
}

// checkExpr makes sure that a query is one, of series that there are.
func checkExpr(t *testing.T, where, expr string, known []string) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name := selector.Name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !slices.Contains(known, name) {
			t.Errorf("%s: docs/operations.md has no series %s", where, name)
		}
		return nil
	})
}

func TestAlerts(t *testing.T) {
	known, docs := series(t), read(t, "docs/operations.md")
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			checkExpr(t, r.Alert, r.Expr, known)
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" {
				t.Errorf("%s lacks its severity or summary", r.Alert)
			}
			_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "docs/operations.md#")
			if anchor != strings.ToLower(r.Alert) || !strings.Contains(docs, "\n### "+r.Alert+"\n") {
				t.Errorf("%s: its runbook %q is not there", r.Alert, r.Annotations["runbook_url"])
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	var board struct {
		UID    string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/observability/grafana/plugfn.json")), &board); err != nil {
		t.Fatal(err)
	}
	known := series(t)
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			checkExpr(t, p.Title, target.Expr, known)
		}
	}
	if board.UID == "" || len(board.Panels) == 0 {
		t.Error("the dashboard is empty")
	}
}
