"""Completion of the command line in bash, zsh and fish, and of ``kubectl aurora``."""

import argparse
import sys

from aurora_operator.cli.kubectl import RESOURCE, Kubectl

BASH = """# source <(aurora completion bash)
_aurora_complete() {
  local IFS=$'\\n'
  local found=$(aurora __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _aurora_complete aurora
"""
ZSH = """#compdef aurora
# source <(aurora completion zsh)
_aurora() {
  local -a found
  found=("${(@f)$(aurora __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found
}
compdef _aurora aurora
"""
FISH = """# aurora completion fish | source
complete -c aurora -f -a '(aurora __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way to list them)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 (the same)
            return dict(action.choices)
    return {}


def _listed(kubectl: Kubectl, kind: str) -> list[str]:
    answer = kubectl.attempt("get", kind, "-o", "jsonpath={.items[*].metadata.name}", "--request-timeout=3s")
    return [] if answer.failure is not None else answer.out.split()


def candidates(parser: argparse.ArgumentParser, words: list[str], kubectl: Kubectl) -> list[str]:
    """What may stand in the place of the last of these words; names are asked of the cluster."""
    *before, current = words or [""]
    commands = _subparsers(parser)
    command = next((word for word in before if word in commands), None)
    if command is None:
        found = [name for name in commands if not name.startswith("_")]
    else:
        actions = commands[command]._actions  # noqa: SLF001 (the same)
        option = next((one for one in actions if before[-1] in one.option_strings and one.nargs != 0), None)
        if option is not None:
            found = _values(option, kubectl)
        elif current.startswith("-"):
            found = [one for action in actions for one in action.option_strings]
        else:
            positional = [action for action in actions if not action.option_strings]
            given = _given(before[before.index(command) + 1 :], actions)
            found = _values(positional[given], kubectl) if given < len(positional) else []
    return [one for one in found if one.startswith(current)]


def _values(action: argparse.Action, kubectl: Kubectl) -> list[str]:
    if action.choices:
        return [str(one) for one in action.choices]
    kind = {"namespace": "namespaces", "name": RESOURCE}.get(action.dest)
    return [] if kind is None else _listed(kubectl, kind)


def _given(words: list[str], actions: list[argparse.Action]) -> int:
    """How many positional arguments are given already."""
    taking = {name for action in actions if action.nargs != 0 for name in action.option_strings}
    count, skip = 0, False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in taking
        else:
            count += 1
    return count


def for_kubectl() -> None:
    """``kubectl_complete-aurora``, which kubectl calls for ``kubectl aurora``."""
    from aurora_operator.cli.parser import parser  # noqa: PLC0415 (it imports what this module is part of)

    found = candidates(parser(), sys.argv[1:], Kubectl())
    # kubectl reads cobra's directive in the last line; 4: no file names.
    sys.stdout.write("".join(f"{one}\n" for one in [*found, ":4"]))
