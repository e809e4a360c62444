"""Specs that mean something plain in a spelling that an API server stores in another, or not at all."""


def containers(name, **more):
    return {"podTemplate": {"spec": {"containers": [{"name": name, **more}]}}}


SPELLINGS = {
    "plain": {"serving": {"resources": {"limits": {"memory": "8Gi", "cpu": "4"}}}},
    "milli": {"serving": {"resources": {"requests": {"cpu": "1000m"}}}},
    "half": {"serving": {"resources": {"requests": {"cpu": "0.5"}}}},
    "mebi": {"serving": {"resources": {"limits": {"memory": "1024Mi"}}}},
    "fraction": {"serving": {"resources": {"limits": {"memory": "1.5Gi"}}}},
    "trainer": {"training": {"resources": {"limits": {"memory": "65536Mi", "cpu": "0.50"}}}},
    "integer": {"serving": containers("agent", resources={"requests": {"cpu": 1, "memory": "256Mi"}})},
    "empty-env": {"serving": containers("engine", env=[{"name": "HTTP_PROXY", "value": ""}])},
    "size-limit": {"serving": {"podTemplate": {"spec": {"volumes": [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16384Mi"}}]}}}},
    "empty-key": {"serving": {"podTemplate": {"spec": {"tolerations": [{"key": "", "operator": "Exists"}]}}}},
    "empty-value": {"training": {"podTemplate": {"spec": {"tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "", "effect": "NoSchedule"}]}}}},
    "false": {"serving": {"podTemplate": {"spec": {"hostNetwork": False, "nodeSelector": {}}}}},
    "zero": {"serving": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 0}}}},
    "empty-path": {"serving": containers("engine", volumeMounts=[{"name": "shm", "mountPath": "/x", "subPath": ""}])},
    "no-delay": {"serving": containers("engine", livenessProbe={"initialDelaySeconds": 0})},
    "capability": {"serving": containers("engine", securityContext={"capabilities": {"add": []}})},
    "null": {"serving": {"podTemplate": {"spec": {"securityContext": {"runAsGroup": None, "fsGroup": None}}}}},
    "affinity": {"serving": {"podTemplate": {"spec": {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "gpu", "operator": "Exists", "values": []}]}]}}}}}}},
    "ports": {"serving": {"podTemplate": {"spec": {"containers": [{"name": "side", "image": "x", "ports": [
        {"containerPort": 53, "name": "a"}, {"containerPort": 53, "name": "b", "protocol": "UDP"}]}]}}}},
    "topology": {"serving": {"podTemplate": {"spec": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]}}}},
    "aliases": {"training": {"podTemplate": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}}}},
    "pull-secrets": {"serving": {"podTemplate": {"spec": {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}}}},
    "storage": {"weights": {"template": {"size": "20480Mi"}}},
    "mooncake": {"samples": {"transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m/x"},
                 "serving": {"replicas": 2}},
    "ranks": {"training": {"nodes": 2, "gpus": 2, "gpuResource": "amd.com/gpu", "queueName": "night"}},
    "suspended": {"suspend": True},
}  # fmt: skip
