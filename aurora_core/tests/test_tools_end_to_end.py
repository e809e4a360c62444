"""A draft from prompts alone, by the real commands: generate, train-offline, convert, reduce, evaluate, compare."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from aurora_core.datasets import answers, conversations
from aurora_core.datasets.states import HiddenStates
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target
from aurora_core.samples.schema import encode
from aurora_core.samples.spool import SpoolSink
from aurora_core.training import holdout
from aurora_core.weights.store import WeightsStore
from command_line import run
from families import VOCAB, make
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

pytestmark = pytest.mark.filterwarnings("ignore")
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% if m['role'] == 'assistant' %}</s> {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random Llama that can chat: its folder and its model."""
    folder, model = tmp_path_factory.mktemp("tiny"), make("llama")
    model.save_pretrained(folder)
    words = {"pad": 0, "user": 1, "</s>": 2, "assistant": 3} | {f"w{i}": i for i in range(4, VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="pad"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder, model


@pytest.fixture
def url(tiny):
    """The target behind OpenAI's API."""
    folder, model = tiny
    tokenizer = AutoTokenizer.from_pretrained(folder)

    class Handler(BaseHTTPRequestHandler):
        def _reply(self, body):
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self._reply({"data": [{"id": "tiny"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
            given = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            made = model.generate(given, max_new_tokens=body["max_tokens"], do_sample=False, pad_token_id=0)
            words = tokenizer.convert_ids_to_tokens(made[0, given.shape[1] :].tolist())
            content = " ".join(word for word in words if word != "</s>")
            self._reply({"choices": [{"message": {"content": content}}]})

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def work(tmp_path, tiny):
    """A work folder whose samples are held out alike in every run, and its configuration."""
    (tmp_path / "work" / "training").mkdir(parents=True)
    (tmp_path / "work" / "training" / holdout.FILE).write_bytes(bytes(32))
    settings = {
        "target": {"model": str(tiny[0])},
        "draft": {"draft_vocab_size": 96},
        "training": {"lr": 3e-3, "precision": "fp32", "ttt_length": 3, "holdout_fraction": 0.3, "start_samples": 8},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    return tmp_path / "work", tmp_path / "config.yaml"


def prompts(path, count):
    lines = [
        {"messages": [{"role": "user", "content": f"w{4 + 7 * i % 150} w{4 + i}"}], "kind": "even" if i % 2 else "odd"}
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_from_prompts_to_a_reduced_draft(tmp_path, tiny, url, work):
    folder, config = work
    out = tmp_path / "answers.jsonl"
    asked = prompts(tmp_path / "p.jsonl", 24)
    status, _, err = run("generate", asked, "--url", url, "--out", out, "--max-tokens", 24, "--concurrency", 1,
                         "--domain-field", "kind")  # fmt: skip
    assert (status, len(out.read_text().splitlines())) == (0, 24), err

    train = ("train-offline", "--work", folder, "--config", config, "--prompts", out, "--log-level", "warning")
    status, printed, err = run(*train, "--steps", 30, "--set", "training.learning_rate=0.01")
    assert status == 0, err
    assert "trained 30 optimizer steps" in printed
    store = WeightsStore(folder / "weights")
    newest = store.versions()[-1]
    assert newest > 0
    assert store.verify(newest).holdout_accept_length > 1.1

    measuring = ("--target", tiny[0], "--prompts", out, "--domain-field", "domain")
    first, trained, full, small = store.folder(0), store.folder(newest), tmp_path / "full", tmp_path / "small"
    assert run("convert", trained, "--to", "huggingface", "--out", full)[0] == 0
    assert run("reduce-vocabulary", full, "--target", tiny[0], "--size", 40, "--out", small, "--prompts", out)[0] == 0
    status, printed, err = run("evaluate", small, *measuring, "-o", "json")
    assert status == 0, err
    parts = {part["domain"]: part for part in json.loads(printed)["simulated"]}
    assert set(parts) == {"all", "even", "odd"}
    assert parts["all"]["tokens"] == parts["even"]["tokens"] + parts["odd"]["tokens"]
    length = parts["all"]["accept_length"]
    assert length["low"] < length["value"] < length["high"]
    assert len(parts["all"]["positions"]) == 3

    status, printed, err = run("compare", first, trained, *measuring, "-o", "json")
    assert status == 0, err
    assert json.loads(printed)["compared"][0]["difference"]["low"] > 0
    status, printed, _ = run("compare", trained, trained, *measuring)
    assert status == 0
    assert "+0.000 [+0.000, +0.000]" in printed.splitlines()[1]

    costs = ("--target-ms", 10, "--draft-ms", 0.5)
    status, printed, err = run("recommend", trained, *measuring, "--steps", 4, *costs, "-o", "json")
    assert status == 0, err
    best = json.loads(printed)["choices"][0]
    assert best["num_steps"] > 0
    assert best["tokens_per_second"] > 120
    assert "x off" in run("recommend", trained, *measuring, "--steps", 2, *costs)[1]
    assert "--measure STEPS:TOKENS:URL" in run("recommend", trained, *measuring)[2]


def test_states_are_those_of_the_target(tiny, tmp_path):
    folder, model = tiny
    lines = [{"messages": [{"role": "user", "content": "w9 w8"}, {"role": "assistant", "content": "w5 w6 w7"}]}]
    (tmp_path / "a.jsonl").write_text(json.dumps(lines[0]))
    target = Target(folder)
    (answer,) = answers.of(conversations.read([tmp_path / "a.jsonl"]), target)
    assert answer.tokens.tolist() == [1, 9, 8, 3, 5, 6, 7, 2]
    assert answer.prompt_tokens == 4
    states = HiddenStates.load(target, (1, 2, 3), torch.device("cpu"), "float32")
    sample = states.sample(answer)
    longer = replace(answer, id="longer", tokens=torch.cat([answer.tokens, answer.tokens]))
    padded, _ = states.samples([answer, longer])
    assert padded.request == answer.id
    torch.testing.assert_close(padded.aux, sample.aux)
    torch.testing.assert_close(padded.last, sample.last)
    with torch.no_grad():
        hidden = model(input_ids=answer.tokens[None, :-1], output_hidden_states=True)
    expected = torch.cat([hidden.hidden_states[layer + 1][0] for layer in (1, 2, 3)], -1)
    torch.testing.assert_close(sample.aux, expected)
    torch.testing.assert_close(target.logits(sample.last), hidden.logits[0])


def test_a_recorded_spool_trains_and_stays(tmp_path, tiny, work):
    folder, config = work
    target = Target(tiny[0])
    sink = SpoolSink(tmp_path / "spool", 1 << 30)
    states = HiddenStates.load(target, (1, 2, 3), torch.device("cpu"))
    with torch.no_grad():
        for i in range(16):
            given = torch.tensor([[1, 4 + i, 3]])
            tokens = tiny[1].generate(given, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]
            if tokens.shape[0] > 5:
                sink.put(f"r{i}", encode(states.sample(answers.Answer(f"r{i}", "d", tokens, 3, ""))))
    before = sorted(path.name for path in (tmp_path / "spool").iterdir())
    train = ("train-offline", "--work", folder, "--config", config, "--spool", tmp_path / "spool")
    status, printed, err = run(*train, "--epochs", 2, "--log-level", "warning")
    assert status == 0, err
    assert "newest version" in printed
    assert "nothing is left to do" in run(*train, "--epochs", 2)[1]
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == before
    status, _, err = run(*train[:-1], tmp_path / "nothing")
    assert status == 1
    assert "has no sample" in err


def test_what_has_no_answer_or_no_template_says_so(tiny, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"messages": [{"role": "user", "content": "w9"}]}')
    with pytest.raises(ConfigError, match="aurora-core generate"):
        answers.of(conversations.read([tmp_path / "p.jsonl"]), Target(tiny[0]))


def test_an_answer_ends_with_its_ending_token():
    assert answers.generated_text("P answer</s>\n", "P ", "answer", "</s>") == "answer</s>"
    assert answers.generated_text("P answer", "P ", "answer", None) == "answer"
    assert answers.generated_text("rendered in another way", "P ", "answer", "</s>") == "answer</s>"
