"""The vault: one master key, sub-keys derived from it by purpose, and what is kept encrypted at rest."""

import base64
import binascii
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.core.errors import ConfigError
from bridge.core.ids import random_token
from bridge.settings import Settings

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secret.key"
API_TOKEN_FILE = "api.token"  # noqa: S105 - the name of a file
KEY_BYTES = 32
# 52 characters of base 32 carry 260 bits.
API_TOKEN_CHARS = 52
API_TOKEN_MIN_CHARS = 16
MAX_FILE_BYTES = 4096
_MAKE_KEY = "openssl rand -base64 32 | tr '+/' '-_'"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Vault:
    """Keys and secrets of this installation; made once at start. The cryptography library loads on first use."""

    def __init__(self, settings: Settings):
        self._master = _read_master(settings)
        self._keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return "Vault(…)"

    def key(self, purpose: str) -> bytes:
        """32 bytes for this purpose only, the same after every restart (HKDF-SHA256, RFC 5869)."""
        known = self._keys.get(purpose)
        if known is None:
            known = self._keys[purpose] = _derive_key(self._master, purpose)
        return known

    def encrypt(self, secret: str) -> str:
        """The secret sealed with Fernet (AES-128-CBC and HMAC-SHA256), as text for the store."""
        return self._fernet().encrypt(secret.encode()).decode()

    def decrypt(self, sealed: str) -> str:
        """What was sealed; ConfigError when it was not sealed with this master key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise ConfigError(
                "a stored secret cannot be opened, since it was sealed with another master key; "
                f"put the former {KEY_FILE} or BRIDGE_SECRET_KEY back, or sign in to the broker again"
            ) from None

    def _fernet(self) -> "Fernet":
        from cryptography.fernet import Fernet

        return Fernet(base64.urlsafe_b64encode(self.key("fernet")))


def api_token(settings: Settings) -> str:
    """The bearer token of the API: `api.token` of the settings, else the one in the data folder, made on first use."""
    if settings.api.token is not None:
        return settings.api.token
    path = settings.data_dir / API_TOKEN_FILE
    token = _read_or_make(path, lambda: random_token(API_TOKEN_CHARS), "BRIDGE_API__TOKEN")
    if len(token) < API_TOKEN_MIN_CHARS or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"{path} does not hold a token; delete the file and the bridge makes a new one")
    return token


def _derive_key(master: bytes, purpose: str) -> bytes:
    """HKDF-SHA256 without salt (RFC 5869): for one block of output, extract and expand are an HMAC each."""
    extracted = hmac.digest(bytes(KEY_BYTES), master, "sha256")
    return hmac.digest(extracted, f"tradingview-bridge {purpose}".encode() + b"\x01", "sha256")


def _read_master(settings: Settings) -> bytes:
    if settings.secret_key is not None:
        key = _decode_key(settings.secret_key)
        if key is None:
            raise ConfigError(f"BRIDGE_SECRET_KEY is not {KEY_BYTES} bytes in urlsafe base64; make one with: {_MAKE_KEY}")
        return key
    path = settings.data_dir / KEY_FILE
    key = _decode_key(_read_or_make(path, _new_key, "BRIDGE_SECRET_KEY"))
    if key is None:
        raise ConfigError(
            f"{path} does not hold a master key; put it back from your backup. Without one, delete the file: "
            "a new key is made, and tokens of alerts must be made anew and brokers signed in to again"
        )
    return key


def _new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _decode_key(text: str) -> bytes | None:
    """The 32 bytes, or None; what does not encode back to the same text is not taken."""
    text = text.strip().rstrip("=")
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    is_exact = base64.urlsafe_b64encode(key).decode().rstrip("=") == text
    return key if is_exact and len(key) == KEY_BYTES else None


def _read_or_make(path: Path, make: Callable[[], str], variable: str) -> str:
    try:
        if not path.exists():
            _create(path, make())
        return _read_private(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read or made ({error.strerror}); mend that, or set {variable}") from None
    except UnicodeDecodeError:
        return ""  # the caller says what the file should hold


def _read_private(path: Path) -> str:
    with path.open("rb") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
            raise ConfigError(f"{path} can be read by others on this machine; run: chmod 600 {path}")
        return file.read(MAX_FILE_BYTES).decode().strip()


def _create(path: Path, text: str) -> None:
    """Make the file whole or not at all; of two starts at once, the first one's stays and both read that one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random_token(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link either takes the free name or fails; a rename would replace the other start's key.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
