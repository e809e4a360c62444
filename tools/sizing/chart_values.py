"""Values of the operator's chart that go with a row's SpeculatorDeployment."""

from typing import Any
from urllib.parse import urlsplit

import yaml

from sizing import manifest
from sizing.row import Row

_HEAD = """# {title}. Generated from tools/sizing/table.py by tools/generate.py; do not edit.
# Values of the operator's chart: where Prometheus is, as promotion.prometheus.url says it, and nothing else is allowed.
"""


def body(row: Row) -> dict[str, Any]:
    """The values, as plain data."""
    prometheus = urlsplit(manifest.body(row)["spec"]["promotion"]["prometheus"]["url"])
    # A Service's name is NAME.NAMESPACE.svc, with the cluster's domain or without.
    namespace = str(prometheus.hostname).split(".")[1]
    there = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]
    return {"networkPolicy": {"monitoring": there, "prometheus": {"ports": [prometheus.port or 80], "to": there}}}


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


def text(row: Row) -> str:
    """The values, as the file says them."""
    return _HEAD.format(title=row.title) + yaml.dump(body(row), Dumper=_Plain, sort_keys=False, width=120)
