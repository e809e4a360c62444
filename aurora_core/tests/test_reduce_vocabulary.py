"""A smaller draft vocabulary contains the most counted tokens, and proposes them as the larger one did."""

import json
import shutil

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts import reduce
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models import counting
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

VOCAB = 64
COUNTS = {str(token): 100 - token for token in range(0, VOCAB, 3)}


@pytest.fixture
def full(tmp_path, target):
    """Over the target's full vocabulary, without maps."""
    folder = tmp_path / "full"
    folder.mkdir()
    checkpoint.write(folder, first_draft(DraftConfig(draft_vocab_size=VOCAB), target, 0), torch.float16)
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k not in {"d2t", "t2d"}}, folder / "model.safetensors")
    return folder


@pytest.fixture
def counts(tmp_path):
    (tmp_path / "counts.json").write_text(json.dumps(COUNTS))
    return tmp_path / "counts.json"


def reduces(full, target, *arguments, size=8):
    out = full.parent / "out"
    return (
        *run("reduce-vocabulary", full, "--target", target.path, "--size", size, "--out", out, *arguments)[::2],
        out,
    )


def test_the_most_counted_tokens_are_kept_with_their_rows(full, counts, target):
    status, err, out = reduces(full, target, "--counts", counts)
    assert (status, err) == (0, "")
    before, after = (load_file(folder / "model.safetensors") for folder in (full, out))
    kept = torch.arange(0, 24, 3)
    assert torch.equal(after["d2t"] + torch.arange(8), kept)
    assert torch.equal(after["t2d"].nonzero().flatten(), kept)
    assert torch.equal(after["lm_head.weight"], before["lm_head.weight"][kept])
    assert after["fc.weight"].dtype == torch.float16
    assert all(torch.equal(after[name], before[name]) for name in before if name != "lm_head.weight")
    draft = first_draft(DraftConfig(checkpoint=str(out)), target, 0)
    assert draft.config.draft_vocab_size == 8
    assert run("inspect", out, "--target", target.path)[0] == 0


def test_coverage_is_shown_around_the_size(full, counts, target):
    out = run(
        "reduce-vocabulary",
        full,
        "--target",
        target.path,
        "--size",
        8,
        "--out",
        full.parent / "out",
        "--counts",
        counts,
    )[1]
    assert "counted 1507 tokens, 22 different ones of 64" in out
    shares = [float(line.split()[1].rstrip("%")) for line in out.splitlines()[2:-1]]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    kept = sum(COUNTS[str(token)] for token in range(0, 24, 3)) / sum(COUNTS.values())
    assert f"       8  {kept:>8.2%}  <- written" in out


def test_answers_are_counted_with_the_target_s_tokenizer(full, target, tmp_path):
    own = shutil.copytree(target.path, tmp_path / "own")
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w63"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(own / "tokenizer.json"))
    (own / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    lines = [
        {"messages": [{"role": "user", "content": "w1 w1 w1 w1"}, {"role": "assistant", "content": "w7 w7 w9"}]},
        {"messages": [{"role": "user", "content": "w1"}]},
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    status, err, out = reduces(full, Target(own), "--prompts", tmp_path / "prompts.jsonl", size=2)
    assert (status, err) == (0, "")
    assert first_draft(DraftConfig(checkpoint=str(out)), target, 0).ids.tolist() == [7, 9]
    assert counting.answers([lines[1]["messages"]]) == ["w1"]


def test_a_target_without_a_tokenizer_says_so(full, target, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}))
    status, err, out = reduces(full, target, "--prompts", tmp_path / "prompts.jsonl")
    assert status == 1
    assert "has no tokenizer that can be read" in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "it is not JSON"),
        ('{"64": 1}', "'64' is no token: they are 0 to 63"),
        ('{"-1": 1}', "is no token"),
        ('{"1": 1.5}', "the count of token 1 is 1.5"),
        ('{"1": -1}', "the count of token 1 is -1"),
        ('{"1": NaN}', "the count of token 1 is nan"),
        ("{}", "nothing that the draft can propose was counted"),
    ],
)
def test_counts_that_are_none_are_refused(full, target, tmp_path, content, message):
    (tmp_path / "counts.json").write_text(content)
    status, err, out = reduces(full, target, "--counts", tmp_path / "counts.json")
    assert status == 1
    assert message in err
    assert not out.exists()


def test_prompts_that_are_no_text_are_refused(full, target, tmp_path):
    (tmp_path / "prompts.jsonl").write_bytes(b"\xff\xfe\x00")
    assert "is not text in UTF-8" in reduces(full, target, "--prompts", tmp_path / "prompts.jsonl")[1]


@pytest.mark.parametrize("size", [0, -1, 64, 65])
def test_a_size_that_is_no_reduction_is_refused(full, counts, target, size):
    status, err, _ = reduces(full, target, "--counts", counts, size=size)
    assert status == 1
    assert f"name a size from 1 to 63, not {size}" in err


def test_nothing_is_written_over_or_left_half(full, counts, target, no_room):
    (full.parent / "out").mkdir()
    (full.parent / "out/mine").write_text("")
    assert "is not empty" in reduces(full, target, "--counts", counts)[1]
    (full.parent / "out/mine").unlink()
    draft = first_draft(DraftConfig(checkpoint=str(full)), target, 0)
    with no_room(), pytest.raises(WeightsError, match="cannot be written"):
        checkpoint.write_new(full.parent / "new", lambda part: checkpoint.write(part, draft))
    assert {entry.name for entry in full.parent.iterdir()} == {"full", "out", "counts.json"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.integers(-2, VOCAB + 1).map(str) | st.text(max_size=3), JSON | st.integers(0, 9)) | JSON)
def test_any_json_is_counts_or_an_error(body):
    try:
        counts = counting.of_json(json.dumps(body).encode(), VOCAB)
    except ConfigError:
        return
    assert int(counts.sum()) == sum(body.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 1000), min_size=VOCAB, max_size=VOCAB), st.integers(1, 39), st.integers(1, 39))
def test_a_draft_that_is_reduced_twice_is_as_one_that_is_reduced_once(target, numbers, one, other):
    counts = torch.tensor(numbers) + 1
    draft = first_draft(DraftConfig(draft_vocab_size=40), target, 0)
    small, large = sorted((one, other))
    once = reduce.reduced(draft, counts, small)
    twice = once if small == large else reduce.reduced(reduce.reduced(draft, counts, large), counts, small)
    assert torch.equal(once.ids, twice.ids)
    assert torch.equal(once.head, twice.head)
    shares = [share for _, share in reduce.coverages(draft, counts, small)]
    assert shares == sorted(shares)
