package validate

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// clusters are all that is looked at, :: what it is → what it makes.
func clusters(t *testing.T) map[string]*cluster {
	t.Helper()
	return map[string]*cluster{
		"overlays/dev":        overlay(t, "dev"),
		"overlays/production": overlay(t, "production"),
		"base with ingress":   withComponents(t, "nats", "externalsecrets", "ingress", "networkpolicy"),
	}
}

// each checks every cluster.
func each(t *testing.T, check func(t *testing.T, c *cluster)) {
	for name, c := range clusters(t) {
		t.Run(name, func(t *testing.T) { check(t, c) })
	}
}

func selects(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Error(err)
		return false
	}
	return selector.Matches(labels.Set(of))
}

func TestSelectorsFindPods(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		found := func(s *metav1.LabelSelector) (names []string) {
			for _, w := range c.workloads {
				if selects(t, s, w.template.Labels) {
					names = append(names, w.name)
				}
			}
			return names
		}
		for _, w := range c.workloads {
			if w.selector != nil && !slices.Equal(found(w.selector), []string{w.name}) {
				t.Errorf("%s selects the pods of %q", w.name, found(w.selector))
			}
			for _, spread := range w.template.Spec.TopologySpreadConstraints {
				if !slices.Equal(found(spread.LabelSelector), []string{w.name}) {
					t.Errorf("%s spreads the pods of %q", w.name, found(spread.LabelSelector))
				}
			}
			if w.kind == "StatefulSet" && c.services[w.service] == nil {
				t.Errorf("%s has no service %q", w.name, w.service)
			}
		}
		for _, b := range c.budgets {
			if len(found(b.Spec.Selector)) != 1 {
				t.Errorf("the budget %s is for the pods of %q", b.Name, found(b.Spec.Selector))
			}
		}
		for _, p := range c.policies {
			if len(found(&p.Spec.PodSelector)) == 0 && p.Name != "redis" && p.Name != "plugfn-redis" { // where there is one
				t.Errorf("the policy %s is for no pod", p.Name)
			}
		}
		for _, s := range c.scalers {
			w := c.workload(s.target)
			if w == nil || w.kind != s.kind {
				t.Errorf("%s scales %s %s, which there is not", s.name, s.kind, s.target)
			} else if w.replicas != nil {
				t.Errorf("%s has %d replicas by itself, and is scaled by %s: they would fight", w.name, *w.replicas, s.name)
			}
		}
		for _, m := range c.monitors {
			for _, role := range roles {
				if s := c.services["plugfn-"+role]; !selects(t, &m.Spec.Selector, s.Labels) || s.Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
					t.Errorf("%s does not read the metrics of %s", m.Metadata.Name, role)
				}
			}
		}
	})
}

func TestServicesReachPorts(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, s := range c.services {
			behind := slices.IndexFunc(c.workloads, func(w *workload) bool {
				return labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.template.Labels))
			})
			if behind < 0 {
				t.Errorf("nothing is behind the service %s", s.Name)
				continue
			}
			for _, port := range s.Spec.Ports {
				if !c.workloads[behind].listens(port.TargetPort) {
					t.Errorf("%s: nothing listens at %s", s.Name, port.TargetPort.String())
				}
			}
		}
		for _, w := range c.workloads {
			for _, probe := range []*corev1.Probe{w.container().StartupProbe, w.container().LivenessProbe, w.container().ReadinessProbe} {
				if probe != nil && probe.HTTPGet != nil && !w.listens(probe.HTTPGet.Port) {
					t.Errorf("%s is probed at %s", w.name, probe.HTTPGet.Port.String())
				}
			}
		}
		for path, service := range c.paths(t) {
			want := map[string]string{"/webhooks/": "plugfn-ingress", "/oauth/": "plugfn-auth", "/connect/": "plugfn-auth"}[path]
			if service != want {
				t.Errorf("%s goes to %q, want %q", path, service, want)
			}
		}
	})
}

func (w *workload) listens(port intstr.IntOrString) bool {
	return slices.ContainsFunc(w.container().Ports, func(p corev1.ContainerPort) bool {
		return p.Name == port.StrVal && port.StrVal != "" || p.ContainerPort == port.IntVal
	})
}

