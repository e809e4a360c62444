"""Traefik as a process: the Gateway API's definitions, the rights that it documents, a Gateway, and its program."""

import json
import os
from pathlib import Path

from host import IP, build, wait
from neighbour_support import as_account, get, kubectl, tried
from ports import free_port
from program import Program
from routed_pods import PORT
from workshop.build import ROUTES

TRAEFIK = "v3.6.12"
BUILT = Path(os.environ.get("NEIGHBOURS", ""))
"""Where traefik.sh has its program, and the rights that its documentation gives it."""
VERSION = "gateway.networking.k8s.io/v1"
CLASS, GATEWAY, ENTRY = "traefik", "public", 8000
SPACE, ACCOUNT = "default", "traefik-controller"
"""Where its documentation has its account, and how that is called there."""
URL = f"http://{IP}:{ENTRY}"


def defined(folder):
    """Apply definitions, and wait until they are served."""
    made = kubectl("apply", "--server-side", "-f", str(folder), "-o", "name").split()
    condition = ("wait", "--for=condition=Established", *made, "--timeout=5s")
    # `kubectl wait` itself fails while one has no status at all.
    wait("definitions", lambda: tried(*condition).returncode == 0, 60)


def installed():
    """Definitions, rights and the class; nothing is changed of what Traefik's own documentation has."""
    folder = Path(build("CRDs of routes", 5, ROUTES)) / "gateway"
    defined(folder)
    kubectl("create", "serviceaccount", ACCOUNT, "-n", SPACE)
    kubectl("apply", "-f", str(BUILT / "rights.yaml"))
    body = {"apiVersion": VERSION, "kind": "GatewayClass", "metadata": {"name": CLASS}}
    kubectl("apply", "-f", "-", stdin=json.dumps(body | {"spec": {"controllerName": "traefik.io/gateway-controller"}}))


def a_gateway(name, port):
    """A Gateway with one listener, which takes routes of its own namespace."""
    spec = {"gatewayClassName": CLASS, "listeners": [{"name": "web", "port": port, "protocol": "HTTP"}]}
    metadata = {"name": name}
    return {"apiVersion": VERSION, "kind": "Gateway", "metadata": metadata, "spec": spec}


def started(folder):
    """Its process, with its defaults: whatever its documentation does not ask for is not set."""
    ping = free_port()
    access = as_account(folder, SPACE, ACCOUNT)
    running = Program.start(
        folder, "traefik", BUILT / "traefik",
        "--providers.kubernetesgateway=true", f"--entrypoints.web.address={IP}:{ENTRY}",
        f"--entrypoints.traefik.address=127.0.0.1:{ping}", "--ping=true", "--log.level=INFO",
        # It would ask outside of this network for newer versions of itself.
        "--global.checknewversion=false", env={**os.environ, "KUBECONFIG": str(access)},
    )  # fmt: skip
    running.ready(f"http://127.0.0.1:{ping}/ping", 60)
    return running


def accepted(kind, name, namespace):
    """Wait until Traefik has accepted a Gateway."""

    def conditions():
        found = get(kind, name, namespace) or {}
        return {one["type"]: one["status"] for one in found.get("status", {}).get("conditions", ())}

    wait(f"{kind} {name}", lambda: conditions().get("Accepted") == "True", 60, state=conditions)


def a_route(name, gateway, **canary):
    """Of the resource ``chat``; ``canary`` changes its second backend."""
    refs = [{"name": f"chat-{pods}", "port": PORT, "weight": weight} for pods, weight in (("stable", 1), ("canary", 0))]
    refs[1] |= canary
    spec = {"parentRefs": [{"name": gateway}], "rules": [{"backendRefs": refs}]}
    return {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}
