"""Prompts of four domains: the two of ``examples/prompts``, and two that are made here in the same way."""

import itertools
import json
import random
from pathlib import Path

PROMPTS = Path(__file__).parents[2] / "examples" / "prompts"

_ASKED = """What is|How does one explain|Why does it matter to know|Name three facts about|Describe in a few sentences
What do children learn about|What is often misunderstood about|Give a short definition of|List the main parts of
What is the history of|Who works with|Which problems come with|Compare with something familiar:|When do people need
Summarise what is known about|What would an expert say about""".replace("\n", "|").split("|")

_ABOUT = """the water cycle|photosynthesis|the Roman Empire|a solar eclipse|inflation in an economy|the human heart
volcanoes|the French Revolution|black holes|the alphabet|vaccines|the Amazon river|electric cars|bees
the moon landing|democracy|glaciers|the printing press|sleep|chess""".replace("\n", "|").split("|")

_HEROES = """a shy dragon|an old sailor|two sisters|a lost robot|a baker|a young astronaut|a talking cat
a lighthouse keeper
a painter|a wandering knight|a clockmaker|a fisherman's son|an old detective|a gardener|a violinist
an honest thief""".replace("\n", "|").split("|")

_EVENTS = """who finds a map|in a town without colours|on the longest night of the year|who must cross a desert
who forgets a promise|in a city under the sea|who meets an old enemy|during a storm|who receives a strange letter
who learns to sing|at the end of the earth|in a library that never closes|who breaks a window|who wins a race
on a train to nowhere|who plants a tree|in a house with many rooms|who follows a fox|who never lies
in a village of giants""".replace("\n", "|").split("|")


def _file(name: str) -> list[str]:
    lines = (PROMPTS / name).read_text().splitlines()
    return [json.loads(line)["messages"][0]["content"] for line in lines]


def _mixed(prompts: list[str]) -> list[str]:
    random.Random(0).shuffle(prompts)
    return prompts


def domains() -> dict[str, list[str]]:
    """320 prompts of each domain, in a fixed random order."""
    return {
        "python": _file("python.jsonl"),
        "email": _file("email.jsonl"),
        "questions": _mixed([f"{a} {b}?" for a, b in itertools.product(_ASKED, _ABOUT)]),
        "tales": _mixed([f"Write a short tale about {a} {b}." for a, b in itertools.product(_HEROES, _EVENTS)]),
    }