// paths are what comes from outside, :: path → service.
func (c *cluster) paths(t *testing.T) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, r := range c.routes {
		for _, rule := range r.Spec.Rules {
			backend := rule.BackendRefs[0]
			if s := c.services[backend.Name]; s == nil || s.Spec.Ports[0].Port != backend.Port {
				t.Errorf("the route goes to %s at %d, which there is not", backend.Name, backend.Port)
			}
			paths[rule.Matches[0].Path.Value] = backend.Name
		}
	}
	for _, i := range c.ingresses {
		for _, p := range i.Spec.Rules[0].HTTP.Paths {
			backend := p.Backend.Service
			if s := c.services[backend.Name]; s == nil || s.Spec.Ports[0].Name != backend.Port.Name || *p.PathType != networkingv1.PathTypePrefix {
				t.Errorf("the ingress goes to %s at %s, which there is not", backend.Name, backend.Port.Name)
			}
			paths[p.Path] = backend.Name
		}
	}
	return paths
}

// TestSettingsAreKnown goes through everything that becomes a variable.
func TestSettingsAreKnown(t *testing.T) {
	v := readVariables(t)
	each(t, func(t *testing.T, c *cluster) {
		for _, w := range c.ours() {
			seen := map[string]bool{}
			for _, e := range w.container().Env {
				if seen[e.Name] {
					t.Errorf("%s sets %s twice", w.name, e.Name)
				}
				seen[e.Name] = true
				v.check(t, w.name, e.Name, e.Value)
			}
			for _, from := range w.container().EnvFrom {
				if from.ConfigMapRef != nil {
					config := c.configs[from.ConfigMapRef.Name]
					if config == nil {
						t.Errorf("%s: there is no config map %s", w.name, from.ConfigMapRef.Name)
						continue
					}
					for name, value := range config.Data {
						v.check(t, config.Name, name, value)
					}
				}
				if from.SecretRef != nil {
					keys, ok := c.secrets[from.SecretRef.Name]
					if !ok && (from.SecretRef.Optional == nil || !*from.SecretRef.Optional) {
						t.Errorf("%s: there is no secret %s", w.name, from.SecretRef.Name)
					}
					for _, key := range keys {
						v.check(t, from.SecretRef.Name, key, "")
					}
				}
			}
		}
	})
}

// TestVolumesAreThere: what is mounted exists, and each role sees its own key on
// the bus only.
func TestVolumesAreThere(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, w := range c.workloads {
			have := map[string]bool{}
			for _, claim := range w.claims {
				have[claim.Name] = true
			}
			for _, volume := range w.template.Spec.Volumes {
				have[volume.Name] = true
				c.checkVolume(t, w, volume)
			}
			for _, m := range w.container().VolumeMounts {
				if !have[m.Name] {
					t.Errorf("%s mounts %s, which there is not", w.name, m.Name)
				}
				delete(have, m.Name)
			}
			if len(have) > 0 {
				t.Errorf("%s has volumes that nobody uses: %v", w.name, have)
			}
		}
	})
}

func (c *cluster) checkVolume(t *testing.T, w *workload, volume corev1.Volume) {
	t.Helper()
	if volume.ConfigMap != nil && c.configs[volume.ConfigMap.Name] == nil {
		t.Errorf("%s: there is no config map %s", w.name, volume.ConfigMap.Name)
	}
	if volume.Secret == nil {
		return
	}
	keys, ok := c.secrets[volume.Secret.SecretName]
	if !ok {
		t.Errorf("%s: there is no secret %s", w.name, volume.Secret.SecretName)
	}
	role := map[string]string{"plugfn-streams": "admin"}[w.name]
	if role == "" {
		role = strings.TrimPrefix(w.name, "plugfn-")
	}
	if volume.Name == "nkeys" && (volume.Secret.SecretName != "plugfn-nkey-"+role || !slices.Equal(keys, []string{role + ".nk"})) {
		t.Errorf("%s connects with %s %q", w.name, volume.Secret.SecretName, keys)
	}
}

