"""From shapes and settings to bytes. Each formula names the code that it describes (paths below aurora_core)."""

from sizing.shape import Draft, Target

GIB = 1 << 30
QUEUE = 64
"""Samples that wait in an engine: config/parts.py, SamplesConfig.queue_size, which the resource does not set."""
IN_SENDER = 4
"""Copies of a sample while it is sent: taken from the queue, contiguous states, the checksum's view, the encoded bytes
(engine/sender.py, samples/schema.py)."""
HEADER = 1024
"""Bytes of a sample's safetensors header, at most."""
STAGED = 4
"""Passes whose states are on their way to the host: two by overlap scheduling, twice for PyTorch's pinned blocks, whose
sizes are powers of two (engine/capture.py)."""
CHUNK = 16384
"""Tokens of a prefill pass at most: SGLang 0.5.23, arg_groups/memory_hook.py, with the largest GPUs."""
RUNNING = 48
"""Requests at once with speculation, where no argument says another number: SGLang 0.5.23, speculative_hook.py."""
STATIC = 0.85
"""Share of a GPU for weights and KV cache: --mem-fraction-static of the examples."""
PROCESS = 8 * GIB
"""Allowance for a process with CUDA and SGLang or torch, of which there is one for each GPU. Not measured."""
CPU_PROCESS = 4 * GIB
"""The same without CUDA. Not measured."""
STATES_KEPT = 3
"""Training states on the volume: two are kept, and one is being written (training/state.py)."""
IN_USE = 6
"""Versions besides those kept: stable, candidate, the one before, the best, one being written, and a published draft as
it was fetched."""


def sample(target: Target, tokens: int) -> int:
    """A sample of so many tokens: a row of states for each but the last, and four bytes a token (samples/schema.py)."""
    return (tokens - 1) * target.row_bytes + 4 * tokens + HEADER


def captured_rows(target: Target, kv_tokens: int) -> int:
    """Host memory of the row pool: states and an int64 for each slot of the KV cache (engine/rows.py)."""
    return kv_tokens * (target.row_bytes + 8)


def staging(target: Target, gpus: int) -> int:
    """Pinned host memory of states that are being copied; none where they are on the host already."""
    return STAGED * CHUNK * target.row_bytes if gpus else 0


def processes(gpus: int) -> int:
    """What a pod's processes take by themselves."""
    return gpus * PROCESS or CPU_PROCESS


def queue(target: Target, max_tokens: int) -> int:
    """Host memory of the samples that wait in the engine, and of the one being sent."""
    return (QUEUE + IN_SENDER) * sample(target, max_tokens)


def engine_memory(target: Target, kv_tokens: int, max_tokens: int, gpus: int) -> int:
    """Host memory of an engine pod, once every slot was used and the volume does not keep up."""
    return captured_rows(target, kv_tokens) + staging(target, gpus) + queue(target, max_tokens) + processes(gpus)


def spool(target: Target, pool: int, holdout: int, max_tokens: int) -> int:
    """Bytes that the spool must hold so that the loop never stalls.

    A file stays until the trainer's pool lets go of it (samples/spool.py, samples/pool.py). A spool that is full before
    the pool is takes no new sample, the pool lets go of none, and training waits for good. Beyond both parts of the
    pool there is room for as many samples as an engine queues, which arrive while the trainer computes.
    """
    return (pool + holdout + QUEUE) * sample(target, max_tokens)


def trainer_memory(
    target: Target, draft_parameters: int, pool: int, holdout: int, max_tokens: int, longest: int, gpus: int
) -> int:
    """Host memory of the trainer: the pool, a sample being read, target's embedding and head, states being written.

    Samples are cut to ``longest`` rows before they enter the pool (training/run.py). Weights and both moments are
    copied to the host in fp32 to be saved (training/state.py), and a version is read in 16 bits and held in fp32 to be
    compared (training/publisher.py).
    """
    of_pool = (pool + holdout) * sample(target, min(max_tokens, longest + 1))
    tables = (1 if target.tied else 2) * target.vocabulary * target.hidden * 2
    return of_pool + 3 * sample(target, max_tokens) + tables + (12 + 6) * draft_parameters + processes(gpus)


def trainer_gpu(target: Target, draft_parameters: int, draft_vocabulary: int) -> int:
    """GPU memory of the trainer but for activations: weights, gradients and two moments in fp32, and the teacher.

    The teacher is the target's embedding and the head's rows of the draft's vocabulary, in 16 bits
    (drafts/family.py, Teacher).
    """
    return 16 * draft_parameters + 2 * target.hidden * (target.vocabulary + draft_vocabulary)


def version(draft: Draft, target: Target) -> int:
    """A published version: weights in 16 bits, ``d2t`` as int64, ``t2d`` a byte a token (weights/checkpoint.py)."""
    return 2 * draft.parameters + 8 * draft.vocabulary + target.vocabulary


def state(draft_parameters: int) -> int:
    """A saved training state: weights and both moments in fp32 (training/state.py)."""
    return 12 * draft_parameters


def volume(target: Target, draft_parameters: int, version_bytes: int, keep: int, spool_bytes: int) -> int:
    """The claim: the fetched target, versions, training states and the spool, and a tenth more."""
    versions = (keep + IN_USE) * version_bytes
    return int(1.1 * (target.weight_bytes + versions + STATES_KEPT * state(draft_parameters) + spool_bytes))


def gpu(target: Target, draft_parameters: int, draft_kv: int, kv_tokens: int, gpus: int, verified: int) -> int:
    """Memory of each of the engine's GPUs for weights, the draft and the KV cache of both.

    Each GPU has all of the draft, its keys and values. A running request's state beside the KV cache is there
    once, and once for each token of a verify cycle.
    """
    keys = kv_tokens * (target.kv_bytes // min(gpus, target.kv_parts) + draft_kv)
    states = RUNNING * (1 + verified) * target.state_bytes // gpus
    return target.weight_bytes // gpus + 2 * draft_parameters + keys + states


def in_gib(size: int, step: int = 1) -> int:
    """GiB, rounded up to a multiple of ``step``."""
    return -(-size // (step * GIB)) * step
