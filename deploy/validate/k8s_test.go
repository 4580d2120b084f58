package validate

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// cluster is what an overlay makes, decoded strictly.
type cluster struct {
	workloads  []*workload
	services   map[string]*corev1.Service
	configs    map[string]*corev1.ConfigMap
	secrets    map[string][]string // :: name → its keys
	budgets    []*policyv1.PodDisruptionBudget
	policies   []*networkingv1.NetworkPolicy
	ingresses  []*networkingv1.Ingress
	scalers    []scaler
	routes     []*httpRoute
	rules      []*prometheusRule
	monitors   []*serviceMonitor
	namespaces map[string]bool // of the objects that have one
	accounts   map[string]bool
}

// workload is a Deployment, a StatefulSet or a Job.
type workload struct {
	kind, name string
	replicas   *int32
	selector   *metav1.LabelSelector // nil for a Job
	template   corev1.PodTemplateSpec
	claims     []corev1.PersistentVolumeClaim
	service    string // of a StatefulSet
}

// scaler is what changes the number of a workload's pods.
type scaler struct{ name, kind, target string }

// The resources of others, as far as they are used here: what is not listed is
// an error, so that a misspelled field is one.
type (
	target struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
	}
	httpRoute struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			ParentRefs []struct {
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"parentRefs"`
			Hostnames []string `json:"hostnames"`
			Rules     []struct {
				Matches []struct {
					Path struct {
						Type  string `json:"type"`
						Value string `json:"value"`
					} `json:"path"`
				} `json:"matches"`
				BackendRefs []struct {
					Name string `json:"name"`
					Port int32  `json:"port"`
				} `json:"backendRefs"`
			} `json:"rules"`
		} `json:"spec"`
	}
	scaledObject struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			ScaleTargetRef  target `json:"scaleTargetRef"`
			MinReplicaCount int    `json:"minReplicaCount"`
			MaxReplicaCount int    `json:"maxReplicaCount"`
			CooldownPeriod  int    `json:"cooldownPeriod"`
			Fallback        struct {
				FailureThreshold int `json:"failureThreshold"`
				Replicas         int `json:"replicas"`
			} `json:"fallback"`
			Triggers []struct {
				Type     string            `json:"type"`
				Metadata map[string]string `json:"metadata"`
			} `json:"triggers"`
		} `json:"spec"`
	}
	externalSecret struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			RefreshInterval metav1.Duration `json:"refreshInterval"`
			SecretStoreRef  target          `json:"secretStoreRef"`
			Target          target          `json:"target"`
			Data            []struct {
				SecretKey string `json:"secretKey"`
				RemoteRef struct {
					Key      string `json:"key"`
					Property string `json:"property"`
				} `json:"remoteRef"`
			} `json:"data"`
		} `json:"spec"`
	}
	serviceMonitor struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			Selector     metav1.LabelSelector `json:"selector"`
			TargetLabels []string             `json:"targetLabels"`
			Endpoints    []struct {
				Port          string `json:"port"`
				Path          string `json:"path"`
				Interval      string `json:"interval"`
				ScrapeTimeout string `json:"scrapeTimeout"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	prometheusRule struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            ruleFile          `json:"spec"`
	}
)

// build runs kustomize as kubectl apply -k does.
func build(t *testing.T, dir string) [][]byte {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	var all [][]byte
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	return all
}

// overlay is an overlay of deploy/k8s.
func overlay(t *testing.T, name string) *cluster {
	t.Helper()
	return decode(t, build(t, filepath.Join(repository, "deploy", "k8s", "overlays", name)))
}

