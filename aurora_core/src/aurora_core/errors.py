"""Everything that can go wrong here, as one tree: each message says what was wrong, where, and what to do."""


class AuroraError(Exception):
    """Base of all errors that this distribution raises on purpose."""


class ConfigError(AuroraError):
    """A configuration that cannot work: unreadable, inconsistent, or at odds with the model it names."""


class SampleError(AuroraError):
    """A captured sample that must not be used.

    Attributes:
        reason: one of the fixed values that the metrics use as a label.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransportError(AuroraError):
    """A sample store that could not take or give a sample.

    Attributes:
        reason: one of the fixed values that the metrics use as a label.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WeightsError(AuroraError):
    """A version that is missing, incomplete, corrupt, or made for another engine."""


class LeaseLostError(WeightsError):
    """This process may not write on the volume any more: another one does."""


class TrainingError(AuroraError):
    """Training that cannot continue by itself."""


class EngineError(AuroraError):
    """The serving engine refused a command, or does not run."""
