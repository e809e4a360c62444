"""containerd, kubelet, controllers, scheduler, proxy, DNS and volumes."""

import json
import shutil
from typing import Any

import registry
from host import DNS, IP, PODS, REGISTRY, Host, wait
from workshop.cache import CACHE


def start(host: Host) -> None:
    """Start all of it, and wait until the node is ready."""
    registry.start(host)
    registry.pause_image(host)
    hosts = host.state / "hosts" / REGISTRY
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(
        f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    (host.state / "containerd.toml").write_text(f"""version = 2
root = "{CACHE}/cluster/containerd"
state = "{host.socket.parent}"
[grpc]
  address = "{host.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{REGISTRY}/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{host.state}/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{host.state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
""")
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
              "ipam": {"type": "host-local", "dataDir": str(host.state / "ipam"), "ranges": [[{"subnet": PODS}]],
                       "routes": [{"dst": "0.0.0.0/0"}]}}  # fmt: skip
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
    (host.state / "cni" / "10-bridge.conflist").write_text(json.dumps(plugins))
    host.spawn("containerd", "containerd", "-c", str(host.state / "containerd.toml"))
    wait("containerd", host.socket.exists, 30)
    pki = host.state / "pki"
    (host.state / "resolv.conf").write_text("")
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(pki / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{host.socket}",
        "resolvConf": str(host.state / "resolv.conf"),
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "200Mi"},
        "imageGCHighThresholdPercent": 100,
        # Pods of a test end and start often; a long pause would be waiting and nothing else.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "20s"},
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
    }  # fmt: skip
    (host.state / "kubelet.json").write_text(json.dumps(kubelet))
    admin = f"--kubeconfig={host.kubeconfig}"
    host.spawn(
        "controllers", str(host.bin / "kube-controller-manager"), admin,
        f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
        "--use-service-account-credentials", "--leader-elect=false", "--concurrent-gc-syncs=5",
    )  # fmt: skip
    host.spawn("scheduler", str(host.bin / "kube-scheduler"), admin, "--leader-elect=false")
    host.spawn(
        "kubelet", str(host.bin / "kubelet"), "--config", str(host.state / "kubelet.json"),
        "--kubeconfig", str(host.state / "kubelet.conf"), "--hostname-override=node0", f"--node-ip={IP}",
        f"--root-dir={host.state}/kubelet", "--runtime-cgroups=/", "--kubelet-cgroups=/",
    )  # fmt: skip
    host.spawn(
        "proxy", str(host.bin / "kube-proxy"), admin, f"--cluster-cidr={PODS}", "--hostname-override=node0",
        "--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
    )  # fmt: skip
    (host.state / "Corefile").write_text(
        f".:53 {{\n  bind {IP}\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {host.kubeconfig}\n  }}\n}}\n"
    )
    host.spawn("coredns", str(host.bin / "coredns"), "-conf", str(host.state / "Corefile"))
    host.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(host)}))
    wait("the node", lambda: '"True"' in _node_ready(host), 120)


def _node_ready(host: Host) -> str:
    path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
    return json.dumps(host.kubectl("get", "nodes", "-o", f"jsonpath={path}"))


def _objects(host: Host) -> list[dict[str, Any]]:
    """DNS service and volumes that several pods may share."""
    dns: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
         "spec": {"clusterIP": DNS, "ports": [{"name": "dns", "port": 53, "protocol": "UDP"},
                                              {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "kube-dns", "namespace": "kube-system",
                      "labels": {"kubernetes.io/service-name": "kube-dns"}},
         "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}],
         "endpoints": [{"addresses": [IP]}]},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
         "metadata": {"name": "shared", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
    ]  # fmt: skip
    shutil.rmtree(host.volumes, ignore_errors=True)
    volumes = []
    for number in range(24):
        folder = host.volumes / f"v{number:02d}"
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        volumes.append({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v{number:02d}"},
            "spec": {"capacity": {"storage": "40Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                     "storageClassName": "shared", "persistentVolumeReclaimPolicy": "Retain",
                     "hostPath": {"path": str(folder)}},
        })  # fmt: skip
    return [*dns, *volumes]
