"""What a client can say of one request.

In the field ``custom_params`` of its body, on ``/generate`` of its ``sampling_params``; SGLang passes it on as it is.
"""

from collections.abc import Mapping
from typing import Any

CAPTURE = "aurora_capture"
"""Whether the request may become a sample; anything but true keeps it from that, and so does anything unclear."""
NOT_CAPTURED: Mapping[str, bool] = {CAPTURE: False}
"""The parameters of a request that is never captured."""


def may_be_captured(custom_params: Any) -> bool:  # noqa: ANN401 (whatever a client sent)
    """Whether a request's parameters allow that it becomes a sample."""
    return not isinstance(custom_params, Mapping) or custom_params.get(CAPTURE, True) is True
