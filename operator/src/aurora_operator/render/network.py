"""Who may reach the pods of a deployment, and whom they may reach: a NetworkPolicy for each kind of pod.

Policies add up: whoever may write them in the namespace allows more by another one. Kubernetes always lets through what
comes from a pod's own node, the kubelet's probes among it.
"""

from typing import Any, Self
from urllib.parse import urlsplit

from aurora_core.config.base import Config
from pydantic import Field, model_validator

from aurora_operator.render.config import AGENT_PORT, METRICS_PORT
from aurora_operator.render.identity import Resource
from aurora_operator.render.ranks import several
from aurora_operator.render.ray import GCS, HEAD, LAST_PORT
from aurora_operator.render.serving import ENGINE

Peer = dict[str, Any]
"""A NetworkPolicyPeer."""
_ANYWHERE: tuple[Peer, ...] = (
    {"namespaceSelector": {}},
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
)
"""But not link-local addresses, under which clouds answer with credentials of the node."""
_DNS = 53


class NetworkPeers(Config):
    """Peers of a deployment's pods, as the administrator names them. An empty list is nobody, never everybody."""

    operator: tuple[Peer, ...] = Field(min_length=1)
    """The operator's pods."""
    monitoring: tuple[Peer, ...] = ()
    """Prometheus' pods."""
    clients: tuple[Peer, ...] = _ANYWHERE
    """Who may send requests to engines."""
    dns: tuple[Peer, ...] = ()
    """Who answers DNS."""
    dns_ports: tuple[int, ...] = (_DNS,)
    """Ports of those pods."""
    hub: tuple[Peer, ...] = _ANYWHERE
    """Where the init pod fetches targets and drafts."""
    hub_ports: tuple[int, ...] = (443,)
    """Ports there."""
    mooncake: tuple[Peer, ...] = ()
    """Master and metadata server of Mooncake; their ports are those that a resource names."""

    stores: tuple[Peer, ...] = ()
    """Stores of the chart's Mooncake, which choose their ports themselves."""

    @model_validator(mode="after")
    def _names_peers(self) -> Self:
        """Refuse an empty peer: to Kubernetes it is an error, found only when a policy is applied."""
        for name in ("operator", "monitoring", "clients", "dns", "hub", "mooncake", "stores"):
            if not all(getattr(self, name)):
                raise ValueError(f"{name} has a peer that names nothing")
        return self


def _rule(direction: str, peers: tuple[Peer, ...], ports: tuple[int, ...], *, udp: bool = False) -> list[Peer]:
    """Rules for these peers and ports; none without peers, as an empty list would mean everybody."""
    if not peers or not ports:
        return []
    made = [{direction: list(peers), "ports": [{"port": port, "protocol": "TCP"} for port in ports]}]
    if udp:
        made.append({direction: list(peers), "ports": [{"port": port, "protocol": "UDP"} for port in ports]})
    return made


def _store_ports(resource: Resource) -> tuple[int, ...]:
    """Ports of the Mooncake master and its metadata server; empty with another transport."""
    samples = resource.spec.samples
    if samples.transport != "Mooncake":
        return ()
    found = []
    for url in (f"//{samples.mooncake_master}", samples.mooncake_metadata or ""):
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            continue
        found += [port] if port else []
    return tuple(sorted(set(found)))


def _policy(
    resource: Resource, name: str, component: str, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": resource.metadata(name, component),
        "spec": {
            "podSelector": {"matchLabels": resource.selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _fetches(resource: Resource) -> bool:
    """Whether the init pod fetches anything from elsewhere than a mounted volume."""
    checkpoint = resource.spec.draft.checkpoint
    return resource.spec.target.volume is None or (checkpoint is not None and not checkpoint.startswith("/"))


def policies(resource: Resource, peers: NetworkPeers | None) -> list[dict[str, Any]]:
    """The policies of a deployment's pods; none where the administrator wants none.

    Engines take requests from clients, and their agents calls from the operator and scrapes from Prometheus; the
    trainer takes scrapes, the init pod nothing. None of them reaches anything but DNS, the store of samples where it is
    a Mooncake, and, for the init pod alone, the hub. Trainer pods that train together reach each other.
    """
    if peers is None:
        return []
    dns = _rule("to", peers.dns, peers.dns_ports, udp=True)
    # With Mooncake, engines and trainer exchange samples directly, at ports of its own choice.
    own: list[Peer] = [{"podSelector": {"matchLabels": resource.everything}}]
    stores = _store_ports(resource)
    inward = [{"from": own}] if stores else []
    outward = [{"to": own}] if stores else []
    samples = [*outward, *_rule("to", peers.mooncake, stores)]
    samples += [{"to": list(peers.stores)}] if stores and peers.stores else []
    # Ranks exchange gradients and samples at ports of torch's own choice.
    ranks: list[Peer] = [{"podSelector": {"matchLabels": resource.selector("trainer")}}]
    together = several(resource.spec.training)
    hub = _rule("to", peers.hub, peers.hub_ports) if _fetches(resource) else []
    if resource.online:
        # Whoever of its pods is a node of Ray reaches all others at Ray's ports.
        nodes = [{"podSelector": {"matchLabels": resource.everything}}]
        ports = [{"port": GCS, "endPort": LAST_PORT, "protocol": "TCP"}]
        inward, outward = [{"from": nodes, "ports": ports}], [{"to": nodes, "ports": ports}]
        samples = outward
    engines = [
        *_rule("from", peers.clients, (resource.spec.serving.port,)),
        *_rule("from", (*peers.operator, *peers.monitoring), (AGENT_PORT,)),
        *inward,
    ]
    return [
        *([_policy(resource, resource.ray, HEAD, inward, [*dns, *outward])] if resource.online else []),
        *([_policy(resource, resource.engine, ENGINE, engines, [*dns, *samples])] if resource.adopted is None else []),
        _policy(
            resource,
            resource.trainer,
            "trainer",
            [*_rule("from", peers.monitoring, (METRICS_PORT,)), *inward, *([{"from": ranks}] if together else [])],
            [*dns, *samples, *([{"to": ranks}] if together else [])],
        ),
        _policy(resource, resource.init, "init", [], [*dns, *hub]),
    ]
