"""A certificate authority of one start, what it signs, and kubeconfigs that use it."""

import json

from host import IP, Host, run


def make(host: Host) -> None:
    """Write all of it."""
    pki = host.state / "pki"

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
        (host.state / f"{name}.conf").write_text(json.dumps(config))
