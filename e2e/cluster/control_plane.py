"""etcd and the API server."""

import json
from pathlib import Path

from host import IP, SERVICES, Host, wait


def audit_log(host: Host) -> Path:
    """Every write to the API server, a JSON line each."""
    return host.state / "log" / "audit.log"


def start(host: Host) -> None:
    """Start both, and wait until the API server is ready."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    host.spawn(
        "etcd", "etcd", "--data-dir", str(host.state / "etcd"), "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"default={peer}", "--unsafe-no-fsync",
    )  # fmt: skip
    pki = host.state / "pki"
    arguments = [
        f"--etcd-servers={client}", "--secure-port=6443", f"--advertise-address={IP}",
        f"--service-cluster-ip-range={SERVICES}", f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
        f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP", f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key", "--watch-cache=true",
    ]  # fmt: skip
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "omitStages": ["RequestReceived"]},
        {"level": "None"}]}  # fmt: skip
    (host.state / "audit.json").write_text(json.dumps(policy))
    arguments += [f"--audit-policy-file={host.state}/audit.json", f"--audit-log-path={audit_log(host)}"]
    host.spawn("apiserver", str(host.bin / "kube-apiserver"), *arguments)
    wait("the API server", lambda: host.ready("get", "--raw", "/readyz"))
