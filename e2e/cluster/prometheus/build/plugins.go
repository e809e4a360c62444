// Package plugins is put in the place of Prometheus' own list: service discovery of Kubernetes alone, without the
// clouds' client libraries that take longer to compile than all the rest.
package plugins

import (
	// Pods, by the API server.
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
)
