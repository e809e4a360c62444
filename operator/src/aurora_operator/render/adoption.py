"""What the workload of engines of another owner needs, as a patch of it."""

from typing import Any

from aurora_operator.render import credentials, serving
from aurora_operator.render.identity import Images, Resource

_OURS = ("args", "env", "volumeMounts", "terminationMessagePolicy")
"""What the engine's container gets; its resources, ports and probes stay its owner's."""
_OF_POD = ("securityContext", "volumes")
_COMMAND = ["aurora-core"]
"""The entry point of the engines' image, where a workload may have one of its own."""


def patch(resource: Resource, images: Images, deployment: str, container: str) -> dict[str, Any]:
    """A strategic merge patch of a Deployment: its container runs the engine with the plugin, beside an agent.

    Args:
        resource: who adopts its pods.
        images: of the engine.
        deployment: name of the Deployment.
        container: name of its container that runs SGLang.
    """
    made = serving.template(resource, images, "")
    engine, agent = made["spec"]["containers"]
    # Among them the hash of the configuration: another one is another patch, which restarts the pods.
    annotations = dict(made["metadata"]["annotations"])
    del annotations[credentials.ANNOTATION]
    ours = {name: engine[name] for name in _OURS}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": deployment, "namespace": resource.namespace},
        "spec": {
            "template": {
                "metadata": {"labels": dict(resource.adopted or {}), "annotations": annotations},
                "spec": {
                    **{name: made["spec"][name] for name in _OF_POD},
                    "terminationGracePeriodSeconds": made["spec"]["terminationGracePeriodSeconds"],
                    "containers": [
                        {"name": container, "image": engine["image"], "command": _COMMAND, **ours},
                        agent,
                    ],
                },
            }
        },
    }
