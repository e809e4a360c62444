"""The operator's own settings, from its environment."""

import os
from typing import Self

from aurora_core.config.base import Config
from pydantic import Field, ValidationError

from aurora_operator.errors import OperatorError
from aurora_operator.render.identity import Images

_PREFIX = "AURORA_OPERATOR_"


class Settings(Config):
    """Each is read from AURORA_OPERATOR_ and its name in capitals."""

    engine_image: str = Field(min_length=1)
    """Engine image where a resource names none."""
    trainer_image: str = Field(min_length=1)
    """Trainer image where a resource names none."""
    image_pull_policy: str = Field("IfNotPresent", pattern=r"^(Always|IfNotPresent|Never)$")
    """Pull policy of both."""
    watch_namespace: str = ""
    """Namespace to watch; all where empty."""
    metrics_port: int = Field(9100, ge=1, le=65535)
    """Port of the operator's metrics."""

    @classmethod
    def from_environment(cls) -> Self:
        """The settings.

        Raises:
            OperatorError: one is missing or makes no sense; says which.
        """
        given = {n: os.environ[_PREFIX + n.upper()] for n in cls.model_fields if _PREFIX + n.upper() in os.environ}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = "; ".join(f"{_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise OperatorError(f"the operator's environment is not complete: {lines}") from error

    @property
    def images(self) -> Images:
        """Images for what a resource leaves open."""
        return Images(self.engine_image, self.trainer_image, self.image_pull_policy)
