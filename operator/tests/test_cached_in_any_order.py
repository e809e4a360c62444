"""Whatever happens to an object in whatever order, what is read of it is what is there."""

import pytest
from aurora_operator.clients.cached import CachedCluster
from aurora_operator.clients.versions import Versions
from aurora_operator.errors import ClusterError
from cached_support import MAP, key, stand_in
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule


class EventuallyCurrent(RuleBasedStateMachine):
    """Whatever happens in whatever order: once the watch caught up, what is read is what is there."""

    names = st.sampled_from(["chat-a", "chat-b"])

    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        self.server = stand_in(self.patch.setattr)
        self.versions = Versions()
        list(self.versions.listed(*MAP, "", {}))
        self.cluster = CachedCluster(None, self.versions, lambda: 0.0)
        self.events = []

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(name=names, value=st.integers(0, 3))
    def another_writes(self, name, value):
        self.server.put(key(MAP, name), data={"a": str(value)})
        self.events.append((key(MAP, name), self.server.version(key(MAP, name))))

    @rule(name=names)
    def another_deletes(self, name):
        if self.server.objects.pop(key(MAP, name), None):
            self.events.append((key(MAP, name), None))

    @rule(name=names, value=st.integers(0, 3))
    def the_operator_applies(self, name, value):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "ns"},
            "data": {"a": str(value)},
        }
        try:
            self.cluster.apply(body)
        except ClusterError:
            return
        self.events.append((key(MAP, name), self.server.version(key(MAP, name))))
        assert self.cluster.get(*key(MAP, name))["data"] == {"a": str(value)}

    @rule(name=names)
    def the_operator_reads(self, name):
        self.cluster.get(*key(MAP, name))

    @rule(count=st.integers(1, 3))
    def the_watch_moves_on(self, count):
        for at, version in self.events[:count]:
            if version is None:
                self.versions.gone(at)
            else:
                self.versions.note(at, version)
        del self.events[:count]

    @invariant()
    def what_is_read_is_what_is_there(self):
        if not getattr(self, "events", [1]):
            for name in ("chat-a", "chat-b"):
                there, read = self.server.objects.get(key(MAP, name)), self.cluster.get(*key(MAP, name))
                assert (there and there["data"]) == (read and read["data"])


EventuallyCurrent.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestEventuallyCurrent = EventuallyCurrent.TestCase
