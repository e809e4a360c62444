"""What a status shows of a trial's evidence."""

from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Candidate, StratumEstimate
from aurora_operator.promotion.eprocess import interval
from aurora_operator.promotion.gate import HARM, Decision, Evidence
from aurora_operator.promotion.progress import rounded
from aurora_operator.promotion.strata import share_of


def _over(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top and bottom else None


def _strata(evidence: Evidence, gate: Gate, alpha: float | None) -> list[StratumEstimate]:
    if not evidence.strata:
        return []
    promotion, rejection = alpha or 1 - gate.confidence, share_of(HARM, evidence.strata)
    out = []
    for one in evidence.strata:
        found = interval(one.trial.blocks, promotion, rejection)
        out.append(
            StratumEstimate(
                name=one.name,
                blocks=len(one.trial.counted),
                estimate=rounded(found.estimate if found else None),
                lower=rounded(found.lower if found else None),
                upper=rounded(found.upper if found else None),
                speed_ratio=rounded(_over(one.speed.candidate.ratio, one.speed.stable.ratio)),
            )
        )
    return out


def of(candidate: Candidate, evidence: Evidence, decision: Decision, gate: Gate) -> Candidate:
    """A candidate with what an analysis found."""
    interval = decision.interval
    top, bottom = evidence.trial.candidate.ratio, evidence.trial.stable.ratio
    return candidate.model_copy(
        update={
            "analyses": candidate.analyses + 1,
            "blocks": len(evidence.trial.counted),
            "void_blocks": evidence.trial.void,
            "progress": rounded(decision.progress),
            "requests": evidence.candidate_requests,
            "value": rounded(top),
            "variance": evidence.trial.candidate.log_variance(),
            "stable_value": rounded(bottom),
            "ratio_of_sums": rounded(_over(top, bottom)),
            "speed_ratio": rounded(_over(evidence.speed.candidate.ratio, evidence.speed.stable.ratio)),
            "first_token_ratio": rounded(
                _over(evidence.first_token.candidate.ratio, evidence.first_token.stable.ratio)
            ),
            "estimate": rounded(interval.estimate if interval else None),
            "lower": rounded(interval.lower if interval else None),
            "upper": rounded(interval.upper if interval else None),
            "strata": _strata(evidence, gate, candidate.alpha),
            "verdict": decision.reason,
        }
    )
