"""Versions that are signed: what was not signed by a key of the deployment is not used, whoever wrote it."""

import json

import pytest
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.training import state
from aurora_core.training.init import ensure_first
from aurora_core.training.start import Paths, resume
from aurora_core.weights import checkpoint
from aurora_core.weights.manifest import Manifest, parse
from aurora_core.weights.signing import KEY, PREVIOUS, REQUIRED, Signing
from aurora_core.weights.store import MANIFEST, WeightsStore
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW, OTHER = ("old" * 11, "new" * 11, "other" * 7)


def publish(store, content=b"weights"):
    return store.publish(
        lambda folder: (folder / "model").write_bytes(content) and None, target_fingerprint="t"
    ).version


def stores(folder, *signings):
    """The same volume as processes with different signing keys see it."""
    return [WeightsStore(folder, signing=signing) for signing in signings]


def test_a_signed_version_is_used_and_one_of_another_writer_is_not(tmp_path):
    own, other, nobody = stores(tmp_path, Signing((NEW,)), Signing((OTHER,)), None)
    good, forged, unsigned = publish(own), publish(other), publish(nobody)
    assert own.read(good)[1] == {"model": b"weights"}
    for version, problem in ((forged, "not signed by a key"), (unsigned, "not signed, and only")):
        for refused in (own.verify, own.read, own.manifest):
            with pytest.raises(WeightsError, match=problem):
                refused(version)
    listed, damaged = own.manifests()
    assert [one.version for one in listed] == [good]
    assert damaged.keys() == {forged, unsigned}


def test_a_training_state_is_used_only_signed_and_none_of_the_two_is_taken_for_the_other(tmp_path):
    versions, states = stores(tmp_path, Signing((NEW,)), Signing((NEW,)).of_states())
    version, training_state = publish(versions), publish(states)
    assert states.read(training_state)[1] == {"model": b"weights"}
    for store, other in ((versions, training_state), (states, version)):
        with pytest.raises(WeightsError, match="not signed by a key"):
            store.read(other)


def test_training_resumes_from_no_state_that_another_writer_left(tmp_path, target):
    signed = Paths(tmp_path / "weights", tmp_path / "state", signing=Signing((NEW,)))
    ensure_first(signed.open_weights(), DraftConfig(draft_vocab_size=48), target, 0)
    training = TrainingConfig(precision="fp32")
    trainer = resume(training, target, signed).trainer
    trainer.step = 5
    state.save(signed.open_states(), trainer, {}, published=0)
    trainer.step = 9
    state.save(Paths(signed.weights, signed.state).open_states(), trainer, {}, published=0)
    found = resume(training, target, signed)
    assert (found.trainer.step, found.damaged) == (5, 1)
    states = Paths(signed.weights, signed.state).open_states()
    state.save(states, trainer, {}, published=0)
    signed.open_weights().publish(
        lambda folder: checkpoint.write(folder, trainer.draft), target_fingerprint=target.fingerprint, step=7, tokens=3
    )
    found = resume(training, target, signed)
    assert (found.published, found.trainer.step, found.trainer.tokens, found.damaged) == (1, 7, 3, 2)


def test_an_engine_whose_version_is_forged_starts_target_only_on_one_that_is_signed(tmp_path):
    own, other = stores(tmp_path, Signing((NEW,)), Signing((OTHER,)))
    good, forged = publish(own), publish(other)
    version, steps, problem = own.to_serve(forged, 3, "")
    assert (version, steps) == (good, 0)
    assert "not signed by a key of this deployment" in problem


def test_a_signature_does_not_carry_over_to_other_contents(tmp_path):
    """Given a signed version, when another writer changes a file and seals the manifest again, then it is refused."""
    own, nobody = stores(tmp_path, Signing((NEW,)), None)
    version = publish(own)
    signed = own.manifest(version)
    (own.folder(version) / "model").write_bytes(b"poison!")
    path = own.folder(version) / MANIFEST
    resealed = signed.model_copy(update={"step": 7}).sealed()
    path.write_text(resealed.text())
    assert nobody.manifest(version).signature == signed.signature
    with pytest.raises(WeightsError, match="not signed by a key"):
        own.manifest(version)


def test_signing_keys_rotate_in_two_steps_without_a_version_that_anyone_refuses(tmp_path):
    """The new key is accepted everywhere before anything is signed with it; the old one is, until it is removed."""
    before, accepting, signing, after = stores(
        tmp_path, Signing((OLD,)), Signing((OLD, NEW)), Signing((NEW, OLD)), Signing((NEW,))
    )
    first = publish(before)
    second = publish(accepting)
    third = publish(signing)
    for version, readers in ((first, (before, accepting, signing)), (second, (before, accepting, signing)),
                             (third, (accepting, signing, after))):  # fmt: skip
        for reader in readers:
            assert reader.verify(version).version == version
    with pytest.raises(WeightsError, match="not signed by a key"):
        after.verify(first)


def test_where_signatures_are_not_required_yet_a_wrong_one_is_refused_all_the_same(tmp_path):
    easy, other, nobody = stores(tmp_path, Signing((NEW,), required=False), Signing((OTHER,)), None)
    assert easy.verify(publish(nobody)).signature == ""
    with pytest.raises(WeightsError, match="not signed by a key"):
        easy.verify(publish(other))


def test_an_unsigned_manifest_is_what_it_was_before_there_were_signatures(tmp_path):
    store = WeightsStore(tmp_path)
    written = json.loads((store.folder(publish(store)) / MANIFEST).read_text())
    assert "signature" not in written
    assert parse(json.dumps(written), "x").intact


@given(st.text(alphabet="0123456789abcdef", min_size=64, max_size=64), st.text(min_size=1, max_size=200))
def test_no_signature_is_guessed(signature, checksum):
    with pytest.raises(WeightsError):
        Signing((NEW, OLD)).check(checksum, signature, "version 1")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({KEY: NEW}, Signing((NEW,))),
        ({KEY: f"{NEW}\n", PREVIOUS: OLD, REQUIRED: "false"}, Signing((NEW, OLD), required=False)),
    ],
)
def test_signing_keys_come_from_the_environment(environment, found):
    assert Signing.from_environment(environment) == found


@pytest.mark.parametrize(
    "environment",
    [{KEY: "short"}, {KEY: ""}, {PREVIOUS: OLD}, {KEY: NEW, PREVIOUS: "x"}, {KEY: NEW, REQUIRED: "maybe"}],
)
def test_a_key_that_makes_no_sense_ends_the_process_and_is_not_shown(environment):
    with pytest.raises(ConfigError) as error:
        Signing.from_environment(environment)
    assert not any(value in str(error.value).split() for value in (NEW, OLD, "short"))


def test_signing_keys_show_nowhere():
    assert NEW not in repr(Signing((NEW,)))
    assert Manifest.model_fields["signature"].default == ""
