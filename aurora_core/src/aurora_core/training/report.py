"""The trainer's status file: replaced atomically, so that a reader never sees half of one."""

import logging
from pathlib import Path

from aurora_core.protocol.trainer import TrainerStatus

log = logging.getLogger(__name__)


class StatusFile:
    """Where a trainer reports.

    Args:
        path: of the JSON file; None where nobody reads it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = True

    def write(self, status: TrainerStatus) -> bool:
        """Replace the file; returns False where that failed, which is logged once until it succeeds again."""
        if self._path is None:
            return True
        part = self._path.with_suffix(".part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(status.model_dump_json())
            part.rename(self._path)
        except OSError as error:
            if self._written:
                log.error("status not reported: %s", error)  # noqa: TRY400 (says all there is)
            self._written = False
        else:
            self._written = True
        return self._written
