"""Verify: who vouches for a delivery, and whether it came from where it may."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bridge.core.claims import Claims
from bridge.core.enums import Source
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.addresses import AddressGate
from bridge.intake.fields import Fields
from bridge.intake.signatures import SIGNATURE_HEADER, SignatureChecker, Signed
from bridge.intake.tokens import MINT_HINT, KeySource, TokenReader, token_keys
from bridge.settings import Settings

TOKEN_FIELD = "token"  # noqa: S105 - the name of a field
FORWARDED_HEADER = "x-forwarded-for"
# Where other bridges keep a credential: never read as one here, but blanked out before a body is kept.
SECRET_FIELDS = frozenset({"secret", "password", "passphrase", "apikey", "api_key", "api_secret", "auth_token"})
MIN_SECRET_CHARS = 8  # a shorter text may well be an ordinary word of the body


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request as it came in. Names of `headers` are lower case, repeated ones joined by commas.

    `path_token` is the part of the URL behind the webhook's own path; `peer` the address of the socket's other end.
    """

    body: bytes
    headers: Mapping[str, str]
    path_token: str | None
    peer: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who vouches. `claims` bound the alert; None for a signed one without a token, bound by the settings alone.

    `name` is safe to show and store: the token's id, or `signed:` and the number of the secret. `idempotency_key`
    is the webhook-id of a signed delivery. `secret_texts` are to be blanked out of whatever is kept.
    """

    name: str
    source: Source
    claims: Claims | None = None
    idempotency_key: str | None = None
    secret_texts: tuple[str, ...] = ()


class Verifier:
    """Holds a delivery against signatures, tokens and addresses.

    A signature that holds vouches; one that does not is as good as none. A token vouches too, and *every* token that is
    presented must hold: beside a signature it still bounds the alert, and the URL and the body must carry the same one.
    """

    def __init__(self, settings: Settings, keys: KeySource, revoked: Callable[[str], bool]):
        webhook = settings.webhook
        self._signatures = SignatureChecker(webhook.signing_secrets, webhook.signature_tolerance_s)
        self._tokens = TokenReader(token_keys(keys), revoked)
        self._gate = AddressGate(settings)

    def verify(self, delivery: Delivery, fields: Fields | RefusedError) -> Credential:
        """The credential that vouches; RefusedError E_AUTH or E_ADDRESS when none does.

        `fields` is what `read_fields` gave, or the error it raised. That error is raised again where nothing was
        presented outside of the body: such a sender is told first that the body cannot be read.
        """
        signed, fault = self._check_signature(delivery)
        token = _find_token(delivery, fields)
        if token is not None:
            claims = self._tokens.read(token, delivery.received_at)
        elif signed is not None:
            claims = None
        else:
            raise fault or _nobody(fields)
        self._gate.check(peer=delivery.peer, forwarded=delivery.headers.get(FORWARDED_HEADER), is_signed=signed is not None)
        return _make_credential(signed, token, claims, fields)

    def _check_signature(self, delivery: Delivery) -> tuple[Signed | None, RefusedError | None]:
        if SIGNATURE_HEADER not in delivery.headers:
            return None, None
        try:
            return self._signatures.check(delivery.headers, delivery.body, delivery.received_at), None
        except RefusedError as error:
            return None, error


def _find_token(delivery: Delivery, fields: Fields | RefusedError) -> str | None:
    in_path = delivery.path_token or None
    in_body = None if isinstance(fields, RefusedError) else fields.get(TOKEN_FIELD)
    if in_body is None or in_body == "":
        return in_path
    if not isinstance(in_body, str):
        raise _refused("The token is not a text.", MINT_HINT)
    if in_path is not None and in_path != in_body:
        raise _refused(
            "The URL and the body carry different tokens.",
            "One token is enough: keep the one in the URL, or the one in the body.",
        )
    return in_body


def _make_credential(
    signed: Signed | None, token: str | None, claims: Claims | None, fields: Fields | RefusedError
) -> Credential:
    secrets = [text for text in (token, signed and signed.secret) if text]
    if not isinstance(fields, RefusedError) and not SECRET_FIELDS.isdisjoint(fields):
        named = (fields[name] for name in SECRET_FIELDS.intersection(fields))
        secrets += (value for value in named if isinstance(value, str) and len(value) >= MIN_SECRET_CHARS)
    if signed is not None:
        name, source, key = f"signed:{signed.number}", Source.SIGNED, signed.message_id
    else:
        name, source, key = claims.token_id if claims else "", Source.TRADINGVIEW, None
    return Credential(name=name, source=source, claims=claims, idempotency_key=key, secret_texts=tuple(secrets))


def _nobody(fields: Fields | RefusedError) -> RefusedError:
    if isinstance(fields, RefusedError):
        return fields
    others = sorted(SECRET_FIELDS.intersection(fields))
    if others:
        return _refused(f"The body has no `{TOKEN_FIELD}`.", f"`{others[0]}` is not read. {MINT_HINT}")
    return _refused(
        "The request carries neither a token nor a signature.",
        f"{MINT_HINT} It goes into the field `{TOKEN_FIELD}` or into the URL.",
    )


def _refused(message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_AUTH, message, field=TOKEN_FIELD, hint=hint)
