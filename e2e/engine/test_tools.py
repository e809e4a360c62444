"""Requests with tools through the chat endpoint: what is captured is what the template made of them, and the answer."""

import json
import re

import httpx
import pytest
from engine_support import TOOLS
from machine import patience
from test_capture import assert_states, wait_for

pytestmark = pytest.mark.filterwarnings("ignore")
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"enum": [1, 2]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
CLOCK = {
    "name": "clock",
    "description": "The time of a zone.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"zone": {"enum": ["CET", "UTC"]}},
        "required": ["zone"],
        "additionalProperties": False,
    },
}
ASKED = [{"role": "user", "content": "How will the weather be in Rome tomorrow?"}]
ANSWERED = [
    *ASKED,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Rome", "days": 1}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 21 degrees."},
]
ARGUMENTS = {one["name"]: one["parameters"]["properties"].keys() for one in (WEATHER, CLOCK)}
NAMED = {"type": "function", "function": {"name": "clock"}}


def rendered(tokenizer, messages, functions):
    """The prompt's tokens, as the template of the engine makes them of a request."""
    turns = json.loads(json.dumps(messages))
    for message in turns:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    text = tokenizer.apply_chat_template(
        turns,
        tools=[{"type": "function", "function": one} for one in functions],
        chat_template=TOOLS.read_text().strip("\n"),
        add_generation_prompt=True,
        tokenize=False,
    )
    assert all(one["name"] in text for one in functions)
    return tokenizer(text)["input_ids"]


def streamed(url, body):
    """The text and the calls that a client puts together of an answer's pieces."""
    text, calls = "", {}
    with httpx.stream("POST", url, json={**body, "stream": True}, timeout=patience(120)) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                text += choice["delta"].get("content") or ""
                for piece in choice["delta"].get("tool_calls") or ():
                    name, arguments = calls.get(piece["index"], ("", ""))
                    generated = piece["function"]
                    calls[piece["index"]] = (
                        name + (generated.get("name") or ""),
                        arguments + (generated.get("arguments") or ""),
                    )
    return text, [(name, json.loads(arguments)) for name, arguments in calls.values()]


def complete(url, body):
    """The text, the calls, and the tokens of prompt and answer, as a client gets them."""
    answer = httpx.post(url, json={**body, "return_token_ids": True}, timeout=patience(120))
    choice = answer.raise_for_status().json()["choices"][0]
    generated = [one["function"] for one in choice["message"].get("tool_calls", ())]
    calls = [(one["name"], json.loads(one["arguments"])) for one in generated]
    return choice["message"]["content"], calls, (choice["prompt_token_ids"], choice["response_token_ids"])


@pytest.mark.parametrize(
    ("choice", "messages", "shown", "stream"),
    [
        pytest.param("required", ASKED, (WEATHER, CLOCK), False, id="required"),
        pytest.param("required", ASKED, (WEATHER, CLOCK), True, id="required-streamed"),
        pytest.param(NAMED, ASKED, (CLOCK,), False, id="named"),
        pytest.param(NAMED, ASKED, (CLOCK,), True, id="named-streamed"),
        pytest.param("auto", ASKED, (WEATHER, CLOCK), False, id="auto"),
        pytest.param("auto", ASKED, (WEATHER, CLOCK), True, id="auto-streamed"),
        pytest.param("auto", ANSWERED, (WEATHER, CLOCK), False, id="result"),
    ],
)
def test_a_request_with_tools_is_captured_token_by_token(
    engine, tokenizer, reference, request, choice, messages, shown, stream
):
    rid = request.node.callspec.id
    tools = [{"type": "function", "function": one} for one in (WEATHER, CLOCK)]
    body = {"rid": rid, "model": "m", "messages": messages, "tools": tools, "tool_choice": choice}
    body |= {"temperature": 0, "max_tokens": 48, "parallel_tool_calls": False}
    url = f"{engine.url}/v1/chat/completions"
    text, calls, *tokens = streamed(url, body) if stream else complete(url, body)
    sample = wait_for(engine, {rid})[rid]
    prompt, answer = sample.tokens[: sample.prompt_tokens].tolist(), sample.tokens[sample.prompt_tokens :].tolist()
    assert prompt == rendered(tokenizer, messages, shown)
    if tokens:
        assert [(prompt, answer)] == tokens
    generated = tokenizer.decode(answer, skip_special_tokens=True)
    called = [json.loads(one) for one in re.findall("<tool_call>(.*?)</tool_call>", generated, re.DOTALL)]
    if generated.count("<tool_call>") == len(called):
        # None is cut off, which SGLang hands on as text.
        assert calls == [(one["name"], one["arguments"]) for one in called]
        assert text.strip() == generated.partition("<tool_call>")[0].strip()
    if choice != "auto":
        # Of a named function SGLang 0.5.23 shows no other one; with this parser it forces a call, not that one.
        assert len(called) == 1
        assert calls[0][1].keys() == ARGUMENTS[calls[0][0]]
    assert_states(sample, reference)
