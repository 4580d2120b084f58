//go:build integration

package codegen_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plugfn/plugfn/cmd/plugfn/codegen"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

const typescript = "typescript@5.9.3"

// right is what an application may write.
const right = `
import type { Actions, ActionSubject, Events, EventSubject, IssuesCreateParams, Result, Scope } from "./github";
const params: Actions["github.issues.create"]["params"] = { owner: "octo", repo: "hello", title: "It broke", body: null, labels: ["bug"] };
const same: IssuesCreateParams = params;
const to: ActionSubject<"u1"> = "plugfn.action.u1.github.issues.create";
const from: EventSubject<"*"> = "plugfn.event.*.github.issues.opened";
function opened(e: Events["issues.opened"]): string { const a: "opened" = e.action; return a + e.issue.title + (e.issue.body ?? ""); }
function ended(r: Result<"github.issues.list">): number[] { return (r.data ?? []).map((i) => i.number); }
const state: Actions["github.issues.list"]["params"]["state"] = "closed";
const scope: Scope = "repo";
export { same, to, from, opened, ended, state, scope };
`

// wrong has one mistake in each line behind the first.
const wrong = `import type { Actions, ActionSubject, EventSubject, Scope } from "./github";
export const a: Actions["github.issues.create"]["params"] = { owner: "octo", repo: "hello" };
export const b: Actions["github.issues.create"]["params"] = { owner: "octo", repo: "hello", title: "x", titel: "y" };
export const c: Actions["github.issues.list"]["params"] = { owner: "octo", repo: "hello", state: "shut" };
export const d: ActionSubject<"u1"> = "plugfn.action.u2.github.issues.create";
export const e: EventSubject<"*"> = "plugfn.event.*.github.issues.opend";
export const f: Scope = "repos";
`

// TestTypeScript has the compiler of TypeScript read what all packs make, and what
// applications write with it.
func TestTypeScript(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatal("npm is needed for this test: apt-get install nodejs npm")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", typescript)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s: %v\n%s", typescript, err, out)
	}
	packs, err := providers.LoadAll(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	if packs["odd"], err = providers.Load(fstest.MapFS{"odd/provider.yaml": {Data: []byte(oddPack)}}, "odd"); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"}
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		api, err := codegen.Read(packs[name])
		if err != nil {
			t.Fatal(err)
		}
		write(name+".d.ts", string(codegen.TypeScript(api)))
		args = append(args, name+".d.ts")
	}
	compile := func(file, text string) string {
		write(file, text)
		tsc := exec.CommandContext(ctx, filepath.Join(dir, "node_modules", ".bin", "tsc"), append(slices.Clone(args), file)...)
		tsc.Dir = dir
		out, err := tsc.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := compile("right.ts", right); out != "" {
		t.Errorf("tsc finds fault:\n%s", out)
	}
	out := compile("wrong.ts", wrong)
	for i := range strings.Count(wrong, "\n") - 1 {
		if place := "wrong.ts(" + string(rune('2'+i)) + ","; !strings.Contains(out, place) {
			t.Errorf("tsc takes line %d as right:\n%s", i+2, out)
		}
	}
}
