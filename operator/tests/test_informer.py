"""Watches: what they report, and that they come back whatever they broke with."""

import json
import threading
from contextlib import contextmanager

import pytest
from aurora_operator.clients import informer as module
from aurora_operator.clients.informer import Informer
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.errors import ClusterError


def item(name, version, owner="chat"):
    labels = {"app.kubernetes.io/instance": owner}
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": version, "labels": labels}}


def line(kind, *about):
    return json.dumps({"type": kind, "object": item(*about)}).encode() + b"\n"


class Script:
    """A cluster whose watch of Pods follows a script; the last entry of each is repeated for ever."""

    def __init__(self, pages, streams):
        self.pages, self.streams, self.done = pages, streams, threading.Event()
        self.asked = []

    def metadata_page(self, _, kind, namespace, labels, most, going):
        self.asked.append(("page", kind, namespace, dict(labels), most, going))
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if isinstance(page, Exception):
            raise page
        return page

    @contextmanager
    def metadata_watch(self, _, kind, namespace, labels, since, seconds):
        self.asked.append(("watch", kind, since))
        if not self.streams:
            self.done.set()
            threading.Event().wait(0.05)
            yield iter(())
            return
        stream = self.streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        yield iter(stream)


@pytest.fixture
def followed(monkeypatch):
    monkeypatch.setattr(module, "KINDS", (("v1", "Pod"),))
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.01, 0.02))
    running = []

    def follow(pages, streams):
        cluster, versions, woken = Script(pages, streams), Versions(), []
        watching = Informer(cluster, versions, ("ns",), lambda *at: woken.append(at))
        running.append(watching)
        watching.start()
        assert cluster.done.wait(10)
        return cluster, versions, woken

    yield follow
    for one in running:
        one.stop()


def page(*items, version="10", going=""):
    return {"metadata": {"resourceVersion": version, "continue": going}, "items": list(items)}


def known(versions):
    return dict(versions.owned("v1", "Pod", "ns", "chat"))


def test_pages_are_listed_and_changes_followed(followed):
    split = line("ADDED", "c", "13")
    cluster, versions, woken = followed(
        [page(item("a", "1"), going="next"), page(item("b", "2"), version="11")],
        [
            [
                line("MODIFIED", "a", "12") + split[:20],
                split[20:],
                line("DELETED", "b", "14"),
                line("BOOKMARK", "", "20"),
            ]
        ],
    )
    assert known(versions) == {"a": "12", "c": "13"}
    assert set(woken) == {("ns", "chat")}
    assert [one[5] for one in cluster.asked if one[0] == "page"] == ["", "next"]
    assert cluster.asked[0][3] == {"app.kubernetes.io/managed-by": "aurora-operator"}
    assert [one[2] for one in cluster.asked if one[0] == "watch"][:2] == ["11", "20"]


@pytest.mark.parametrize(
    "broken",
    [
        ClusterError("no answer"),
        ValueError("unforeseen"),
        [b'{"type": "ERROR", "object": {"code": 410}}\n'],
        [b"not json\n"],
        [b"x" * (1 << 20)] * 4,
        [b'{"type": "ADDED", "object": {}}\n'],
    ],
    ids=["refused", "unforeseen", "expired", "no json", "endless line", "no metadata"],
)
def test_a_watch_that_breaks_is_listed_again_and_what_went_meanwhile_is_noticed(followed, broken):
    _, versions, woken = followed([page(item("a", "1"), item("b", "2")), page(item("b", "3"))], [broken])
    assert known(versions) == {"b": "3"}
    assert versions.covered("v1", "Pod", "ns")
    assert woken.count(("ns", "chat")) >= 2


def test_without_the_right_to_list_nothing_is_covered(followed, monkeypatch):
    monkeypatch.setattr(module, "KINDS", (("v1", "Pod"),))
    cluster, versions = Script([ClusterError("forbidden", 403)], []), Versions()
    watching = Informer(cluster, versions, (), lambda *_: None)
    watching.start()
    until = threading.Event()
    while len(cluster.asked) < 3:
        until.wait(0.01)
    assert not versions.covered("v1", "Pod", "ns")
    watching.stop()


def test_an_object_that_changes_its_owner_leaves_the_first():
    versions, at = Versions(), ObjectKey("v1", "Pod", "ns", "a")
    versions.note(at, Version("1", "chat"))
    versions.note(at, Version("2", "code"))
    assert known(versions) == {}
    assert dict(versions.owned("v1", "Pod", "ns", "code")) == {"a": "2"}
    versions.gone(at)
    versions.gone(at)
    assert not versions._owned
