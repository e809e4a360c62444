"""Commands, options and names are completed, by a script for each shell."""

import pytest
from aurora_operator.cli import completion
from aurora_operator.cli.kubectl import Kubectl
from aurora_operator.cli.parser import parser


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pro"], ["promote"]),
        (["speculation", ""], ["off", "on"]),
        (["status", "-o", "j"], ["json"]),
        (["status", "--cont"], ["--context"]),
        (["explain", "c"], ["chat"]),
        (["explain", "-n", "ns", "c"], ["chat"]),
        (["explain", "chat", ""], []),
        (["speculation", "off", ""], ["chat", "other"]),
    ],
)
def test_commands_options_choices_and_names_are_completed(kubectl, words, found):
    kubectl.answer({"get speculatordeployments.aurora-operator.io": (0, "chat other", "")})
    assert completion.candidates(parser(), words, Kubectl()) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(run, shell):
    assert "aurora __complete" in run("completion", shell)[1]
