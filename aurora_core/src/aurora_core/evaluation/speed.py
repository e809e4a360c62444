"""How fast a running engine answers, and how its draft does there."""

from collections.abc import Sequence
from dataclasses import dataclass

from aurora_core.errors import EngineError
from aurora_core.evaluation import intervals
from aurora_core.evaluation.intervals import Estimate
from aurora_core.evaluation.requests import measure


@dataclass(frozen=True)
class Speed:
    """A measurement of an engine.

    Attributes:
        tokens_per_second: of all requests together, over wall time.
        request_tokens_per_second: of a request, from its sending to its end.
        accept_length: tokens per verify cycle; 1 without speculation.
        answered, failed: requests.
    """

    tokens_per_second: float
    request_tokens_per_second: Estimate
    accept_length: Estimate
    answered: int
    failed: int


def _unanswered(url: str, failures: Sequence[str]) -> EngineError:
    return EngineError(f"{url} answered no request: {failures[0] if failures else 'none was sent'}")


def speed(url: str, prompts: Sequence[str], concurrency: int, tokens: int) -> Speed:
    """Ask every prompt once, greedily.

    Args:
        url: of SGLang.
        prompts: their texts.
        concurrency: requests at a time.
        tokens: of an answer at most.

    Raises:
        EngineError: no request was answered.
    """
    found = measure(url, prompts, concurrency, tokens)
    answers = list(found.answers.values())
    if not answers:
        raise _unanswered(url, found.failures)
    return Speed(
        found.tokens_per_second,
        intervals.ratio([float(len(one.ids)) for one in answers], [one.seconds for one in answers]),
        intervals.ratio([float(one.accepted + one.cycles) for one in answers], [float(one.cycles) for one in answers]),
        len(answers),
        len(found.failures),
    )


def cycle_milliseconds(url: str, prompts: Sequence[str], concurrency: int, tokens: int) -> float:
    """How long a verify cycle takes in a running engine; without speculation each token is one.

    Every prompt is asked for one token, twice, and then for the full answer: what the second round takes, with the
    prompts in the engine's prefix cache, is taken off the third.

    Args:
        url: of SGLang.
        prompts: their texts.
        concurrency: requests at a time.
        tokens: of an answer at most.

    Raises:
        EngineError: no request was answered in all rounds, or none has a cycle.
    """
    _, short, full = (measure(url, prompts, concurrency, most) for most in (1, 1, tokens))
    both = [(short.answers[one], answer) for one, answer in full.answers.items() if one in short.answers]
    if not both:
        raise _unanswered(url, (*full.failures, *short.failures))
    cycles = sum(answer.cycles or len(answer.ids) - 1 for _, answer in both)
    seconds = sum(answer.seconds - one.seconds for one, answer in both)
    if cycles < 1 or seconds <= 0:
        raise EngineError(f"{url} answered with one token each: ask prompts with longer answers")
    return 1000 * seconds / cycles
