"""The chart, rendered as Helm does, and read as strictly as kustomize and Flux do."""

import yaml
from apiserver_support import ROOT, helm

CHART = str(ROOT / "charts" / "aurora-operator")


def rendered(*values):
    done = helm("template", "aurora", CHART, "--namespace", "default", "--kube-version", "1.34.0", *values)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as kustomize and Flux do."""


def _once(loader, node, *, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    assert len(keys) == len(set(keys)), keys
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _once)


def of_kind(kind, *values):
    text = rendered(*(part for value in values for part in ("--set", value)))
    return next(body for body in yaml.load_all(text, Strict) if body and body["kind"] == kind)
