"""`Secret` never prints, whatever asks it to; `Redactor` takes what it knows out of every text."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import threading
import traceback
import urllib.parse
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.secret import REDACTED, Redactor, Secret

# A letter that the word `[redacted]` does not have, so that no generated secret is a part of it.
SECRETS = st.text(st.characters(codec="utf-8"), min_size=Redactor.MINIMUM).map(lambda text: f"Q7{text}")


@dataclass(frozen=True)
class Holder:
    password: Secret
    more: dict[str, Secret] = field(default_factory=dict)


@given(SECRETS)
def test_a_secret_never_prints(text: str) -> None:
    secret = Secret(text)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>400}",
        f"{secret}",
        "%s %r" % (secret, secret),  # noqa: UP031 - the old way must not print it either
        repr([secret]),
        repr(Holder(secret, {"more": secret})),
        json.dumps({"x": secret}, default=str),
    ]

    assert not [line for line in shown if text in line]
    assert all(REDACTED in line for line in shown)


@given(SECRETS)
def test_a_secret_never_reaches_a_log_record(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "signing in with %s", (Secret(text),), None)

    assert record.getMessage() == f"signing in with {REDACTED}"


def test_a_traceback_with_a_secret_in_it_does_not_show_it() -> None:
    def refuse(secret: Secret) -> None:
        raise ValueError("refused", secret)

    with pytest.raises(ValueError, match="refused") as caught:
        refuse(Secret("2retnuh"[::-1]))
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())

    assert "hunter2" not in shown


def test_a_secret_has_no_attributes_that_vars_could_dump() -> None:
    with pytest.raises(TypeError):
        vars(Secret("hunter2"))


def test_a_secret_is_neither_json_nor_a_pickle() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret("hunter2"))
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret("hunter2"))


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (one == other) == (Secret(one) == Secret(other))
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert one == Secret(one).reveal()


def test_a_secret_is_not_equal_to_its_text() -> None:
    assert Secret("x") != "x"


def test_a_secret_is_true_when_it_has_a_text() -> None:
    assert Secret("x")
    assert not Secret("")


def test_copies_of_a_secret_are_the_secret() -> None:
    secret = Secret("x")

    assert secret is copy.copy(secret)
    assert secret is copy.deepcopy({"deep": [secret]})["deep"][0]


def learned(*texts: str) -> Redactor:
    redactor = Redactor()
    redactor.learn(Secret(text) for text in texts)
    return redactor


@given(SECRETS, st.text(), st.text())
def test_a_known_secret_is_gone_from_any_text(secret: str, before: str, after: str) -> None:
    assert secret not in learned(secret).clean(f"{before}{secret}{after}")


@given(SECRETS)
def test_a_known_secret_is_gone_in_every_encoding_that_tools_print(secret: str) -> None:
    raw = secret.encode()
    encoded = [
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    ]
    cleaned = learned(secret).clean(" ".join(encoded))

    assert not [form for form in encoded if form in cleaned]


@given(st.lists(st.text("QRS789"), max_size=5), st.text("äöü "))
def test_what_holds_no_secret_stays_as_it_is(secrets: list[str], text: str) -> None:
    assert text == learned(*secrets).clean(text)


@given(st.lists(SECRETS, min_size=1, max_size=4))
def test_what_was_cleaned_does_not_change_when_it_is_cleaned_again(secrets: list[str]) -> None:
    redactor = learned(*secrets)
    once = redactor.clean(" / ".join(secrets))

    assert once == redactor.clean(once)


def test_a_secret_inside_a_longer_one_does_not_leave_the_rest_of_it() -> None:
    assert learned("hunter2", "hunter2-and-more").clean("is hunter2-and-more") == f"is {REDACTED}"


def test_each_line_of_a_long_secret_is_known() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n"

    assert learned(key).clean("line 2: hkiG9w0BAQEFAASC!") == f"line 2: {REDACTED}!"


def test_short_texts_are_left_alone_so_that_evidence_stays_readable() -> None:
    assert learned("1", "api", "5432").clean("api listens on 5432, 1 error") == "api listens on 5432, 1 error"


def test_learning_more_forgets_nothing() -> None:
    redactor = learned("first-secret")
    redactor.learn([Secret("second-secret")])

    assert redactor.clean("first-secret second-secret") == f"{REDACTED} {REDACTED}"


def test_threads_that_learn_at_once_lose_nothing() -> None:
    redactor = Redactor()
    texts = [f"secret-number-{number:04d}" for number in range(40)]
    threads = [threading.Thread(target=redactor.learn, args=([Secret(text)],)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert " ".join([REDACTED] * 40) == redactor.clean(" ".join(texts))
