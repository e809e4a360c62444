"""``python3 -m workshop COMMAND [ARGUMENTS...]``, from tools/workshop.sh."""

import sys

from workshop import commands
from workshop.session import Session

COMMANDS = {
    "test": (commands.test, "make test"),
    "quickstart": (commands.quickstart, "make quickstart"),
    "loop": (commands.loop, "make loop"),
    "online": (commands.online, "make online"),
    "benchmark": (commands.benchmark, "tools/workshop.sh benchmark"),
    "soak": (commands.soak, "tools/workshop.sh soak"),
    "chart": (commands.chart, "tools/workshop.sh chart"),
    "unit": (commands.unit, "make unit"),
    "dev": (commands.dev, "make dev"),
    "environment": (commands.environment, "tools/workshop.sh environment"),
}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if not arguments or arguments[0] not in COMMANDS:
        sys.stderr.write(f"usage: tools/workshop.sh {' | '.join(COMMANDS)} [ARGUMENTS...]\n")
        return 2
    body, name = COMMANDS[arguments[0]]
    return Session(name).run(lambda session: body(session, arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
