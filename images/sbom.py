"""Software bills of materials in CycloneDX 1.5, of the standard library alone: it also runs while an image is built.

Usage:
    sbom.py lock LOCK     uv's export on stdin, with the hashes of the lock file and the licences of what is installed
                          here, without what differs from run to run
    sbom.py image [LOCK]  all that is installed where it runs: Python distributions and Debian packages; hashes are
                          those of the lock file where it has the same version
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

Json = dict[str, Any]
Hashes = Mapping[tuple[str, str], list[str]]
"""sha256 of each file that may be installed, by name and version."""
_PACKAGE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<rest>(?:.*\\\n)*.*)$", re.MULTILINE)
_MOST_NAME = 200


def canonical(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hashes(lock: str) -> Hashes:
    """What a lock file of pip's form allows to be installed."""
    return {
        (canonical(found["name"]), found["version"]): re.findall(r"--hash=sha256:([0-9a-f]{64})", found["rest"])
        for found in _PACKAGE.finditer(lock)
    }


def licences(about: metadata.PackageMetadata) -> list[Json]:
    """What a distribution says of its licence: an expression, or the names of its classifiers, or a line of its own."""
    for expression in about.get_all("License-Expression") or ():
        return [{"expression": expression}]
    classifiers = about.get_all("Classifier") or ()
    names = [one.rsplit(" :: ", 1)[1] for one in classifiers if one.startswith("License ::")]
    line = next(iter("\n".join(about.get_all("License") or ()).strip().splitlines()), "")
    if not names and 0 < len(line) <= _MOST_NAME:
        names = [line]
    return [{"license": {"name": name}} for name in dict.fromkeys(names)]


def _installed(name: str, version: str) -> list[Json]:
    """The licences of a distribution, where this very version is installed here."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    return licences(found.metadata) if found.version == version else []


def _hashed(values: list[str]) -> list[Json]:
    return [{"alg": "SHA-256", "content": value} for value in values]


def enriched(bom: Json, allowed: Hashes) -> Json:
    """Uv's export with hashes and licences, and without what differs from run to run."""
    bom.pop("serialNumber", None)
    bom["metadata"].pop("timestamp", None)
    for component in bom["components"]:
        # Where it was fetched from is the builder's matter; name, version and purl say what it is.
        component.pop("externalReferences", None)
        name, version = component["name"], component["version"]
        if found := allowed.get((canonical(name), version)):
            component["hashes"] = _hashed(found)
        if known := _installed(name, version):
            component["licenses"] = known
    return bom


def _python(allowed: Hashes) -> Iterator[Json]:
    for found in metadata.distributions():
        name, version = canonical(found.metadata["Name"] or ""), found.version
        if not name or not version:
            continue
        record = found.read_text("RECORD")
        component: Json = {
            "type": "library",
            "name": name,
            "version": version,
            "bom-ref": f"pypi/{name}@{version}",
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": _hashed(allowed.get((name, version), [])),
            "licenses": licences(found.metadata),
            "properties": [
                {"name": "aurora:record-sha256", "value": hashlib.sha256(record.encode()).hexdigest()}
            ] if record else [],
        }  # fmt: skip
        yield {key: value for key, value in component.items() if value}


def _debian() -> Iterator[Json]:
    command = shutil.which("dpkg-query")
    if command is None:
        return
    form = "${Package}\t${Version}\t${Architecture}\n"
    out = subprocess.run([command, "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        name, version, machine = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{version}?arch={machine}"
        yield {"type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl}


def image(allowed: Hashes) -> Json:
    """All that is installed here."""
    found = {component["bom-ref"]: component for component in (*_python(allowed), *_debian())}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [found[name] for name in sorted(found)],
    }


def write(bom: Json, out: TextIO) -> None:
    """As files have it."""
    json.dump(bom, out, indent=1, sort_keys=True)
    out.write("\n")


def main() -> None:
    """See the module."""
    match sys.argv[1:]:
        case ["lock", lock]:
            bom = enriched(json.load(sys.stdin), hashes(Path(lock).read_text()))
        case ["image", *rest]:
            bom = image(hashes("".join(Path(path).read_text() for path in rest)))
        case _:
            sys.exit(__doc__)
    write(bom, sys.stdout)


if __name__ == "__main__":
    main()
