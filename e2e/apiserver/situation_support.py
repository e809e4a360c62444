"""A namespace with an operator and one resource, to which others do what they do."""

import json
import secrets

import apiserver_support
from apiserver_support import GOOD, kubectl
from host import wait
from operated import Operator, prepare

STABLE = {"version": 4, "steps": 3, "since": "2026-01-01T12:00:00Z", "previous": 2, "previousSteps": 3, "digest": ""}


class Situation:
    """An operator in a namespace of its own, with a resource ``chat`` of which all is made."""

    def __init__(self, space, folder):
        # Where no controller ends namespaces, one of an earlier run is still about to go.
        self.space = f"{space}-{secrets.token_hex(3)}"
        self._folder, self._starts, self._begun = folder, 0, 0

    def __enter__(self):
        kubectl("create", "namespace", self.space)
        self.start()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        self.create("chat")
        wait("the init job", lambda: self.read("job", "chat-init"), 30)
        prepare(self.space, "job/chat-init")
        wait("the trainer", lambda: self.read("job", "chat-trainer"), 30)
        self.status("chat", {"stable": STABLE, "decided": 4})
        wait("it is taken up", lambda: self.condition("Speculating").get("reason") == "Drafting", 30)

    def start(self):
        self._starts += 1
        self.operator = Operator.start(self.space, self._folder / f"log{self._starts}")

    def __exit__(self, *_):
        self.operator.stop()
        for number in range(self._starts):
            print((self._folder / f"log{number + 1}").read_text())
        kubectl("delete", "namespace", self.space, "--wait=false")

    def kubectl(self, *words, stdin=None):
        """To success."""
        done = kubectl(*words, "-n", self.space, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, name, **metadata):
        body = GOOD | {"metadata": {"name": name} | metadata}
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def read(self, kind, name):
        return apiserver_support.read(self.space, kind, name)

    def patch(self, kind, name, change, *more):
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change), *more)

    def status(self, name, change):
        self.patch("specdep", name, {"status": change}, "--subresource=status")

    def annotate(self, **words):
        values = {f"aurora-operator.io/{word}": value for word, value in words.items()}
        self.patch("specdep", "chat", {"metadata": {"annotations": values}})

    def condition(self, kind, name="chat"):
        found = self.read("specdep", name) or {}
        return next((one for one in found.get("status", {}).get("conditions", []) if one["type"] == kind), {})

    def is_another(self, kind, name, uid):
        """Waits until an object is another one than that."""

        def found():
            body = self.read(kind, name)
            return body is not None and body["metadata"]["uid"] != uid

        wait(f"another {kind}", found, 30)

    def degraded(self, reason, name="chat"):
        """Waits until the resource is degraded for this reason, or not at all; returns the message."""
        wait(reason, lambda: self.condition("Degraded", name).get("reason") == reason, 30)
        return self.condition("Degraded", name)["message"]

    def writes_of(self, reconciles=3):
        """How many writes come of so many reconciles, each of which an annotation of another client begins."""
        count, writes = "aurora_operator_reconcile_seconds_count", "aurora_operator_writes_total"
        before = self.operator.metric(writes)
        for _ in range(reconciles):
            begun, self._begun = self.operator.metric(count), self._begun + 1
            self.patch("specdep", "chat", {"metadata": {"annotations": {"example.org/seen": str(self._begun)}}})
            wait("a reconcile", lambda begun=begun: self.operator.metric(count) > begun, 30)
        return self.operator.metric(writes) - before

    def settles(self):
        """Waits until a few reconciles in a row wrote nothing."""
        wait("rest", lambda: self.writes_of(2) == 0, 40)
