"""Arguments of SGLang 0.5.23 that are refused: under them the loop would break without a word, or a key would show."""

import re
from collections.abc import Sequence

_SWITCH = "SGLang cannot change draft steps with it while it runs, so that a day-0 draft would serve untried"
_REPLICAS = "one engine is one scheduler here; use more replicas"
_NODES = "an engine is one pod here; each of several would start with a version and draft steps of its own"
_REFUSED = {
    "--enable-dp-attention": _SWITCH,
    "--enable-multi-layer-eagle": _SWITCH,
    "--enable-two-batch-overlap": _SWITCH,
    "--enable-pdmux": _SWITCH,
    "--dp-size": _REPLICAS,
    "--data-parallel-size": _REPLICAS,
    "--pp-size": "SGLang does not speculate with pipeline parallelism",
    "--pipeline-parallel-size": "SGLang does not speculate with pipeline parallelism",
    "--nnodes": _NODES,
    "--node-rank": _NODES,
    "--enable-unified-memory": "its KV slots have other numbers than those by which states are captured",
}

ADAPTERS = "^--(enable-lora|lora-p[aths]{0,4})(=|$)"
"""Arguments with which SGLang serves LoRA adapters, and its abbreviations of them. In the syntax that Python and RE2
share, as the next."""
FIXED_STEPS = (
    "serving.extraArgs asks for LoRA adapters, with which SGLang 0.5.23 cannot change draft steps while it runs, and "
    "does not start: give the draft a token tree (draft.topK above 1, and draft.checkpoint), which is never switched "
    "off, or merge the adapter into the target"
)
"""Why adapters are refused beside a draft that can be switched off and on."""
NOT_PINNED = (
    "serving.extraArgs asks for LoRA adapters, which SGLang 0.5.23 does not serve on a CPU: it keeps them in pinned "
    "memory, for which it needs a GPU's driver; merge the adapter into the target"
)
"""Why adapters are refused on a CPU."""
CREDENTIAL_NAME = "^--([a-zA-Z0-9_-]*[-_])?(key|apikey|token|secret|password|passwd|passphrase|credentials?)(=|$)"
"""What an argument's name is where its value is a credential. In the syntax that Python and RE2 share, as the next."""
CREDENTIAL = (
    "(^|[^A-Za-z0-9_./-])((hf_|sk-|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|nvapi-|gsk_|xai-|npm_|pypi-|dckr_pat_|AIza|"
    "hvs[.]|AKIA|ASIA)[A-Za-z0-9_-]{6,}|eyJ[A-Za-z0-9_-]{6,}[.][A-Za-z0-9_-]+|"
    "([Bb]earer|[Bb]asic) +[A-Za-z0-9._~+/=-]{6,})|"
    "-----BEGIN [A-Z ]*PRIVATE KEY|://[^/@ ]*:[^/@ ]*@|"
    "[?&](token|sig|signature|api_?key|access_?token|password|X-Amz-Signature)=[^&]|"
    '"([A-Za-z0-9_-]*[-_])?(api[-_]?key|access[-_]?key|auth[-_]?token|access[-_]?token|secret|password|passwd|'
    'passphrase)" *: *"[^"]'
)
"""What resembles a credential in a value: a known service's token, a JWT, a header, a private key, a password of a URL
or of JSON. The chart's admission policy has the same for podTemplates."""
_KEYS = (("--ap", "--api-key"), ("--admin", "--admin-api-key"))
"""The shortest abbreviation of SGLang's own keys, and their names."""
SHOWN = (
    "contains what resembles a key or token: arguments are stored, logged and listed as processes, where others read "
    "them; use serving.apiKeySecret or target.tokenSecret"
)


def _name(argument: str) -> str:
    return argument.split("=", 1)[0]


def credential(arguments: Sequence[str]) -> str | None:
    """Which of an engine's further arguments would show a credential, without its value; None where none does."""
    for at, argument in enumerate(arguments):
        # SGLang takes abbreviations.
        short = any(full.startswith(_name(argument)) and argument.startswith(least) for least, full in _KEYS)
        if short or re.search(f"{CREDENTIAL_NAME}|{CREDENTIAL}", argument):
            return f"argument {at + 1} {SHOWN}"
    return None


def unservable(arguments: Sequence[str]) -> str | None:
    """Which of an engine's further arguments would break the loop, and why; None where none does.

    SGLang takes abbreviations, and so do these checks.
    """
    for argument in arguments:
        given = _name(argument)
        if given.startswith("--") and len(given) > len("--"):
            for name, why in _REFUSED.items():
                if name.startswith(given):
                    return f"{given} stands for {name}: {why}"
    return None


def adapters(arguments: Sequence[str]) -> bool:
    """Whether an engine with these further arguments serves LoRA adapters."""
    return any(re.search(ADAPTERS, argument) for argument in arguments)


def of_draft(arguments: Sequence[str]) -> tuple[str, ...]:
    """What a quantised target's arguments need beside them: its draft stays in 16 or 32 bits, as versions are written.

    SGLang would quantise the draft too, and a swap would then write numbers of one type over those of another.
    """
    given = {_name(argument) for argument in arguments if argument.startswith("--q")}
    quantised = any("--quantization".startswith(name) for name in given)
    own = "--speculative-draft-model-quantization"
    return (own, "unquant") if quantised and own not in map(_name, arguments) else ()