// TestPodsAreRestricted asks for what the standard "restricted" of Kubernetes
// does, and a root that is not written to.
func TestPodsAreRestricted(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, w := range c.workloads {
			pod, box := w.template.Spec, w.container().SecurityContext
			switch {
			case len(pod.Containers) != 1 || len(pod.InitContainers) > 0:
				t.Errorf("%s has more than one container: look at each", w.name)
			case pod.SecurityContext == nil || box == nil:
				t.Errorf("%s has no security context", w.name)
			case pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser == nil || *pod.SecurityContext.RunAsUser == 0:
				t.Errorf("%s may be root", w.name)
			case pod.SecurityContext.SeccompProfile == nil || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
				t.Errorf("%s has no seccomp profile", w.name)
			case box.AllowPrivilegeEscalation == nil || *box.AllowPrivilegeEscalation, box.Privileged != nil && *box.Privileged:
				t.Errorf("%s may gain privileges", w.name)
			case box.Capabilities == nil || !slices.Equal(box.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(box.Capabilities.Add) > 0:
				t.Errorf("%s has capabilities", w.name)
			case box.ReadOnlyRootFilesystem == nil || !*box.ReadOnlyRootFilesystem:
				t.Errorf("%s may write to its root", w.name)
			case pod.HostNetwork || pod.HostPID || pod.HostIPC:
				t.Errorf("%s is on the host", w.name)
			case pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken:
				t.Errorf("%s has a token of Kubernetes", w.name)
			case pod.ServiceAccountName != "" && !c.accounts[pod.ServiceAccountName]:
				t.Errorf("%s: there is no service account %s", w.name, pod.ServiceAccountName)
			}
		}
	})
}

func TestResources(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, w := range c.workloads {
			r := w.container().Resources
			limit := r.Limits.Memory()
			if r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || limit.IsZero() {
				t.Errorf("%s lacks requests or a limit of memory", w.name)
			}
			if r.Requests.Memory().Cmp(*limit) > 0 {
				t.Errorf("%s asks for more memory than it may have", w.name)
			}
			soft := w.env("GOMEMLIMIT")
			if w.kind == "Job" || w.name == "redis" {
				continue
			}
			q, err := resource.ParseQuantity(strings.TrimSuffix(soft, "B"))
			if share := float64(q.Value()) / float64(limit.Value()); err != nil || share < 0.7 || share > 0.9 {
				t.Errorf("%s: GOMEMLIMIT %q is %.2f of the limit, must be 0.7 to 0.9: %v", w.name, soft, share, err)
			}
		}
	})
}

func TestStarting(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		tags := map[string]bool{}
		for _, w := range c.ours() {
			tags[w.container().Image] = true
			if w.kind == "Job" {
				continue
			}
			role := strings.TrimPrefix(w.name, "plugfn-")
			if !slices.Equal(w.container().Args, []string{"serve", role}) || !slices.Contains(roles, role) {
				t.Errorf("%s runs %q", w.name, w.container().Args)
			}
			for path, probe := range map[string]*corev1.Probe{
				"/startupz": w.container().StartupProbe, "/livez": w.container().LivenessProbe, "/readyz": w.container().ReadinessProbe,
			} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path {
					t.Errorf("%s is not probed at %s", w.name, path)
				}
			}
		}
		if len(tags) != 1 {
			t.Errorf("there are several versions of PlugFn: %v", tags)
		}
		pinned := regexp.MustCompile(`:v?\d+(\.\d+)*(-[a-z]+)?$|:dev$`)
		for _, w := range c.workloads {
			if !pinned.MatchString(w.container().Image) {
				t.Errorf("%s runs %s, which may change", w.name, w.container().Image)
			}
		}
		for _, role := range roles {
			if c.workload("plugfn-"+role) == nil {
				t.Errorf("nothing runs %s", role)
			}
		}
	})
}

// TestStopping: the grace is enough for preStop and for draining HTTP, the work
// in hand and the bus, each of which may take as long as the drain timeout.
func TestStopping(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		drain, err := time.ParseDuration(c.config("plugfn")["PLUGFN_DRAIN_TIMEOUT"])
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.ours() {
			if w.kind == "Job" {
				continue
			}
			hook := w.container().Lifecycle
			if hook == nil || hook.PreStop == nil || hook.PreStop.Sleep == nil || hook.PreStop.Sleep.Seconds < 5 {
				t.Errorf("%s stops before others know", w.name)
				continue
			}
			need := time.Duration(hook.PreStop.Sleep.Seconds)*time.Second + 3*drain
			if grace := w.template.Spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second < need {
				t.Errorf("%s has %v s to stop, and may need %s", w.name, grace, need)
			}
		}
	})
}

// config is a config map, with or without the hash behind its name.
func (c *cluster) config(name string) map[string]string {
	for full, m := range c.configs {
		if full == name || strings.HasPrefix(full, name+"-") && !strings.Contains(strings.TrimPrefix(full, name+"-"), "-") {
			return m.Data
		}
	}
	return nil
}

func TestEverythingIsInOneNamespace(t *testing.T) {
	for name, want := range map[string]string{"dev": "plugfn-dev", "production": "plugfn"} {
		if c := overlay(t, name); len(c.namespaces) != 1 || !c.namespaces[want] {
			t.Errorf("%s is in %v", name, c.namespaces)
		}
	}
}

