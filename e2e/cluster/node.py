#!/usr/bin/env python3
"""A real single-node Kubernetes on this machine, in a network namespace of its own.

    node.py start [--api-only]   etcd and API server, and (without --api-only) all that makes a node
    node.py stop                 ends every process by its id, and removes namespace, mounts and state
    node.py status               what runs
    node.py enter COMMAND...     run a command inside the node's network

Images and volumes stay in the cache, so that the next start is quick. Needs root; standard library only.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))
IP, SERVICES, PODS, DNS = "10.88.0.1", "10.96.0.0/16", "10.244.0.0/24", "10.96.0.10"
REGISTRY = f"{IP}:5000"
PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "etcd-server", "iptables", "iproute2", "buildah",
    "debootstrap", "openssl", "conntrack", "gcc", "libc6-dev",
)  # fmt: skip


def run(*command: str, **kwargs: object) -> str:
    """Run to success and return what was printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def wait(what: str, ready: Callable[[], bool], seconds: float = 90) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


class Node:
    """The node's processes and files."""

    def __init__(self, name: str = "aurora") -> None:
        self.name = name
        self.state = CACHE / "cluster" / f"run-{name}"
        self.socket = Path(f"/run/{name}-containerd/containerd.sock")
        self.volumes = CACHE / "cluster" / f"volumes-{name}"
        self.kubeconfig = self.state / "admin.conf"
        self.bin = Path(CACHE)

    # --- processes -------------------------------------------------------------------------------------------

    def inside(self, *command: str) -> tuple[str, ...]:
        """A command that runs in the node's network."""
        return ("nsenter", f"--net=/run/netns/{self.name}", *command)

    def spawn(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        """Start a process of the node, and remember its id."""
        log = (self.state / "log" / f"{name}.log").open("ab")
        child = subprocess.Popen(
            self.inside(*command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            cwd=self.state, env={**os.environ, **(env or {})},
        )  # fmt: skip
        (self.state / f"{name}.pid").write_text(str(child.pid))

    def pids(self) -> dict[str, int]:
        """Processes that were started and still run."""
        found = {path.stem: int(path.read_text()) for path in self.state.glob("*.pid")}
        return {name: pid for name, pid in found.items() if Path(f"/proc/{pid}").exists()}

    def end(self, *names: str) -> None:
        """End processes by id, and wait for them to be gone."""
        pids = [pid for name, pid in self.pids().items() if name in names]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

        def gone() -> bool:
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            return not any(Path(f"/proc/{pid}").exists() for pid in pids)

        deadline = time.monotonic() + 15
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait(f"the end of {', '.join(names)}", gone, 10)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as administrator."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return run(*command, input=stdin)

    def ready(self, *arguments: str) -> bool:
        """Whether a kubectl call succeeds."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    # --- start -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Packages, components, folders, network."""
        missing = [
            p for p in PACKAGES
            if "ok installed" not in subprocess.run(
                ["dpkg-query", "-W", "-f=${Status}", p], check=False, capture_output=True, text=True
            ).stdout
        ]  # fmt: skip
        if missing:
            run("apt-get", "update", "-q")
            # A package must not start a service of its own here.
            policy = Path("/usr/sbin/policy-rc.d")
            ours = not policy.exists()
            if ours:
                policy.write_text("#!/bin/sh\nexit 101\n")
                policy.chmod(0o755)
            run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
            if ours:
                policy.unlink()
        built = subprocess.run([HERE / "components" / "build.sh"], check=True, stdout=subprocess.PIPE, text=True)
        self.bin = Path(built.stdout.strip().splitlines()[-1])
        for folder in ("pki", "log", "cni", "etcd", "kubelet"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        # Networks of pods that are not ours; at the end all others go.
        (self.state / "foreign-netns").write_text("\n".join(self._netns()))
        run("ip", "netns", "add", self.name)
        for command in (
            ("link", "set", "lo", "up"),
            ("link", "add", "node0", "type", "bridge"),
            ("addr", "add", f"{IP}/24", "dev", "node0"),
            ("link", "set", "node0", "up"),
            ("route", "add", "default", "dev", "node0"),
        ):
            run("ip", "-n", self.name, *command)
        run(*self.inside("sysctl", "-qw", "net.ipv4.ip_forward=1"))

    @staticmethod
    def _netns() -> set[str]:
        folder = Path("/run/netns")
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def certificates(self) -> None:
        """A certificate authority of this start, and what it signs."""
        pki = self.state / "pki"

        def openssl(*arguments: str) -> None:
            run("openssl", *arguments, cwd=pki)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
                "-subj", "/CN=aurora-e2e", "-days", "7")  # fmt: skip
        openssl("genrsa", "-out", "sa.key", "2048")
        names = f"IP:127.0.0.1,IP:{IP},IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default.svc"
        for name, subject, alternative in (
            ("apiserver", "/CN=apiserver", names),
            ("admin", "/O=system:masters/CN=admin", "DNS:admin"),
            ("kubelet", "/O=system:nodes/CN=system:node:node0", f"DNS:node0,IP:{IP}"),
        ):
            (pki / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                    "-subj", subject)  # fmt: skip
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", "7", "-out", f"{name}.crt", "-extfile", f"{name}.ext")  # fmt: skip
        for name in ("admin", "kubelet"):
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "node", "cluster": {
                    "server": f"https://{IP}:6443", "certificate-authority": str(pki / "ca.crt")}}],
                "users": [{"name": name, "user": {
                    "client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")}}],
                "contexts": [{"name": "node", "context": {"cluster": "node", "user": name}}],
                "current-context": "node",
            }  # fmt: skip
            (self.state / f"{name}.conf").write_text(json.dumps(config))

    def control_plane(self, *, audit: bool) -> None:
        """etcd and the API server."""
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        self.spawn(
            "etcd", "etcd", "--data-dir", str(self.state / "etcd"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--unsafe-no-fsync",
        )  # fmt: skip
        pki = self.state / "pki"
        arguments = [
            f"--etcd-servers={client}", "--secure-port=6443", f"--advertise-address={IP}",
            f"--service-cluster-ip-range={SERVICES}", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP", f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key", "--watch-cache=true",
        ]  # fmt: skip
        if audit:
            policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [
                {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "omitStages": ["RequestReceived"]},
                {"level": "None"}]}  # fmt: skip
            (self.state / "audit.json").write_text(json.dumps(policy))
            arguments += [f"--audit-policy-file={self.state}/audit.json", f"--audit-log-path={self.audit_log}"]
        self.spawn("apiserver", str(self.bin / "kube-apiserver"), *arguments)
        wait("the API server", lambda: self.ready("get", "--raw", "/readyz"))

    @property
    def audit_log(self) -> Path:
        """Every write to the API server, a JSON line each."""
        return self.state / "log" / "audit.log"

    def registry(self) -> None:
        """A plain registry inside the node's network; what was pushed once stays."""
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(CACHE / "cluster" / "registry")}},
            "http": {"addr": REGISTRY, "secret": "local"},
            "log": {"level": "warn"},
        }
        path = self.state / "registry.json"
        path.write_text(json.dumps(config))
        self.spawn("registry", str(self.bin / "registry"), "serve", str(path),
                   env={"OTEL_TRACES_EXPORTER": "none"})  # fmt: skip
        wait("the registry", lambda: self.answers(f"http://{REGISTRY}/v2/"), 30)

    def answers(self, url: str) -> bool:
        """Whether a URL answers with success, asked from inside."""
        accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        code = f"import urllib.request as u; u.urlopen(u.Request({url!r}, headers={{'Accept': {accept!r}}}), timeout=5)"
        return subprocess.run(self.inside(sys.executable, "-c", code), check=False, capture_output=True).returncode == 0

    def push(self, local: str, name: str) -> str:
        """Push an image of the build store into the registry, and return its name there."""
        remote = f"{REGISTRY}/{name}"
        store = (
            "--root",
            str(CACHE / "buildah"),
            "--runroot",
            str(CACHE / "buildah-run"),
            "--storage-driver",
            "overlay",
        )
        run(*self.inside("buildah", *store, "push", "-q", "-D", "--tls-verify=false", local, f"docker://{remote}"))
        return remote

    def _pause_image(self) -> None:
        store = ("buildah", "--root", str(CACHE / "buildah"), "--runroot", str(CACHE / "buildah-run"),
                 "--storage-driver", "overlay")  # fmt: skip
        container = run(*store, "from", "scratch").strip()
        run(*store, "add", "-q", container, str(self.bin / "pause"), "/pause")
        run(*store, "config", "--entrypoint", '["/pause"]', "--user", "65532:65532", container)
        run(*store, "commit", "-q", "--rm", container, "localhost/pause:1")
        self.push("localhost/pause:1", "pause:1")

    def worker(self) -> None:
        """containerd, kubelet, controllers, scheduler, proxy, DNS and volumes."""
        self.registry()
        self._pause_image()
        hosts = self.state / "hosts" / REGISTRY
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(
            f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        (self.state / "containerd.toml").write_text(f"""version = 2
root = "{CACHE}/cluster/containerd"
state = "{self.socket.parent}"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{REGISTRY}/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{self.state}/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{self.state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
""")
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
                  "ipam": {"type": "host-local", "dataDir": str(self.state / "ipam"), "ranges": [[{"subnet": PODS}]],
                           "routes": [{"dst": "0.0.0.0/0"}]}}  # fmt: skip
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        plugins = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
        (self.state / "cni" / "10-bridge.conflist").write_text(json.dumps(plugins))
        self.spawn("containerd", "containerd", "-c", str(self.state / "containerd.toml"))
        wait("containerd", self.socket.exists, 30)
        pki = self.state / "pki"
        (self.state / "resolv.conf").write_text("")
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
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "resolvConf": str(self.state / "resolv.conf"),
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "200Mi"},
            "imageGCHighThresholdPercent": 100,
            # Pods of a test end and start often; a long pause would be waiting and nothing else.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "20s"},
            "featureGates": {"KubeletCrashLoopBackOffMax": True},
        }  # fmt: skip
        (self.state / "kubelet.json").write_text(json.dumps(kubelet))
        admin = f"--kubeconfig={self.kubeconfig}"
        self.spawn(
            "controllers", str(self.bin / "kube-controller-manager"), admin,
            f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
            "--use-service-account-credentials", "--leader-elect=false", "--concurrent-gc-syncs=5",
        )  # fmt: skip
        self.spawn("scheduler", str(self.bin / "kube-scheduler"), admin, "--leader-elect=false")
        self.spawn(
            "kubelet", str(self.bin / "kubelet"), "--config", str(self.state / "kubelet.json"),
            "--kubeconfig", str(self.state / "kubelet.conf"), "--hostname-override=node0", f"--node-ip={IP}",
            f"--root-dir={self.state}/kubelet", "--runtime-cgroups=/", "--kubelet-cgroups=/",
        )  # fmt: skip
        self.spawn(
            "proxy", str(self.bin / "kube-proxy"), admin, f"--cluster-cidr={PODS}", "--hostname-override=node0",
            "--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
        )  # fmt: skip
        (self.state / "Corefile").write_text(
            f".:53 {{\n  bind {IP}\n  errors\n  kubernetes cluster.local {{\n"
            f"    kubeconfig {self.kubeconfig}\n  }}\n}}\n"
        )
        self.spawn("coredns", str(self.bin / "coredns"), "-conf", str(self.state / "Corefile"))
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": self._objects()})
        )
        wait("the node", lambda: '"True"' in self._node_ready(), 120)

    def _node_ready(self) -> str:
        path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        return json.dumps(self.kubectl("get", "nodes", "-o", f"jsonpath={path}"))

    def _objects(self) -> list[dict[str, object]]:
        """DNS service and volumes that several pods may share."""
        dns = [
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
        shutil.rmtree(self.volumes, ignore_errors=True)
        volumes = []
        for number in range(24):
            folder = self.volumes / f"v{number:02d}"
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            volumes.append({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v{number:02d}"},
                "spec": {"capacity": {"storage": "40Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                         "storageClassName": "shared", "persistentVolumeReclaimPolicy": "Retain",
                         "hostPath": {"path": str(folder)}},
            })  # fmt: skip
        return [*dns, *volumes]

    def start(self, *, api_only: bool = False) -> None:
        """Start everything."""
        if self.pids():
            raise SystemExit(f"already running: {', '.join(self.pids())}; stop it first")
        self.stop()
        self.prepare()
        self.certificates()
        self.control_plane(audit=True)
        if not api_only:
            self.worker()
        (self.state / "bin").write_text(str(self.bin))

    # --- stop ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End what was started, by id, and remove what it left; images and built components stay."""
        self.end("coredns", "proxy", "kubelet", "scheduler", "controllers")
        if "containerd" in self.pids():
            ctr = self.inside("ctr", "-a", str(self.socket), "-n", "k8s.io")
            for task in run(*ctr, "tasks", "ls", "-q").split():
                subprocess.run([*ctr, "tasks", "kill", "-s", "SIGKILL", task], check=False, capture_output=True)
                subprocess.run([*ctr, "tasks", "delete", "-f", task], check=False, capture_output=True)
            for container in run(*ctr, "containers", "ls", "-q").split():
                subprocess.run([*ctr, "containers", "rm", container], check=False, capture_output=True)
        self.end("containerd", "registry", "apiserver", "etcd")
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted(mounts, reverse=True):
            if mount.startswith((f"{self.state}/", f"{self.socket.parent}/")):
                subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        foreign = self.state / "foreign-netns"
        known = set(foreign.read_text().split()) if foreign.exists() else self._netns()
        for name in self._netns():
            if name == self.name or (name.startswith("cni-") and name not in known):
                run("ip", "netns", "del", name)
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.volumes, ignore_errors=True)
        shutil.rmtree(self.socket.parent, ignore_errors=True)


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("--api-only", action="store_true")
    commands.add_parser("stop")
    commands.add_parser("status")
    commands.add_parser("enter").add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    node = Node()
    started = time.monotonic()
    if options.command == "start":
        node.start(api_only=options.api_only)
        print(f"up in {time.monotonic() - started:.0f} s; KUBECONFIG={node.kubeconfig}")
    elif options.command == "stop":
        node.stop()
    elif options.command == "status":
        for name, pid in sorted(node.pids().items()):
            print(f"{name:12} {pid}")
    else:
        binaries = (node.state / "bin").read_text()
        path = f"{binaries}:{os.environ['PATH']}"
        environment = {**os.environ, "KUBECONFIG": str(node.kubeconfig), "PATH": path}
        os.execvpe("nsenter", node.inside(*options.rest), environment)  # noqa: S606 (that is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
