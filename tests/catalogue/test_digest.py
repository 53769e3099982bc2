"""The digest: days, verdicts that are new or changed, and mail to a server on this machine."""

from __future__ import annotations

import email
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from paretolm import catalogue
from paretolm.catalogue.digest import Digest, digest, html, text
from paretolm.catalogue.facts import Facts
from paretolm.catalogue.mail import MailError, Post, _secured, send
from paretolm.errors import UserError

from .made import entry, record

HOSTILE = Facts(
    '<script>alert(1)</script> "مرحبا" 👩‍🔬',
    "2401.00002",
    authors=("A <b>B</b>",),
    published="2024-01-02",
    added="2024-09-02",
)


def made(since: str = "2024-09-02", **records: Any) -> Digest:
    old = Facts("Old", "2401.00001", published="2024-01-01", added="2024-09-01")
    known = Facts("ThinK", "2407.21018", added="2024-09-03")
    undated = Facts("Undated", doi="10.1000/a<b", added="2024-09-03")
    return digest(since, catalogue.entries(), [old, HOSTILE, known, undated], records, {})


def judged(day: str, *states: str) -> dict[str, Any]:
    return {**record("think", *states), "created": f"{day}T10:00:00+00:00"}


def test_papers_are_those_listed_since_by_day_and_none_of_the_catalogue() -> None:
    found = made()
    assert [(day, [e.title for e in papers]) for day, papers in found.days] == [
        ("2024-01-02", [HOSTILE.title]), ("date unknown", ["Undated"]),
    ]  # fmt: skip
    assert found.heading == "2 new papers, 0 new verdicts since 2024-09-02"
    assert made("2024-09-04").empty
    assert "Nothing new." in html(made("2024-09-04"))
    assert "Nothing new." in text(made("2024-09-04"))


def test_verdicts_are_new_or_changed() -> None:
    now = judged("2024-09-05", "partly", "not")
    found = digest(
        "2024-09-02",
        [entry("think", title="T")],
        [],
        {"think": now},
        {"think": judged("2024-08-01", "reproduced", "not")},
    )
    (news,) = found.news
    assert [(c["says"], c["state"]) for c in news.claims] == [("claim 0", "partly")]
    assert news.before == {"claim 0": "reproduced"}
    for shown in (html(found), text(found)):
        for told in ("was: reproduced", "claimed: twice (7B; table 1)", "measured: speed: 2.00 x [1.50, 2.50]"):
            assert told in shown
    assert len(digest("2024-09-02", [], [], {"think": now}, {"think": now}).news[0].claims) == 2
    assert digest("2024-09-06", [], [], {"think": now}, {}).empty
    assert digest("2024-09-02", [], [], {"think": now}, {"think": judged("2024-08-01", "partly", "not")}).empty
    assert digest("2024-09-02", [], [], {"think": record("think", "not")}, {}).empty  # of no known day


def test_the_page_lets_nothing_through() -> None:
    shown = html(made())
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "<b>B</b>" not in shown
    assert "<bdi>&lt;script&gt;" in shown
    assert 'href="https://doi.org/10.1000/a%3Cb"' in shown
    assert "default-src 'none'" in shown


# --- mail ---


class Box:
    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.tls: list[bool] = []

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        found = email.message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.tls.append(session.ssl is not None)
        return "250 OK"


Serve = Callable[..., tuple[Box, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(**options of aiosmtpd) -> what arrives, and the port."""
    running: list[Controller] = []

    def start(**options: Any) -> tuple[Box, int]:
        box = Box()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        running.append(Controller(box, hostname="127.0.0.1", port=port, ready_timeout=60, **options))
        running[-1].start()
        return box, port

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, with its key in one file."""
    openssl, place = shutil.which("openssl"), tmp_path_factory.mktemp("tls") / "own.pem"
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    made = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *named, "-keyout", f"{place}.key", "-out", place], check=True, capture_output=True)
    place.write_bytes(place.read_bytes() + Path(f"{place}.key").read_bytes())
    return place


def context(certificate: Path) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(certificate)
    return found


def lets_in(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"geheim/1"), handled=False)


def post(port: int, login: str = "", scheme: str = "smtp", to: str = "you+x@example.org") -> Post:
    return Post.parse(f"{scheme}://{login}127.0.0.1:{port}/?from=me@example.org&to={to}")


