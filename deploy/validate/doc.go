// Package validate checks what operators deploy, without a container engine or
// a cluster: docker-compose.yml by compose-go, deploy/k8s by kustomize and the
// Go types of Kubernetes, alert rules and dashboard by the parser of Prometheus.
//
// It has tests only. What variables and keys there are it reads from
// docs/configuration.schema.json, which a test of the program keeps up to date,
// so that none of PlugFn is linked here.
//
// Allowed imports: the standard library and other libraries, nothing of PlugFn.
package validate
