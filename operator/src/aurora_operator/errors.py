"""Everything that can go wrong here, as one tree; each message says what was wrong, where, and what to do."""


class OperatorError(Exception):
    """Base of all errors that this distribution raises on purpose."""


class SpecError(OperatorError):
    """A resource that the schema let through and that still cannot work."""


class ClusterError(OperatorError):
    """The API server refused a request or does not answer.

    Attributes:
        status: the HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class SecretValueError(OperatorError):
    """A Secret without the value that is asked of it, or with one that cannot be used."""


class PrometheusError(OperatorError):
    """Prometheus does not answer, or not with what was asked for."""


class TooManySamplesError(PrometheusError):
    """An answer with more samples than one may have."""
