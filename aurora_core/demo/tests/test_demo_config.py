import pytest
from aurora_core.errors import ConfigError
from aurora_demo.config import load


def test_every_wrong_key_of_a_file_is_named(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text("target: {model: m, speed: 3}\ntraffic: {prompts: p.jsonl, concurrency: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "target.speed" in str(caught.value)
    assert "traffic.concurrency" in str(caught.value)


def test_paths_are_relative_to_the_file(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text("target: {model: m}\ntraffic: {prompts: sub/p.jsonl}\n")
    assert load(path).traffic.prompts == tmp_path / "sub" / "p.jsonl"
