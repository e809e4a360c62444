//go:build tools

// Package tools names the command of VictoriaMetrics that is built, so that go.mod and go.sum pin it.
package tools

import _ "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"
