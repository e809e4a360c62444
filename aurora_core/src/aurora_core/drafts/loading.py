"""What the loading of weights into a running draft has in common, whatever its family."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def load_parameters(draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load weights through the draft model's own loader, in place, as SGLang's update from a tensor does.

    Args:
        draft_worker: SGLang's, of any algorithm with a draft model.
        tensors: by the checkpoint's names.

    Raises:
        RuntimeError, ValueError, AttributeError: the model refuses them.
    """
    for _, runner in draft_worker.weight_update_runners():
        runner.weight_updater.begin_weight_update()
        runner.model.load_weights(iter(tensors.items()))
        runner.weight_updater.end_weight_update(run_post_load=False)
