package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plugfn/plugfn/pkg/providers"
)

// webhooksView is what is shown of how a provider's deliveries come and are
// verified.
type webhooksView struct {
	SetUp        string   `json:"set_up,omitempty"`
	Proofs       []string `json:"proofs"`                   // what a delivery proves and by what, for each verifier
	AnswerWithin string   `json:"answer_within"`            // how long PlugFn takes at most
	SentAgain    bool     `json:"sent_again"`               // what was not accepted
	SentAgainFor string   `json:"sent_again_for,omitempty"` // "": the pack does not know
	Account      bool     `json:"account"`                  // deliveries say whose they are; otherwise their endpoint does
	Sources      []string `json:"sources,omitempty"`        // pages of the provider
	Unconfirmed  []string `json:"unconfirmed,omitempty"`    // what none was found to say
}

func viewOfWebhooks(w *providers.Webhooks) *webhooksView {
	if w == nil {
		return nil
	}
	v := &webhooksView{
		SetUp: w.Hint, Proofs: []string{}, AnswerWithin: short(w.AckWithin), SentAgain: w.SendsAgain(), Account: len(w.Account) > 0,
		Sources: w.Sources, Unconfirmed: w.Unconfirmed,
	}
	if v.SentAgain && w.RetryHorizon != providers.DefaultRetryHorizon {
		v.SentAgainFor = short(w.RetryHorizon)
	}
	for _, verifier := range w.Verifiers {
		by := verifier.Scheme
		if verifier.Hash != "" {
			by += " " + verifier.Hash
		}
		if proof := fmt.Sprintf("%s (%s)", verifier.Binding, by); !slices.Contains(v.Proofs, proof) {
			v.Proofs = append(v.Proofs, proof)
		}
	}
	return v
}

// short writes a duration without the units that are zero.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// again says in words for how long deliveries are sent again.
func (v *webhooksView) again() string {
	switch {
	case !v.SentAgain:
		return "never"
	case v.SentAgainFor == "":
		return "yes"
	default:
		return "for " + v.SentAgainFor
	}
}

// fields are the lines about webhooks of a provider.
func (v *webhooksView) fields() []field {
	whose := "by the account in the delivery"
	if !v.Account {
		whose = "by the endpoint: deliveries name no account"
	}
	return []field{
		{"set up", v.SetUp},
		{"proves", strings.Join(v.Proofs, ", ")},
		{"sent again", v.again()},
		{"answer within", v.AnswerWithin},
		{"connection", whose},
		{"sources", strings.Join(v.Sources, " ")},
		{"unconfirmed", strings.Join(v.Unconfirmed, "; ")},
	}
}

// webhooksMarkdown is docs/webhook-providers.md: what the packs say about the
// webhooks of their providers.
func webhooksMarkdown(packs map[string]*providers.Pack) string {
	var b strings.Builder
	b.WriteString(`# Webhooks: set-up per provider

What each built-in pack needs to receive deliveries. This page is made of the packs; ` + "`plugfn provider show <provider>`" + ` shows the same of one.

Deliveries of all connections come to ` + "`/webhooks/<provider>`" + `, and the secret is the app's: PLUGFN_<PROVIDER>_WEBHOOK_SECRET or ` + "`plugfn app set <provider> --webhook-secret-file`" + `. Where a delivery names no account, or each connection has a secret of its own, make an endpoint for the connection: ` + "`plugfn webhook create`" + `.

- *Proves*: what a valid signature vouches for. ` + "`body+time`" + `: every byte, and when it was sent. ` + "`body`" + `: every byte; an old delivery can be sent again by whoever got hold of it, and is recognised by its id for as long as ids are kept. ` + "`origin`" + `: only that the sender knows the secret.
- *Sent again*: whether, and for how long, a provider repeats what was not accepted. Where it never does, an outage of PlugFn loses deliveries.
- *Not confirmed*: what of a pack no page of its provider was found to say, so that it comes from third parties, from memory or from caution. Watch it before you rely on it.
- *Whose*: by the account that the delivery names, or by the endpoint that it comes to.

| Provider | Set up | Proves | Sent again | Whose | Not confirmed |
|---|---|---|---|---|---|
`)
	for _, name := range names(packs) {
		v := viewOfWebhooks(packs[name].Webhooks)
		if v == nil {
			continue
		}
		whose := "account"
		if !v.Account {
			whose = "endpoint"
		}
		cells := []string{packs[name].Display.Name + " `" + name + "`", v.SetUp, strings.Join(v.Proofs, ", "), v.again(), whose, strings.Join(v.Unconfirmed, "; ")}
		for i, cell := range cells {
			cells[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(cell)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}
