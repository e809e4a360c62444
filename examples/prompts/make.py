"""Writes the two default prompt sets: everyday things explained, and small Python functions.

Both are combinations of the words below and nothing else, so their source is this file (Apache-2.0, as the rest).
Run it again after a change: python examples/prompts/make.py
"""

import itertools
import json
import random
from pathlib import Path

THINGS = """the sea|a bicycle|the moon|bread|a library|rain|a guitar|the heart|a volcano|cheese|a bridge|the internet
a cat|gold|a clock|tea|a forest|the brain|paper|a star|a river|salt|the sun|a train|glass|honey|a castle|the wind
a robot|chess|a school|milk|a mountain|the eye|a candle|snow|a garden|coffee|a boat|the desert|a dog|iron|a mirror
sugar|a lighthouse|the ear|a telescope|wool|an island|thunder|a violin|rice|a tunnel|a horse|silver|a map|butter
a waterfall|the skin|a kite""".replace("\n", "|").split("|")

QUESTIONS = (
    "Tell me about {}.",
    "Explain {} to a child.",
    "Write three facts about {}.",
    "Why is {} important?",
    "Describe {} in one paragraph.",
    "What would the world be like without {}?",
)

ACTIONS = """returns the sum of|finds the largest value in|counts the items in|sorts|reverses|removes duplicates from
prints every element of|computes the average of|checks for an empty|finds the shortest item in|copies
filters the even numbers from|joins the items of|finds the index of a value in|multiplies all numbers in
returns the first item of|returns the last three items of|splits into two halves|counts the vowels in
converts to upper case""".replace("\n", "|").split("|")

OBJECTS = """a list of numbers|a list of strings|a tuple|a dictionary's values|a set of integers|the lines of a file
a nested list|a queue|a list of names|a list of prices|a stack|an array of floats|a list of words
a list of temperatures|a row of a table|a list of scores""".replace("\n", "|").split("|")


def write(path: Path, prompts: list[str]) -> None:
    """One JSON line a prompt, in a fixed random order."""
    random.Random(0).shuffle(prompts)  # noqa: S311 (an order, not a secret)
    lines = (json.dumps({"messages": [{"role": "user", "content": prompt}]}) for prompt in prompts)
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write both files beside this one."""
    folder = Path(__file__).parent
    write(folder / "everyday.jsonl", [q.format(t) for q, t in itertools.product(QUESTIONS, THINGS)])
    code = [f"Write a Python function that {a} {o}." for a, o in itertools.product(ACTIONS, OBJECTS)]
    write(folder / "python.jsonl", code)


if __name__ == "__main__":
    main()