def test_a_mail_has_text_and_html_and_goes_to_all(serve: Serve) -> None:
    box, port = serve()
    send(made(think=judged("2024-09-05", "partly")), post(port, to="you+x@example.org,them@example.org"))
    (mail,) = box.mails
    assert mail["Subject"] == "ParetoLM: 2 new papers, 1 new verdict since 2024-09-02"
    assert (mail["From"], mail["To"]) == ("me@example.org", "you+x@example.org, them@example.org")
    assert mail["Message-ID"].endswith("@example.org>")
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert HOSTILE.title in plain.get_content()
    assert "https://arxiv.org/abs/2401.00002" in plain.get_content()
    assert "&lt;script&gt;" in page.get_content()


def test_starttls_and_tls_are_used_and_the_password_gets_in(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    box, port = serve(
        tls_context=context(certificate), require_starttls=True, authenticator=lets_in, auth_required=True
    )
    send(made(), post(port, "me:geheim%2F1@"))
    monkeypatch.setenv("PARETOLM_SMTP_PASSWORD", "geheim/1")
    send(made(), post(port, "me@"))
    assert box.tls == [True, True]
    inside, port = serve(ssl_context=context(certificate))
    send(made(), post(port, scheme="smtps"))
    assert len(inside.mails) == 1


def test_a_certificate_that_nobody_vouches_for_ends_it(serve: Serve, certificate: Path) -> None:
    box, port = serve(tls_context=context(certificate))
    with pytest.raises(MailError, match="CERTIFICATE_VERIFY_FAILED"):
        send(made(), post(port))
    assert not box.mails


def test_what_the_server_refuses_is_told_without_the_password(serve: Serve) -> None:
    box, port = serve(authenticator=lets_in, auth_require_tls=False)
    with pytest.raises(MailError, match=r"does not let 'me' in \(code 535\)") as raised:
        send(made(), post(port, "me:falsch@"))
    assert "falsch" not in f"{raised.value} {post(port, 'me:falsch@')!r}"
    with pytest.raises(MailError, match=r"takes no mail for nobody@example\.org \(550\)"):
        send(made(), post(port, to="nobody@example.org"))
    with pytest.raises(MailError, match=r"not for nobody@example\.org"):
        send(made(), post(port, to="nobody@example.org,you@example.org"))
    assert len(box.mails) == 1


def test_a_password_leaves_this_machine_inside_tls_only() -> None:
    """A server elsewhere, that offers none, seen from after the connection."""

    class Elsewhere:
        sock = SimpleNamespace(getpeername=lambda: ("192.0.2.1", 25))

        def ehlo_or_helo_if_needed(self) -> None: ...

        def has_extn(self, name: str) -> bool:
            return False

    server: Any = Elsewhere()
    with pytest.raises(MailError, match="a password is not sent without"):
        _secured(server, post(25, "me:geheim@"), "there")
    _secured(server, post(25), "there")


def test_nobody_listens(serve: Serve) -> None:
    with pytest.raises(MailError, match="did not take the mail"):
        send(made(), post(1))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp://", "not of the form"),
        ("http://h/?from=a@b.c&to=d@e.f", "not of the form"),
        ("smtp://h/x?from=a@b.c&to=d@e.f", "not of the form"),
        ("smtp://h/?from=a@b.c&to=d@e.f&cc=x@y.z", "not of the form"),
        ("smtp://me:geheim#1@h/?from=a@b.c&to=d@e.f", "cannot be read|not of the form"),
        ("smtp://me:geheim@h:x/?from=a@b.c&to=d@e.f", "cannot be read"),
        ("smtp://h/?from=a@b.c", "at least one to="),
        ("smtp://h/?from=a@b.c&from=d@e.f&to=d@e.f", "one from="),
        ("smtp://h/?from=a&to=d@e.f", "'a' is no mail address"),
        ("smtp://h/?from=a@b.c%0d%0aBcc:x@y.z&to=d@e.f", "is no mail address"),
        ("smtp://h/?from=a@b.c&to=d@e.f%0aSubject:x", "is no mail address"),
        ("smtp://h/?from=a@b.c&to=", "at least one to="),
        ("smtp://me@h/?from=a@b.c&to=d@e.f", "set PARETOLM_SMTP_PASSWORD"),
    ],
)
def test_mistakes_in_an_address_are_sentences(url: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARETOLM_SMTP_PASSWORD", raising=False)
    with pytest.raises(UserError, match=told) as raised:
        Post.parse(url)
    assert "geheim" not in str(raised.value)