// TestProduction looks at what makes it safe for three zones.
func TestProduction(t *testing.T) {
	c := overlay(t, "production")
	nats := c.workload("nats")
	if nats.kind != "StatefulSet" || *nats.replicas != 3 || len(nats.claims) != 1 {
		t.Errorf("NATS is %+v", nats)
	}
	if a := nats.template.Spec.Affinity; a == nil || a.PodAntiAffinity == nil || len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) == 0 {
		t.Error("two NATS servers may be on one machine")
	}
	conf := c.config("nats")["nats.conf"]
	for _, want := range []string{"sync_interval: always", "include ./accounts/plugfn.conf", "nats://nats-2.nats-headless:6222"} {
		if !strings.Contains(conf, want) {
			t.Errorf("nats.conf lacks %s", want)
		}
	}
	store := regexp.MustCompile(`max_file_store: (\d+)GB`).FindStringSubmatch(conf)
	disk := nats.claims[0].Spec.Resources.Requests[corev1.ResourceStorage]
	if len(store) != 2 || disk.CmpInt64(int64(mustAtoi(t, store[1]))<<30) <= 0 {
		t.Errorf("NATS may keep %v on a disk of %s", store, disk.String())
	}
	if mode := c.config("plugfn")["PLUGFN_DURABILITY"]; mode != "strict" {
		t.Errorf("durability is %q, with servers that sync always", mode)
	}
	for _, role := range roles {
		w := c.workload("plugfn-" + role)
		if w.replicas != nil && *w.replicas < 2 {
			t.Errorf("%s has %d replicas", role, *w.replicas)
		}
		if len(w.template.Spec.TopologySpreadConstraints) == 0 {
			t.Errorf("%s may be in one zone", role)
		}
		if !slices.ContainsFunc(c.scalers, func(s scaler) bool { return s.target == w.name }) && w.replicas == nil {
			t.Errorf("nobody says how many there are of %s", role)
		}
	}
	for _, name := range []string{"plugfn-ingress", "plugfn-auth"} {
		if w := c.workload(name); w.kind != "StatefulSet" || len(w.claims) != 1 || w.claims[0].Name != "data" {
			t.Errorf("%s loses what it keeps with its pod", name)
		}
	}
}

func mustAtoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSpoolFitsItsVolume wherever the ingress keeps it.
func TestSpoolFitsItsVolume(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		w := c.workload("plugfn-ingress")
		spool := resource.MustParse(strings.TrimSuffix(w.env("PLUGFN_SPOOL_MAX_BYTES"), "B"))
		var disk resource.Quantity
		for _, v := range w.template.Spec.Volumes {
			if v.Name == "data" {
				disk = *v.EmptyDir.SizeLimit
			}
		}
		for _, claim := range w.claims {
			disk = claim.Spec.Resources.Requests[corev1.ResourceStorage]
		}
		if disk.Value() < 2*spool.Value() {
			t.Errorf("a spool of %s on a volume of %s", spool.String(), disk.String())
		}
	})
}

// TestNetworkIsClosed: nothing is allowed that no policy allows, and providers
// are not looked for in private networks.
func TestNetworkIsClosed(t *testing.T) {
	c := overlay(t, "production")
	at := func(name string) *networkingv1.NetworkPolicy {
		i := slices.IndexFunc(c.policies, func(p *networkingv1.NetworkPolicy) bool { return p.Name == name })
		if i < 0 {
			t.Fatalf("there is no policy %s", name)
		}
		return c.policies[i]
	}
	deny := at("default-deny")
	if len(deny.Spec.PodSelector.MatchLabels) > 0 || len(deny.Spec.PolicyTypes) != 2 || len(deny.Spec.Ingress)+len(deny.Spec.Egress) > 0 {
		t.Errorf("default-deny allows something: %+v", deny.Spec)
	}
	out := at("plugfn-providers").Spec.Egress[0]
	for _, private := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"} {
		if !slices.Contains(out.To[0].IPBlock.Except, private) {
			t.Errorf("providers may be in %s", private)
		}
	}
}

// TestAlertsAreTheSame compares the component with the file of Prometheus.
func TestAlertsAreTheSame(t *testing.T) {
	c := overlay(t, "production")
	if len(c.rules) != 1 || !reflect.DeepEqual(c.rules[0].Spec, alerts(t)) {
		t.Error("components/servicemonitor/rules.yaml differs from deploy/observability/alerts.yml")
	}
}
