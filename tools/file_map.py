"""The map of files: every module with what it says of itself, by folder. ``make map`` prints it."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_PARTS = (
    ("The operator", "operator/src/aurora_operator"),
    ("The core: what runs in engines, agents and trainers", "aurora_core/src/aurora_core"),
    ("Kernels that SGLang lacks on CPUs", "aurora_core/sgl_kernel_cpu/src/aurora_sgl_kernel_cpu"),
    ("The demonstration", "aurora_core/demo/src/aurora_demo"),
    ("Tools", "tools"),
    ("Support of the tests on real parts", "e2e"),
    ("Benchmarks", "benchmarks"),
)


def _says(module: Path) -> str:
    """The first paragraph of a module's docstring, as one line."""
    text = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n\n")[0]
    return " ".join(re.sub(r":\w+:`~?([^`]*)`", r"\1", text.replace("``", "")).split())


def _modules(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py"), key=lambda one: (one.parent.parts, one.name != "__init__.py", one.name)):
        below = path.relative_to(root).parts
        if not (path.name.startswith("test_") or path.name == "conftest.py" or {"tests", "__pycache__"} & {*below}):
            yield path


def lines(root: Path) -> Iterator[str]:
    """A line for each module of the repository below a folder, and one for each folder."""
    for title, part in _PARTS:
        yield f"\n{title}"
        folder = None
        for module in _modules(root / part):
            if module.parent != folder:
                folder = module.parent
                yield f"\n{folder.relative_to(root)}/"
            yield f"  {module.name:<24} {_says(module)}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines(Path(__file__).parents[1]))
