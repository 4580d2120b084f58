package main

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newStreamExportCommand() *cobra.Command {
	namespace := ""
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the streams and buckets as manifests for NACK, the controller of NATS for Kubernetes",
		Long: "Export prints what apply makes as resources of jetstream.nats.io/v1beta2. Whoever applies them leaves the making to " +
			"NACK: then run services with the keys of their roles only, and no admin, for two that make streams undo each other's work. " +
			"It asks no server. NACK must know allowMsgSchedules and allowAtomicPublish.",
		Example: "plugfn stream export --durability ha --namespace plugfn > streams.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := newTarget(cmd)
			if err != nil {
				return err
			}
			all, err := t.assets()
			if err != nil {
				return err
			}
			e := yaml.NewEncoder(cmd.OutOrStdout())
			e.SetIndent(2)
			for _, s := range all {
				if err := e.Encode(nackStream(s, namespace)); err != nil {
					return err
				}
			}
			return e.Close()
		},
	}
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the resources")
	return withTarget(settings.Streams, cmd)
}

// nackResource is a Stream of NACK.
type nackResource struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   map[string]string `yaml:"metadata"`
	Spec       nackSpec          `yaml:"spec"`
}

type nackSpec struct {
	Name               string   `yaml:"name"`
	Subjects           []string `yaml:"subjects"`
	Retention          string   `yaml:"retention"`
	Storage            string   `yaml:"storage"`
	Replicas           int      `yaml:"replicas"`
	Discard            string   `yaml:"discard"`
	MaxAge             string   `yaml:"maxAge,omitempty"`
	MaxBytes           int64    `yaml:"maxBytes"`
	MaxMsgs            int64    `yaml:"maxMsgs"`
	MaxMsgsPerSubject  int64    `yaml:"maxMsgsPerSubject"`
	MaxMsgSize         int32    `yaml:"maxMsgSize"`
	MaxConsumers       int      `yaml:"maxConsumers"`
	DuplicateWindow    string   `yaml:"duplicateWindow,omitempty"`
	Compression        string   `yaml:"compression"`
	AllowDirect        bool     `yaml:"allowDirect"`
	AllowRollup        bool     `yaml:"allowRollup,omitempty"`
	DenyDelete         bool     `yaml:"denyDelete,omitempty"`
	AllowMsgTTL        bool     `yaml:"allowMsgTtl,omitempty"`
	AllowMsgSchedules  bool     `yaml:"allowMsgSchedules,omitempty"`
	AllowAtomicPublish bool     `yaml:"allowAtomicPublish,omitempty"`
}

func nackStream(s jetstream.StreamConfig, namespace string) nackResource {
	r := nackResource{
		APIVersion: "jetstream.nats.io/v1beta2", Kind: "Stream",
		Metadata: map[string]string{"name": strings.ToLower(strings.ReplaceAll(s.Name, "_", "-"))},
		Spec: nackSpec{
			Name: s.Name, Subjects: s.Subjects, Retention: "limits", Storage: "file", Replicas: s.Replicas, Discard: "new",
			MaxAge: nackTime(s.MaxAge), MaxBytes: s.MaxBytes, MaxMsgs: s.MaxMsgs, MaxMsgsPerSubject: s.MaxMsgsPerSubject,
			MaxMsgSize: s.MaxMsgSize, MaxConsumers: s.MaxConsumers, DuplicateWindow: nackTime(s.Duplicates), Compression: s.Compression.String(),
			AllowDirect: s.AllowDirect, AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, AllowMsgTTL: s.AllowMsgTTL,
			AllowMsgSchedules: s.AllowMsgSchedules, AllowAtomicPublish: s.AllowAtomicPublish,
		},
	}
	if namespace != "" {
		r.Metadata["namespace"] = namespace
	}
	if s.Discard == jetstream.DiscardOld {
		r.Spec.Discard = "old"
	}
	return r
}

// nackTime is a duration as NACK reads it; "" for none.
func nackTime(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}
