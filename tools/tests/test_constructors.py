"""Constructors construct: files, sockets, threads and processes are opened by a method that says so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "aurora_core").glob("**/src/**/*.py"), *(ROOT / "operator" / "src").glob("**/*.py"),
    *(ROOT / "tools" / "workshop").glob("*.py"), *(ROOT / "tools" / "monitoring").glob("*.py"),
]  # fmt: skip
CONSTRUCTORS = {"__init__", "__new__", "__post_init__", "model_post_init"}
OPENS = {
    "Popen", "check_call", "check_output", "connect", "create_connection", "create_server", "exists", "from_pretrained",
    "glob", "is_dir", "is_file", "iterdir", "listen", "makedirs", "mkdir", "open", "read_bytes", "read_text", "rglob",
    "run", "safe_open", "sleep", "start", "start_http_server", "stat", "statvfs", "submit", "touch", "unlink",
    "urlopen", "write_bytes", "write_text",
}  # fmt: skip


def named(call: ast.Call) -> str:
    """The last part of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Calls of a body, without those that are only written down for later."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from calls(child)


def opened(source: str) -> list[str]:
    """What the constructors of a module open, by themselves or by its own functions and methods."""
    module = ast.parse(source)
    functions = {one.name: one for one in module.body if isinstance(one, ast.FunctionDef)}
    found: list[str] = []
    for made in (node for node in ast.walk(module) if isinstance(node, ast.ClassDef)):
        methods = {one.name: one for one in made.body if isinstance(one, ast.FunctionDef)}
        queue = [methods[name] for name in CONSTRUCTORS & methods.keys()]
        seen = set()
        while queue:
            body = queue.pop()
            seen.add(body)
            for call in calls(body):
                if named(call) in OPENS:
                    found.append(f"{made.name}: {ast.unparse(call.func)}")
                own = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self"
                following = (methods if own else functions if isinstance(call.func, ast.Name) else {}).get(named(call))
                if following is not None and following not in seen:
                    queue.append(following)
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.thread.start()", ["One: self.thread.start"]),
        ("self._begin()", ["One: path.open"]),
        ("read_all(path)", ["One: path.read_text"]),
        ("self.later = lambda: path.open()", []),
    ],
)
def test_what_a_constructor_opens_is_seen_through_its_own_functions(body, expected):
    source = (
        f"def read_all(path): path.read_text()\nclass One:\n def _begin(self): path.open()\n def __init__(self): {body}"
    )
    assert opened(source) == expected


def test_no_constructor_opens_anything():
    assert len(SOURCES) > 200
    found = {str(path.relative_to(ROOT)): seen for path in SOURCES if (seen := opened(path.read_text()))}
    assert found == {}
