import pytest
from workshop import build
from workshop.chart import upgrade
from workshop.process import Processes
from workshop.progress import Progress


def needs(tasks, name):
    """All tasks that come before another."""
    after = {task.name: task.after for task in tasks}
    found, queue = set(), [name]
    while queue:
        for other in after[queue.pop()]:
            found.add(other)
            queue.append(other)
    return found


def made(**options):
    return build.tasks(Processes(Progress()), **options)


def test_images_and_the_environment_are_made_while_go_compiles():
    tasks = made(node=True, evidence=False)
    assert needs(tasks, "Kubernetes components") == {"system packages"}
    assert needs(tasks, "environment") == {"system packages"}
    assert needs(tasks, "images") == {"environment", "system packages"}


def test_one_go_program_is_compiled_at_a_time():
    tasks = made(node=True, evidence=True)
    order = ["Kubernetes components", "Prometheus", "VictoriaMetrics", "KubeRay", "CRDs of routes"]
    assert [task.name for task in tasks if task.name in order] == order
    assert needs(tasks, "VictoriaMetrics") == {"system packages", *order[:2]}
    assert needs(tasks, "KubeRay") == {"system packages", *order[:3]}


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ({"node": True, "evidence": False}, {"VictoriaMetrics", "KubeRay", "CRDs of routes"}),
        (
            {"node": False, "evidence": False},
            {"VictoriaMetrics", "KubeRay", "CRDs of routes", "Prometheus", "Kubernetes components", "images"},
        ),
    ],
)
def test_nothing_is_made_that_the_command_does_not_use(options, left_out):
    assert left_out == {task.name for task in made(node=True, evidence=True)} - {task.name for task in made(**options)}


def test_helm_gets_the_tag_as_text():
    command = upgrade("registry.example.com/team", "0012")
    assert command[command.index("--set-string") + 1] == "images.tag=0012"
    assert "images.registry=registry.example.com/team" in command
