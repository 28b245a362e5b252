"""The front door in one place: verify → parse → fresh? → claim; everything a sender can get wrong ends here."""

from dataclasses import dataclass
from datetime import datetime

from bridge.core.alert import Alert, Claim, RefusedAlert
from bridge.core.claims import Claims
from bridge.core.clock import Clock
from bridge.core.enums import Source
from bridge.core.errors import RefusedError
from bridge.core.ids import fingerprint, make_alert_id
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from bridge.core.signal_codec import signal_to_json
from bridge.intake.dedupe import content_key, make_claim
from bridge.intake.fields import Fields
from bridge.intake.native import read_fields
from bridge.intake.rate import REFUSED_KEPT_PER_MINUTE, RateLimit
from bridge.intake.redact import blank_secrets, redact
from bridge.intake.validate import Catalog, read_signal
from bridge.intake.verify import Credential, Delivery, Verifier
from bridge.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An alert that may be stored if its claim is won."""

    alert: Alert
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A delivery that is not accepted; `kept` is what the trader is shown of it, None when nobody vouched."""

    error: RefusedError
    kept: RefusedAlert | None = None


class Intake:
    """Turns deliveries into alerts; no I/O, and nothing here waits."""

    def __init__(self, settings: Settings, clock: Clock, verifier: Verifier, catalog: Catalog):
        self._settings = settings
        self._clock = clock
        self._verifier = verifier
        self._catalog = catalog
        self._rate = RateLimit(settings.webhook.rate_per_minute)
        self._refused_kept = RateLimit(REFUSED_KEPT_PER_MINUTE)

    def admit(self, delivery: Delivery) -> Admission | Refusal:
        """Who sent it, what it says, and the claim to be its first; or why not."""
        try:
            fields: Fields | RefusedError = read_fields(delivery.body)
        except RefusedError as error:
            fields = error
        try:
            credential = self._verifier.verify(delivery, fields)
        except RefusedError as error:
            return Refusal(error=error)
        try:
            self._rate.check(credential.name, self._clock.monotonic())
            if isinstance(fields, RefusedError):
                raise fields
            signal = read_signal(fields, credential, delivery.received_at, self._catalog, self._settings)
        except RefusedError as error:
            return Refusal(error=error, kept=self._keep(delivery, credential, fields, error))
        alert_id = make_alert_id(delivery.received_at, content_key(delivery.body, credential))
        claim = make_claim(
            delivery=delivery,
            fields=fields,
            credential=credential,
            signal=signal,
            settings=self._settings,
            alert_id=alert_id,
        )
        alert = Alert(
            alert_id=alert_id,
            received_at=delivery.received_at,
            source=credential.source,
            credential=credential.name,
            body=redact(delivery.body, credential),
            signal=signal,
        )
        return Admission(alert=alert, claim=claim)

    def refuse_repeated_id(self, admission: Admission, error: RefusedError) -> Refusal:
        """The same id with other content: known only once the store was asked."""
        alert, signal = admission.alert, admission.alert.signal
        kept = RefusedAlert(
            alert_id=make_alert_id(alert.received_at, fingerprint(b"conflict", alert.body.encode())),
            received_at=alert.received_at,
            source=alert.source,
            credential=alert.credential,
            strategy=signal.strategy,
            symbol=signal.symbol,
            body=alert.body,
            code=error.code.value,
            message=error.message,
            field=error.field,
            hint=error.hint or "",
        )
        return Refusal(error=error, kept=kept)

    def admit_own(self, signal: Signal, source: Source, by: str, now: datetime, once: str = "") -> Admission:
        """A signal that the bridge raises itself; its claim is `once`, else its content at this microsecond."""
        text = signal_to_json(signal)
        named = (b"once", once.encode()) if once else (text.encode(), now.isoformat().encode())
        key = fingerprint(b"own", source.value.encode(), by.encode(), *named)
        alert_id = make_alert_id(now, key)
        alert = Alert(alert_id=alert_id, received_at=now, source=source, credential=by, body=text, signal=signal)
        return Admission(alert=alert, claim=Claim(bucket=0, key=key, content=b"", alert_id=alert_id))

    def _may_keep(self, credential: str) -> bool:
        return self._refused_kept.take(credential, self._clock.monotonic()) == 0

    def _keep(
        self, delivery: Delivery, credential: Credential, fields: Fields | RefusedError, error: RefusedError
    ) -> RefusedAlert | None:
        if error.code is RefusalCode.E_RATE and not self._may_keep(credential.name):
            return None  # the others are bounded by the rate itself
        claims: Claims | None = credential.claims
        known = {} if isinstance(fields, RefusedError) else fields
        strategy, symbol = known.get("strategy"), known.get("symbol")
        return RefusedAlert(
            alert_id=make_alert_id(delivery.received_at, fingerprint(b"refused", content_key(delivery.body, credential))),
            received_at=delivery.received_at,
            source=credential.source,
            credential=credential.name,
            strategy=strategy[:40] if isinstance(strategy, str) else (claims.strategy if claims else ""),
            symbol=symbol[:40] if isinstance(symbol, str) else "",
            body=redact(delivery.body, credential),
            code=error.code.value,
            message=blank_secrets(error.message, credential.secret_texts),
            field=error.field,
            hint=blank_secrets(error.hint or "", credential.secret_texts),
        )
