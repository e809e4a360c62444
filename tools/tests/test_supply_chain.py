"""Base images by digest, and bills of materials that say what lock files and environments have."""

import importlib.util
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
SCHEMA = json.loads(Path(__file__).with_name("cyclonedx-1.5.json").read_text())
DIGEST = "sha256:" + "ab" * 32
UNSTATED = {"cuda-toolkit", "kernels-data", "openai-harmony", "sentencepiece", "torch-memory-saver"}
"""Distributions that state no licence in their metadata."""


def module(name):
    spec = importlib.util.spec_from_file_location(f"images_{name}", IMAGES / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


pin, sbom = module("pin"), module("sbom")


@pytest.fixture
def registry():
    """One that wants a token, which it gives anyone, and has one image."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            if self.headers.get("Authorization") != "Bearer t":
                self.send_response(401)
                realm = f"http://127.0.0.1:{self.server.server_port}/token"
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="r",scope="pull"')
            elif self.path in {"/v2/team/base/manifests/1", f"/v2/team/base/manifests/{DIGEST}"}:
                self.send_response(200)
                self.send_header("Docker-Content-Digest", DIGEST)
            else:
                self.send_response(404)
            self.end_headers()

        def do_GET(self):
            assert self.path == "/token?service=r&scope=pull"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"token": "t"}')

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def lock(tmp_path, monkeypatch, registry):
    base = f"{registry[0]}/team/base:1"
    monkeypatch.setattr(pin, "LOCK", tmp_path / "base.lock")
    monkeypatch.setattr(pin, "DOCKERFILE", tmp_path / "Dockerfile")
    pin.LOCK.write_text(pin.written({base: ""}))
    pin.DOCKERFILE.write_text(
        f"ARG BASE={base}\nARG UV_IMAGE=localhost/uv:1\nARG ENGINE_BASE=runtime\nFROM ${{BASE}}\n"
    )
    return base


def test_the_lock_names_all_bases_of_the_dockerfile_and_of_releases():
    named = pin.read((IMAGES / "base.lock").read_text())
    used = set(pin.bases((IMAGES / "Dockerfile").read_text()).values())
    used |= set(re.findall(r"base: \"(\S+)\"", (ROOT / ".github" / "workflows" / "release.yaml").read_text()))
    assert used == set(named)
    assert not [
        line for line in re.findall(r"^FROM (\S+)", (IMAGES / "Dockerfile").read_text(), re.MULTILINE) if ":" in line
    ]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("debian:bookworm", "https://registry-1.docker.io/v2/library/debian/manifests/bookworm"),
        ("docker.io/library/debian:1", "https://registry-1.docker.io/v2/library/debian/manifests/1"),
        ("org/image", "https://registry-1.docker.io/v2/org/image/manifests/latest"),
        ("ghcr.io/a/b/c:2", "https://ghcr.io/v2/a/b/c/manifests/2"),
        ("host:5000/x@sha256:ab", "https://host:5000/v2/x/manifests/sha256:ab"),
        ("localhost:5000/x:1", "http://localhost:5000/v2/x/manifests/1"),
    ],
)
def test_a_name_leads_to_its_manifest(name, url):
    assert pin.place(name).url == url


def test_a_base_is_asked_for_once_and_then_taken_by_its_digest(lock, registry):
    expected = [f"BASE={lock}@{DIGEST}"]
    assert pin.pin([]) == expected
    assert pin.read(pin.LOCK.read_text()) == {lock: DIGEST}
    asked = len(registry[1])
    assert pin.pin(["--label", "x"]) == expected
    assert len(registry[1]) == asked
    assert pin.check() == []


def test_what_is_not_pinned_or_gone_is_reported(lock, registry):
    assert pin.check() == [f"{lock} has no digest in base.lock: run images/pin.py update, and commit"]
    pin.LOCK.write_text(pin.written({lock: "sha256:" + "cd" * 32}))
    assert "no answer of its registry" in pin.check()[0]
    with pytest.raises(pin.PinError, match="no answer of its registry"):
        pin.pin(["--build-arg", f"BASE={registry[0]}/team/other:1"])
    with pytest.raises(pin.PinError, match="is no digest"):
        pin.read("name sha256:short")


def test_what_is_named_by_digest_or_built_here_needs_no_pin(lock, registry):
    assert pin.pin(["--build-arg", f"BASE={registry[0]}/team/other@{DIGEST}"]) == []
    assert registry[1] == []


@pytest.mark.parametrize("image", ["operator", "runtime"])
def test_the_bill_of_a_lock_file_has_its_hashes_and_licences(image):
    bom = json.loads((IMAGES / f"{image}.cdx.json").read_text())
    jsonschema.validate(bom, SCHEMA)
    locked = sbom.hashes((IMAGES / f"{image}.lock").read_text())
    assert all(locked.values())
    found = {
        (sbom.canonical(one["name"]), one["version"]): [value["content"] for value in one["hashes"]]
        for one in bom["components"]
        if not one["name"].startswith("aurora-")
    }
    assert found == locked
    assert {one["name"] for one in bom["components"] if "licenses" not in one} <= UNSTATED


def test_the_bill_of_an_image_is_what_is_installed(tmp_path):
    """As it is written while an image is built: by a Python without this project's packages on its path."""
    (tmp_path / "lock").write_text(f"pytest=={metadata.version('pytest')} \\\n    --hash=sha256:{'ab' * 32}\n")
    out = subprocess.run(
        [sys.executable, IMAGES / "sbom.py", "image", tmp_path / "lock"], capture_output=True, text=True, check=True
    ).stdout
    bom = json.loads(out)
    jsonschema.validate(bom, SCHEMA)
    by_purl = {one["purl"]: one for one in bom["components"]}
    tool = by_purl[f"pkg:pypi/pytest@{metadata.version('pytest')}"]
    assert tool["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert tool["licenses"]
    assert {"aurora:record-sha256"} == {one["name"] for one in tool["properties"]}
    there = {f"pkg:pypi/{sbom.canonical(one.metadata['Name'])}@{one.version}" for one in metadata.distributions()}
    assert there <= by_purl.keys()


def test_the_dockerfile_writes_it_into_each_image():
    text = (IMAGES / "Dockerfile").read_text()
    assert text.count("sbom.py image") == 2
    assert ".cdx.json /opt" not in text
