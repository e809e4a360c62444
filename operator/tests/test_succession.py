"""A newer version takes a candidate's place by what both did on the same held-out requests."""

import math

import pytest
from aurora_core.protocol.agent import Contents
from aurora_operator.promotion.progress import Published
from aurora_operator.promotion.succession import over
from aurora_operator.reconcile.observe import published
from trial_support import TRIAL, analyse, evidence, on_trial


def version(number, holdout, parent=None, gain=None, error=0.01):
    return Published(number, holdout, parent=parent, gain=gain, gain_error=error)


def test_harder_requests_hide_no_better_version_and_easier_ones_make_none():
    harder = [version(5, 2.0), version(6, 1.8, 5, 1.36)]
    found = over(TRIAL, harder[-1], harder)
    assert found.times == pytest.approx(1.36)
    easier = [version(5, 2.0), version(6, 2.4, 5, 1.0)]
    assert over(TRIAL, easier[-1], easier).times == pytest.approx(1.0)


def test_gains_are_chained_along_the_ancestry():
    versions = [version(5, 2.0), version(6, 2.0, 5, 1.1), version(7, 2.0, 6, 1.2)]
    found = over(TRIAL, versions[-1], versions)
    assert found.times == pytest.approx(1.32)
    # Two links of 1 % each: four standard errors.
    assert (found.lower, found.upper) == pytest.approx((1.32 * math.exp(-0.04), 1.32 * math.exp(0.04)))


@pytest.mark.parametrize(
    "versions",
    [
        [version(7, 2.2, 6, 1.2)],
        [version(6, 2.0, 5, None), version(7, 2.2, 6, 1.2)],
        [version(6, 2.0, 4, 1.5), version(7, 2.2, 6, 1.2)],
        [version(7, 2.2, None, 1.2)],
        [version(7, 2.2, 7, 1.2)],
        [version(6, 2.2, 5, 1.2, None)],
        [version(6, 2.2, 5, 1e30)],
        [version(6, None)],
    ],
)
def test_where_a_link_or_its_uncertainty_is_missing_nothing_is_reported(versions):
    assert over(TRIAL, versions[-1], versions) is None


@pytest.mark.parametrize(
    ("gain", "error", "number"), [(1.36, 0.01, 6), (1.36, 0.2, 5), (1.36, None, 5), (1.02, 0.001, 5), (1.0, 0.01, 5)]
)
def test_a_trial_is_superseded_by_a_gain_that_is_large_and_real(gain, error, number):
    versions = [version(5, 2.0), version(6, 2.5, 5, gain, error)]
    at = analyse(on_trial(), found=evidence(2.0), versions=versions)
    assert at.candidate.version == number
    if number > 5:
        assert "1.36 times its holdout accept length (at least 1.33, at most 1.39)" in at.history[0].reason


def test_a_gain_is_read_of_a_manifest_that_has_both_numbers():
    manifests = [
        {"version": 1},
        {
            "version": 2,
            "parent": 1,
            "holdout_accept_length": 2.2,
            "parent_holdout_accept_length": 2.0,
            "holdout_gain_error": 0.02,
        },
        {"version": 3, "parent": 2, "holdout_accept_length": 2.2, "parent_holdout_accept_length": 0.0},
        {"version": 4, "parent": 2, "holdout_accept_length": 1e308, "parent_holdout_accept_length": 1e-300},
    ]
    found = published(Contents.read({"versions": manifests}))
    assert [(one.parent, one.gain) for one in found] == [(None, None), (1, pytest.approx(1.1)), (2, None), (2, None)]
    assert [one.gain_error for one in found] == [None, 0.02, None, None]
