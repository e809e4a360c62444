"""Base images by digest: images/base.lock says which content of a tag images are built from. Standard library alone.

Usage:
    pin.py pin [BUILD OPTIONS...]   asks registries for what base.lock does not have yet, and writes it there; prints
                                    the build arguments that name each base by digest, one a line
    pin.py update                   asks again for all that base.lock has: tags move, as security updates come
    pin.py check                    every base of the Dockerfile and of base.lock is pinned, and still there
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LOCK, DOCKERFILE = HERE / "base.lock", HERE / "Dockerfile"
_ARGUMENT = re.compile(r"^ARG (BASE|UV_IMAGE|ENGINE_BASE)=(\S+)$", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_ACCEPTED = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_SECONDS, _TOKEN_BYTES = 30, 1 << 20
_HEAD = """\
# The base images of images/Dockerfile, and of ENGINE_BASE, by digest: NAME DIGEST. Written by images/pin.py, which
# images/docker.sh calls; a name without a digest was not asked for yet. Commit what it writes.
"""


class PinError(Exception):
    """A digest cannot be learned, or is not what it should be."""


class Place(NamedTuple):
    """Where an image's manifest is."""

    registry: str
    path: str
    tag: str

    @property
    def url(self) -> str:
        """Of the manifest."""
        scheme = "http" if self.registry.split(":")[0] in {"localhost", "127.0.0.1"} else "https"
        return f"{scheme}://{self.registry}/v2/{self.path}/manifests/{self.tag}"


def place(name: str) -> Place:
    """Of an image as builders name it: docker.io where no registry is named, and library/ for its own images."""
    first, slash, rest = name.partition("/")
    registry, path = (first, rest) if slash and re.search(r"[.:]|^localhost$", first) else ("docker.io", name)
    path, _, digest = path.partition("@")
    path, _, tag = path.partition(":")
    if registry == "docker.io":
        registry, path = "registry-1.docker.io", path if "/" in path else f"library/{path}"
    return Place(registry, path, digest or tag or "latest")


def _token(challenge: str) -> str:
    """What a registry's token server gives anyone."""
    query = dict(_CHALLENGE.findall(challenge))
    realm = query.pop("realm", "")
    if not realm.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise PinError("it asks for a login")
    with urllib.request.urlopen(f"{realm}?{urllib.parse.urlencode(query)}", timeout=_SECONDS) as answer:  # noqa: S310
        found = json.loads(answer.read(_TOKEN_BYTES))
    return str(found.get("token") or found.get("access_token") or "")


def digest(name: str) -> str:
    """The digest that a registry has for a name.

    Raises:
        PinError: there is none, or no answer.
    """
    request = urllib.request.Request(place(name).url, method="HEAD", headers={"Accept": _ACCEPTED})  # noqa: S310
    try:
        try:
            answer = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not challenge.startswith("Bearer "):  # noqa: PLR2004 (HTTP)
                raise
            request.add_header("Authorization", f"Bearer {_token(challenge)}")
            answer = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310
        with answer:
            found = str(answer.headers.get("Docker-Content-Digest", ""))
    except (OSError, ValueError) as error:
        raise PinError(f"{name}: no answer of its registry ({error})") from error
    if not _DIGEST.fullmatch(found):
        raise PinError(f"{name}: its registry names no sha256 digest")
    return found


def read(text: str) -> dict[str, str]:
    """Digest by name; empty where it is not known.

    Raises:
        PinError: a line is neither.
    """
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, digest = line.strip().partition(" ")
            if digest and not _DIGEST.fullmatch(digest):
                raise PinError(f"{name}: {digest!r} is no digest")
            found[name] = digest
    return found


def written(lock: Mapping[str, str]) -> str:
    """The file of :func:`read`."""
    return _HEAD + "".join(f"{name} {lock[name]}".rstrip() + "\n" for name in sorted(lock))


def bases(dockerfile: str, options: Iterable[str] = ()) -> dict[str, str]:
    """What is built upon, by build argument: of the Dockerfile, or as options of `docker build` say."""
    given = dict(_ARGUMENT.findall(dockerfile))
    for option in options:
        name, equals, value = option.removeprefix("--build-arg=").partition("=")
        if equals and name in given:
            given[name] = value
    # Stages of the Dockerfile, and what was built on this machine.
    return {name: image for name, image in given.items() if image != "runtime" and not image.startswith("localhost/")}


def pin(options: Iterable[str]) -> list[str]:
    """See the module."""
    lock = read(LOCK.read_text())
    before, out = dict(lock), []
    for name, image in bases(DOCKERFILE.read_text(), options).items():
        if "@" in image:
            continue
        if not lock.get(image):
            lock[image] = digest(image)
        out.append(f"{name}={image}@{lock[image]}")
    if lock != before:
        LOCK.write_text(written(lock))
        print(f"pinned in {LOCK}: commit it", file=sys.stderr)
    return out


def check() -> list[str]:
    """What is not as it should be."""
    lock, found = read(LOCK.read_text()), []
    for image in sorted({*lock, *(one for one in bases(DOCKERFILE.read_text()).values() if "@" not in one)}):
        if not lock.get(image):
            found.append(f"{image} has no digest in {LOCK.name}: run images/pin.py update, and commit")
            continue
        try:
            digest(f"{re.sub(r':[^:/]+$', '', image)}@{lock[image]}")
        except PinError as error:
            found.append(str(error))
    return found


def main() -> None:
    """See the module."""
    try:
        match sys.argv[1:]:
            case ["pin", *options]:
                print("\n".join(pin(options)))
            case ["update"]:
                LOCK.write_text(written({image: digest(image) for image in read(LOCK.read_text())}))
            case ["check"]:
                if found := check():
                    sys.exit("\n".join(found))
            case _:
                sys.exit(__doc__)
    except PinError as error:
        sys.exit(f"{error}; name it by digest (NAME@sha256:...) or set UNPINNED=1 to build from what the tag has now")


if __name__ == "__main__":
    main()
