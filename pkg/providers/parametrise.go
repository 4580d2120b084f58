package providers

import (
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fixedKeys lists what an endpoint cannot replace.
func fixedKeys() []string {
	return []string{"parametrised", "hint", "redeliver", "sources", "unconfirmed"}
}

// With returns the block with parts of it replaced, for one endpoint: fragment is
// a mapping of keys of the block, in YAML or JSON, such as
//
//	{"verify": [{"scheme": "token", "signature": {"from": "header:X-Token"}}], "event": ["json:/kind"]}
//
// It is checked like a pack, and its problems are one error. It is an error if
// the pack is not parametrised. app is what the operator has set for the
// provider: without his consent in it, a fragment names no host that is called,
// and takes no delivery that nobody signs.
func (w *Webhooks) With(fragment []byte, app App) (*Webhooks, error) {
	if !w.Parametrised {
		return nil, errors.New("the webhooks of " + w.pack.Name + " have no parameters")
	}
	if len(fragment) > maxPackFile {
		return nil, errors.New("the parameters are larger than 1 MiB")
	}
	fresh := &Pack{dir: w.pack.dir, document: w.pack.document}
	if err := readYAML(packFile, w.pack.document, fresh).err(); err != nil {
		return nil, err // which it was not when it was loaded
	}
	fresh.link()
	d := readFragment("parameters", fragment, "webhooks", fresh.Webhooks)
	fresh.check(w.pack.Name, d.report)
	fresh.Webhooks.checkOwn(w, app, d)
	if err := d.err(); err != nil {
		return nil, err
	}
	fresh.Webhooks.pack = w.pack
	return fresh.Webhooks, nil
}

// checkOwn reports what a fragment, read as d, says that the pack or the
// operator has to say: whoever writes it is a user, and users share the process.
func (w *Webhooks) checkOwn(pack *Webhooks, app App, d *document) {
	if w.MaxBody > pack.MaxBody {
		d.report("webhooks.max_body", "must be at most that of the pack, %d bytes", pack.MaxBody)
	}
	if w.AckWithin > pack.AckWithin {
		d.report("webhooks.ack_within", "must be at most that of the pack, %s", pack.AckWithin)
	}
	hosts := append(pack.keyHosts(), app.endpointHosts()...)
	if _, ok := d.lines["webhooks.verify"]; ok {
		for i, v := range w.Verifiers {
			v.checkOwn(item("webhooks.verify", i), app.AllowUnsigned, hosts, d.report)
		}
	}
	for i, h := range w.Handshakes {
		if h.Confirm != nil {
			checkHosts(item("webhooks.handshake", i)+".confirm.hosts", h.Confirm.Hosts, hosts, d.report)
		}
	}
}

func (v *Verifier) checkOwn(path string, unsigned bool, hosts []HostPattern, r report) {
	switch {
	case v.Scheme == "callback":
		r(path+".scheme", "callback is the pack's to say")
	case (v.Scheme == "none" || v.Scheme == "network") && !unsigned && !v.addition:
		r(path+".scheme", "%s lets others send what they like: the operator has to set allow_unsigned for the provider", v.Scheme)
	}
	if v.Certificate != nil {
		checkHosts(path+".certificate.hosts", v.Certificate.Hosts, hosts, r)
	}
	if v.JWKS != "" {
		checkHosts(path+".jwks", v.jwksHost(), hosts, r)
	}
	for i, also := range v.Also {
		also.checkOwn(item(path+".also", i), unsigned, hosts, r)
	}
}

// checkHosts reports hosts that are not among those that may be called.
func checkHosts(path string, named, may []HostPattern, r report) {
	for _, h := range named {
		if !slices.ContainsFunc(may, func(m HostPattern) bool { return m.covers(h) }) {
			r(path, "%s is no host that PlugFn may call for an endpoint: the operator has to list it in endpoint_hosts of the provider", clip(h.String(), 100))
		}
	}
}

// keyHosts lists the hosts that the pack itself has called.
func (w *Webhooks) keyHosts() []HostPattern {
	var all []HostPattern
	for _, v := range w.Verifiers {
		for _, v := range append([]*Verifier{v}, v.Also...) {
			if v.Certificate != nil {
				all = append(all, v.Certificate.Hosts...)
			}
			all = append(all, v.jwksHost()...)
		}
	}
	for _, h := range w.Handshakes {
		if h.Confirm != nil {
			all = append(all, h.Confirm.Hosts...)
		}
	}
	return all
}

// jwksHost is the host of the issuer's keys, none when the secret is the key.
func (v *Verifier) jwksHost() []HostPattern {
	u, err := url.Parse(v.JWKS)
	if err != nil || u.Host == "" {
		return nil
	}
	return []HostPattern{{labels: strings.Split(u.Host, ".")}}
}

// readFragment decodes a mapping over a struct that is there already. Its fields
// are reported below path.
func readFragment(file string, data []byte, path string, into any) *document {
	d := &document{file: file, lines: map[string]spot{}}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		d.syntax(err)
		return d
	}
	if len(root.Content) == 0 {
		return d
	}
	for i := 0; i < len(root.Content[0].Content); i += 2 {
		if key := root.Content[0].Content[i]; slices.Contains(fixedKeys(), key.Value) {
			d.fail(spotOf(key), joinPath(path, key.Value), "is the pack's to say")
			return d
		}
	}
	d.value(root.Content[0], reflect.ValueOf(into).Elem(), path)
	return d
}
