// What Argo CD does of an Application in each cycle, with its own tracking of resources, its own Lua and its own engine:
// no git, no API server and no queue around it. A line at standard input is a cycle; its answer is a line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/gitops-engine/pkg/cache"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/engine"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/argoproj/gitops-engine/pkg/sync"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/argoproj/argo-cd/v3/util/lua"
)

const label = "app.kubernetes.io/instance"

type request struct {
	App, Method, Namespace, Folder string
	Prune, ServerSideApply         bool
	Health                         map[string]string
}

type answer struct {
	Modified, Extraneous []string
	Results, Health      map[string]string
	Error                string
}

type info struct{ app string }

func named(one *unstructured.Unstructured) string {
	key := kube.GetResourceKey(one)
	return key.String()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func targets(asked request) []*unstructured.Unstructured {
	files, err := filepath.Glob(filepath.Join(asked.Folder, "*.yaml"))
	check(err)
	var found []*unstructured.Unstructured
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(err)
		items, err := kube.SplitYAML(data)
		check(err)
		found = append(found, items...)
	}
	tracking := argo.NewResourceTracking()
	for _, one := range found {
		if !kube.IsCRD(one) {
			check(tracking.SetAppInstance(one, label, asked.App, asked.Namespace, v1alpha1.TrackingMethod(asked.Method), ""))
		}
	}
	return found
}

func main() {
	var asked request
	check(json.Unmarshal([]byte(os.Args[1]), &asked))
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	check(err)
	config.QPS, config.Burst = 50, 100
	tracking := argo.NewResourceTracking()
	overrides := lua.ResourceHealthOverrides{}
	for kind, script := range asked.Health {
		overrides[kind] = v1alpha1.ResourceOverride{HealthLua: script}
	}
	live := cache.NewClusterCache(config, cache.SetPopulateResourceInfoHandler(
		func(one *unstructured.Unstructured, root bool) (any, bool) {
			found := &info{}
			if root {
				found.app = tracking.GetAppName(one, label, v1alpha1.TrackingMethod(asked.Method), "")
			}
			return found, found.app != "" || kube.IsCRD(one)
		}))
	gitops := engine.NewEngine(config, live)
	_, err = gitops.Run()
	check(err)
	ours := func(one *cache.Resource) bool { return one.Info.(*info).app == asked.App }
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		out := answer{Results: map[string]string{}, Health: map[string]string{}}
		desired := targets(asked)
		managed, err := live.GetManagedLiveObjs(desired, ours)
		check(err)
		pairs := sync.Reconcile(desired, managed, asked.Namespace, live)
		compared, err := diff.DiffArray(pairs.Target, pairs.Live)
		check(err)
		for i, target := range pairs.Target {
			switch {
			case target == nil:
				out.Extraneous = append(out.Extraneous, named(pairs.Live[i]))
			case pairs.Live[i] == nil || compared.Diffs[i].Modified:
				out.Modified = append(out.Modified, named(target))
			}
			if pairs.Live[i] != nil {
				found, err := health.GetResourceHealth(pairs.Live[i], overrides)
				if err != nil {
					out.Error = err.Error()
				} else if found != nil {
					out.Health[named(pairs.Live[i])] = string(found.Status) + ": " + found.Message
				}
			}
		}
		if len(out.Modified)+len(out.Extraneous) > 0 {
			results, err := gitops.Sync(context.Background(), desired, ours, "1", asked.Namespace, sync.WithPrune(asked.Prune),
				sync.WithServerSideApply(asked.ServerSideApply), sync.WithServerSideApplyManager("argocd-controller"),
				sync.WithHealthOverride(overrides))
			if err != nil {
				out.Error = err.Error()
			}
			for _, one := range results {
				out.Results[one.ResourceKey.String()] = string(one.Status) + ": " + one.Message
			}
		}
		text, err := json.Marshal(out)
		check(err)
		fmt.Println(string(text))
	}
}
