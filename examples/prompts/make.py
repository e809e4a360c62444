"""Writes the two default prompt sets: small Python functions, and business emails.

Both are combinations of the words below and nothing else, so their source is this file (Apache-2.0, as the rest).
Run it again after a change: python examples/prompts/make.py
"""

import itertools
import json
import random
from pathlib import Path

TOPICS = """a meeting that must move to Friday|the delay of an order|a sick day|the new holiday rules
a broken printer|the plan for next month|a lost invoice|an invitation to lunch|a change of address|a late payment
the results of a survey|a job interview|a new colleague|the office party|a travel request|a training course
a security update|the end of a project|a complaint about noise|a product return""".replace("\n", "|").split("|")

RECIPIENTS = """my manager|a customer|a supplier|my team|the landlord|a new client|the sales department
a former colleague
the support desk|the whole company|a business partner|the accountant|my neighbour|a job applicant
the travel agency|the head of marketing""".replace("\n", "|").split("|")

ACTIONS = """returns the sum of|finds the largest value in|counts the items in|sorts|reverses
removes duplicates from
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
    code = [f"Write a Python function that {a} {o}." for a, o in itertools.product(ACTIONS, OBJECTS)]
    mail = [f"Write a polite email to {r} about {t}." for r, t in itertools.product(RECIPIENTS, TOPICS)]
    write(folder / "python.jsonl", code)
    write(folder / "email.jsonl", mail)


if __name__ == "__main__":
    main()
