//go:build tools

// Package tools names the command of KubeRay that is built, so that go.mod and go.sum pin it.
package tools

import _ "github.com/ray-project/kuberay/ray-operator"
