"""The command adopt: a patch by which engines of another owner's Deployment become those of a resource."""

import argparse

import yaml

from aurora_operator.cli.kubectl import Kubectl
from aurora_operator.cli.terminal import end, write
from aurora_operator.cli.upgrade import running_images
from aurora_operator.render.adoption import patch
from aurora_operator.render.identity import Images, Resource


def adopt(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """Print the patch; nothing is changed."""
    found = kubectl.get(options.name)
    resource = Resource(found.name, found.namespace, str(found.body["metadata"]["uid"]), found.spec)
    if resource.adopted is None:
        end(f"{found.name} makes its own engine pods: serving.adopt.selector names those that it should adopt")
    images = Images(options.engine_image, "") if options.engine_image else _running(kubectl)
    made = patch(resource, images, options.deployment, options.container)
    for line in yaml.safe_dump(made, sort_keys=False).splitlines():
        write(line)


def _running(kubectl: Kubectl) -> Images:
    label = "app.kubernetes.io/name=aurora-operator"
    found = running_images(kubectl.attempt("get", "deployments", "--all-namespaces", "-l", label, "-o", "json"))
    if found is None:
        end("no operator was found whose engine image could be used: name one with --engine-image")
    return found
