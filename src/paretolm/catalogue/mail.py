"""A digest as a mail, over SMTP. A password is in no message and no error."""

from __future__ import annotations

import ipaddress
import os
import smtplib
import ssl
from contextlib import closing
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ..errors import RunError, UserError
from .digest import Digest, html, text

PASSWORD = "PARETOLM_SMTP_PASSWORD"
SHAPE = "smtp://user@host:587/?from=me@example.org&to=you@example.org"
SILENCE = 30.0  # seconds without an answer
PORTS = {"smtp": 25, "smtps": 465}


class MailError(RunError):
    """A mail that was not sent."""


@dataclass(frozen=True)
class Post:
    """Where a mail goes. tls: from the first byte on; without it STARTTLS is used where the server offers it."""

    host: str
    port: int
    tls: bool
    sender: Address
    to: tuple[Address, ...]
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Post:
        """smtp[s]://[user[:password]@]host[:port]/?from=..&to=..; a password may come from $PARETOLM_SMTP_PASSWORD.
        Raises UserError, in which the address is not repeated."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            query = parts.query.replace("+", "%2B")  # me+papers@example.org is no 'me papers'
            asked = parse_qs(query, strict_parsing=True, errors="strict") if query else {}
        except ValueError:
            raise UserError(f"the address of the mail cannot be read; write it as {SHAPE}") from None
        known = parts.scheme in PORTS and parts.path in ("", "/") and not parts.fragment
        if not (host and known and set(asked) <= {"from", "to"}):
            raise UserError(f"the address of the mail is not of the form {SHAPE}")
        if len(asked.get("from", ())) != 1 or "to" not in asked:
            raise UserError(f"the address of the mail names one from= and at least one to=, as {SHAPE}")
        to = tuple(_address(each) for value in asked["to"] for each in value.split(","))
        sender, (user, password) = _address(asked["from"][0]), _login(parts)
        return cls(host, port or PORTS[parts.scheme], parts.scheme == "smtps", sender, to, user, password)


def _login(parts: SplitResult) -> tuple[str, str]:
    user = unquote(parts.username or "")
    password = unquote(parts.password) if parts.password is not None else os.environ.get(PASSWORD, "")
    if user and not password:
        raise UserError(f"there is no password for the mail's user; set {PASSWORD}")
    return user, password if user else ""


def _address(given: str) -> Address:
    try:
        found = Address(addr_spec=given.strip())
    except (ValueError, IndexError, MessageError):
        found = Address()
    if not (found.username and found.domain) or any(ord(c) < 33 or ord(c) == 127 for c in found.addr_spec):
        raise UserError(f"{given.strip()!r} is no mail address; write it as name@example.org")
    return found


def message(found: Digest, sender: Address, to: tuple[Address, ...]) -> EmailMessage:
    """HTML with the plain text beside it. Nothing from a feed stands in a header."""
    mail = EmailMessage()
    mail["Subject"] = f"ParetoLM: {found.heading}"
    mail["From"] = sender
    mail["To"] = to
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid(domain=sender.domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text(found))
    mail.add_alternative(html(found), subtype="html")
    return mail


def send(found: Digest, post: Post) -> None:
    """Raises MailError, with what the server said."""
    where, mail = f"{post.host}:{post.port}", message(found, post.sender, post.to)
    try:
        with closing(_connected(post)) as server:
            if not post.tls:
                _secured(server, post, where)
            if post.user:
                server.login(post.user, post.password)
            refused = server.send_message(mail)
            server.quit()
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(f"{where} does not let {post.user!r} in (code {error.smtp_code}); nothing was sent") from None
    except smtplib.SMTPRecipientsRefused as error:
        told = ", ".join(f"{name} ({code})" for name, (code, _) in error.recipients.items())
        raise MailError(f"{where} takes no mail for {told}; nothing was sent") from None
    except smtplib.SMTPResponseException as error:
        raise MailError(f"{where} refused the mail with code {error.smtp_code}; nothing was sent") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(f"{where} did not take the mail: {_said(error, post)}") from None
    if refused:
        raise MailError(f"{where} took the mail for some, but not for {', '.join(sorted(refused))}")


def _connected(post: Post) -> smtplib.SMTP:
    if post.tls:
        return smtplib.SMTP_SSL(post.host, post.port, timeout=SILENCE, context=ssl.create_default_context())
    return smtplib.SMTP(post.host, post.port, timeout=SILENCE)


def _secured(server: smtplib.SMTP, post: Post, where: str) -> None:
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
    elif post.user and not (server.sock and ipaddress.ip_address(server.sock.getpeername()[0]).is_loopback):
        raise MailError(f"{where} offers no TLS, and a password is not sent without; use smtps://, or a host that does")


def _said(error: Exception, post: Post) -> str:
    told = str(error) or type(error).__name__
    return told.replace(post.password, "...") if post.password else told