// withComponents is the base with some components, as an operator puts them
// together.
func withComponents(t *testing.T, components ...string) *cluster {
	t.Helper()
	root, err := filepath.Abs(filepath.Join(repository, "deploy", "k8s"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, root)
	if err != nil {
		t.Fatal(err)
	}
	text := "namespace: plugfn\nresources: [" + relative + "/base]\nimages: [{name: ghcr.io/plugfn/plugfn, newTag: 0.1.0}]\ncomponents:\n"
	for _, c := range components {
		text += "  - " + relative + "/components/" + c + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return decode(t, build(t, dir))
}

func decode(t *testing.T, all [][]byte) *cluster {
	t.Helper()
	c := &cluster{
		services: map[string]*corev1.Service{}, configs: map[string]*corev1.ConfigMap{}, secrets: map[string][]string{},
		namespaces: map[string]bool{}, accounts: map[string]bool{},
	}
	for _, text := range all {
		var head metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(text, &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind != "Namespace" {
			c.namespaces[head.Namespace] = true
		}
		if err := c.add(head.APIVersion+" "+head.Kind, text); err != nil {
			t.Errorf("%s %s: %v", head.Kind, head.Name, err)
		}
	}
	return c
}

// strictly decodes a resource; a field that its type does not have is an error.
func strictly[T any](text []byte) (*T, error) {
	var v T
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return &v, err
	}
	unknown, err := json.UnmarshalStrict(text, &v) // minds the case, as Kubernetes does
	return &v, errors.Join(append(unknown, err)...)
}

func (c *cluster) add(kind string, text []byte) error {
	if known, err := c.addWorkload(kind, text); known {
		return err
	}
	if known, err := c.addForeign(kind, text); known {
		return err
	}
	switch kind {
	case "v1 Service":
		v, err := strictly[corev1.Service](text)
		c.services[v.Name] = v
		return err
	case "v1 ConfigMap":
		v, err := strictly[corev1.ConfigMap](text)
		c.configs[v.Name] = v
		return err
	case "v1 Secret":
		v, err := strictly[corev1.Secret](text)
		for key := range v.Data {
			c.secrets[v.Name] = append(c.secrets[v.Name], key)
		}
		return err
	case "v1 ServiceAccount":
		v, err := strictly[corev1.ServiceAccount](text)
		c.accounts[v.Name] = true
		return err
	case "v1 Namespace":
		_, err := strictly[corev1.Namespace](text)
		return err
	case "policy/v1 PodDisruptionBudget":
		v, err := strictly[policyv1.PodDisruptionBudget](text)
		c.budgets = append(c.budgets, v)
		return err
	case "networking.k8s.io/v1 NetworkPolicy":
		v, err := strictly[networkingv1.NetworkPolicy](text)
		c.policies = append(c.policies, v)
		return err
	case "networking.k8s.io/v1 Ingress":
		v, err := strictly[networkingv1.Ingress](text)
		c.ingresses = append(c.ingresses, v)
		return err
	case "autoscaling/v2 HorizontalPodAutoscaler":
		v, err := strictly[autoscalingv2.HorizontalPodAutoscaler](text)
		c.scalers = append(c.scalers, scaler{v.Name, v.Spec.ScaleTargetRef.Kind, v.Spec.ScaleTargetRef.Name})
		return err
	default:
		return errUnknownKind(kind)
	}
}

type errUnknownKind string

func (e errUnknownKind) Error() string {
	return string(e) + " is not known here: add it to the cluster of k8s_test.go"
}

func (c *cluster) addWorkload(kind string, text []byte) (known bool, err error) {
	w := &workload{}
	switch kind {
	case "apps/v1 Deployment":
		var v *appsv1.Deployment
		v, err = strictly[appsv1.Deployment](text)
		w.kind, w.name, w.replicas, w.selector, w.template = "Deployment", v.Name, v.Spec.Replicas, v.Spec.Selector, v.Spec.Template
	case "apps/v1 StatefulSet":
		var v *appsv1.StatefulSet
		v, err = strictly[appsv1.StatefulSet](text)
		w.kind, w.name, w.replicas, w.selector, w.template = "StatefulSet", v.Name, v.Spec.Replicas, v.Spec.Selector, v.Spec.Template
		w.claims, w.service = v.Spec.VolumeClaimTemplates, v.Spec.ServiceName
	case "batch/v1 Job":
		var v *batchv1.Job
		v, err = strictly[batchv1.Job](text)
		w.kind, w.name, w.template = "Job", v.Name, v.Spec.Template
	default:
		return false, nil
	}
	c.workloads = append(c.workloads, w)
	return true, err
}

func (c *cluster) addForeign(kind string, text []byte) (known bool, err error) {
	switch kind {
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		var v *httpRoute
		v, err = strictly[httpRoute](text)
		c.routes = append(c.routes, v)
	case "keda.sh/v1alpha1 ScaledObject":
		var v *scaledObject
		v, err = strictly[scaledObject](text)
		c.scalers = append(c.scalers, scaler{v.Metadata.Name, v.Spec.ScaleTargetRef.Kind, v.Spec.ScaleTargetRef.Name})
	case "external-secrets.io/v1 ExternalSecret":
		var v *externalSecret
		v, err = strictly[externalSecret](text)
		for _, d := range v.Spec.Data {
			c.secrets[v.Spec.Target.Name] = append(c.secrets[v.Spec.Target.Name], d.SecretKey)
		}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		var v *serviceMonitor
		v, err = strictly[serviceMonitor](text)
		c.monitors = append(c.monitors, v)
	case "monitoring.coreos.com/v1 PrometheusRule":
		var v *prometheusRule
		v, err = strictly[prometheusRule](text)
		c.rules = append(c.rules, v)
	default:
		return false, nil
	}
	return true, err
}

func (c *cluster) workload(name string) *workload {
	for _, w := range c.workloads {
		if w.name == name {
			return w
		}
	}
	return nil
}

// ours are the workloads that run PlugFn.
func (c *cluster) ours() (all []*workload) {
	for _, w := range c.workloads {
		if strings.HasPrefix(w.container().Image, "ghcr.io/plugfn/plugfn") {
			all = append(all, w)
		}
	}
	return all
}

func (w *workload) container() *corev1.Container { return &w.template.Spec.Containers[0] }

// env is a variable of the first container, "" if it has it not by itself.
func (w *workload) env(name string) string {
	for _, e := range w.container().Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// TestDecodingIsStrict: a misspelled field is noticed, in types of Kubernetes
// and of others.
func TestDecodingIsStrict(t *testing.T) {
	for _, text := range []string{
		"apiVersion: apps/v1\nkind: Deployment\nspec: {replica: 2}\n",
		"apiVersion: apps/v1\nkind: Deployment\nspec: {Replicas: 2}\n",
		"apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec: {minReplicas: 2}\n",
		"apiVersion: example.com/v1\nkind: Other\n",
	} {
		c := &cluster{}
		first, rest, _ := strings.Cut(text, "\n")
		second, _, _ := strings.Cut(rest, "\n")
		kind := strings.TrimPrefix(first, "apiVersion: ") + " " + strings.TrimPrefix(second, "kind: ")
		if err := c.add(kind, bytes.TrimSpace([]byte(text))); err == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}
