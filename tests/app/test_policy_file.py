"""A policy whose recipient has one wrong letter was obeyed, and nothing was ever sealed, without a word."""

import pytest

from agent import age
from agent.app.policy_file import read_policy
from agent.errors import ConfigError
from tests.writing import policy_text


@pytest.mark.parametrize("post_quantum", [False, True])
def test_recipient_with_a_wrong_letter_is_refused_with_its_line(*, post_quantum: bool) -> None:
    good = age.generate_identity(post_quantum=post_quantum).recipient().to_text()
    assert read_policy(policy_text(good, recording="").encode(), file="policy.toml").rules
    wrong = good[:-1] + ("q" if good[-1] != "q" else "p")
    with pytest.raises(ConfigError) as caught:
        read_policy(policy_text(wrong, recording="").encode(), file="policy.toml")
    assert caught.value.message.startswith("policy.toml:4: recipients.owner: ")
    assert caught.value.hint
