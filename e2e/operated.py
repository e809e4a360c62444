"""The operator as a process of its own, for whatever cluster KUBECONFIG names, and its metrics."""

import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Self

from deployed import kubectl
from ports import free_port


def total(text: str, name: str) -> float:
    """The sum of a metric's series."""
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))
    )


def prepare(namespace: str, job: str) -> None:
    """What the Job controller would say of a Job that fetched the target, where there is none."""
    kubectl("patch", job, "-n", namespace, "--subresource=status", "-p", json.dumps({"status": {"succeeded": 1}}))


class Operator:
    """Reconciles the resources of one namespace."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process, self._port = process, port

    @classmethod
    def start(cls, namespace: str, log: Path, environment: dict[str, str] | None = None, **settings: str) -> Self:
        """Start its process.

        Args:
            namespace: what it watches; empty for all.
            log: file for what it prints.
            environment: variables of the process.
            settings: of the operator, by name.
        """
        port = free_port()
        given = {"ENGINE_IMAGE": "none/engine", "TRAINER_IMAGE": "none/trainer", "WATCH_NAMESPACES": namespace}
        given |= {"METRICS_PORT": str(port), "HEALTH_PORT": str(free_port())} | settings
        named = {f"AURORA_OPERATOR_{name}": value for name, value in given.items()}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [Path(sys.executable).parent / "aurora-operator"],
                env={**os.environ, **named, **(environment or {})},
                stdout=file,
                stderr=file,
            )
        return cls(process, port)

    @property
    def pid(self) -> int:
        """Id of its process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU seconds since it started."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Resident memory, MiB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / (1 << 20)

    def peak_mib(self) -> float:
        """The most resident memory since it started, MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def metrics(self) -> str:
        """All that it exports."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The sum of a metric's series."""
        return total(self.metrics(), name)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait(60)

    def stop(self) -> None:
        """End it with SIGTERM, and wait until it has."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
