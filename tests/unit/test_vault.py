"""The vault: one key per installation, made once, kept to itself."""

import base64
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bridge.core.errors import ConfigError
from bridge.settings import Settings
from bridge.vault import API_TOKEN_CHARS, API_TOKEN_FILE, KEY_FILE, Vault, api_token

ROOT = Path(__file__).parents[2]
KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()


def make(folder, **changes):
    return Settings(
        **(
            {"data_dir": folder, "accounts": {"paper": {"broker": "paper"}}, "strategies": {"x": {"accounts": ["paper"]}}}
            | changes
        )
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "data"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_first_start_makes_the_key_file_for_the_owner_alone(folder):
    """Mode 0600, 32 bytes, whatever the umask, and nothing else left behind."""
    before = os.umask(0)
    try:
        Vault(make(folder))
    finally:
        os.umask(before)
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert mode(folder / KEY_FILE) == 0o600
    assert mode(folder) == 0o700
    assert len(base64.urlsafe_b64decode((folder / KEY_FILE).read_text())) == 32


def test_second_start_finds_the_same_keys(folder):
    """Tokens and sealed secrets outlive a restart."""
    first, second = Vault(make(folder)), Vault(make(folder))
    assert first.key("tokens") == second.key("tokens")
    assert second.decrypt(first.encrypt("s3cret ü")) == "s3cret ü"


def test_keys_differ_by_purpose_and_by_master(folder, tmp_path):
    """A leaked sub-key opens nothing else."""
    vault, other = Vault(make(folder)), Vault(make(tmp_path / "other"))
    keys = {vault.key("a"), vault.key("b"), other.key("a")}
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)
    assert vault.key("a") is vault.key("a")


def test_keys_are_hkdf_of_the_master_key(folder):
    """RFC 5869 with SHA-256, no salt, the purpose as info; written out here with the standard library."""
    import hmac

    pseudo_random = hmac.digest(b"\0" * 32, bytes(range(32)), "sha256")
    expected = hmac.digest(pseudo_random, b"tradingview-bridge tokens\x01", "sha256")
    assert Vault(make(folder, secret_key=KEY)).key("tokens") == expected


@pytest.mark.parametrize("text", [KEY, KEY.rstrip("="), f" {KEY}\n"])
def test_key_from_the_environment_is_taken_and_no_file_made(folder, text):
    """With or without padding."""
    assert Vault(make(folder, secret_key=text)).key("a") == Vault(make(folder, secret_key=KEY)).key("a")
    assert not folder.exists()


@pytest.mark.parametrize(
    "text", ["", "short", KEY[:-2], KEY + "A", "*" * 44, "é" * 43, base64.b64encode(b"\xff" * 32).decode()]
)
def test_bad_key_in_the_environment_refuses_to_start(folder, text):
    """The message names the variable and how to make one, not what was given."""
    with pytest.raises(ConfigError, match="BRIDGE_SECRET_KEY") as caught:
        Vault(make(folder, secret_key=text))
    assert "openssl rand -base64 32" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_last_bits_of_the_key_are_not_passed_over(folder):
    """Two texts are never the same key."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = KEY[:-2] + alphabet[alphabet.index(KEY[-2]) ^ 1] + "="
    assert base64.urlsafe_b64decode(twin) == base64.urlsafe_b64decode(KEY)
    with pytest.raises(ConfigError):
        Vault(make(folder, secret_key=twin))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", KEY[:20].encode(), KEY.encode() * 2, b"A" * 5000])
def test_garbled_key_file_refuses_to_start_and_is_left_alone(folder, content):
    """A new key would make every token and sealed secret worthless unasked."""
    folder.mkdir(parents=True)
    path = folder / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="does not hold a master key"):
        Vault(make(folder))
    assert path.read_bytes() == content


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o644, 0o610])
@pytest.mark.parametrize("name", [KEY_FILE, API_TOKEN_FILE])
def test_file_that_others_may_read_refuses_to_start(folder, bits, name):
    """The message has the command that mends it."""
    settings = make(folder)
    Vault(settings)
    api_token(settings)
    (folder / name).chmod(bits)
    with pytest.raises(ConfigError, match=f"chmod 600 .*{name}"):
        Vault(settings) if name == KEY_FILE else api_token(settings)


def test_folder_that_cannot_be_made_names_the_variable(tmp_path):
    """A read-only disk can still be run on, with the key in the environment."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="BRIDGE_SECRET_KEY"):
        Vault(make(tmp_path / "file" / "data"))
    with pytest.raises(ConfigError, match="BRIDGE_API__TOKEN"):
        api_token(make(tmp_path / "file" / "data"))


def test_file_that_is_a_folder_or_a_loose_link_is_an_answer(folder):
    """Whatever stands in its place."""
    (folder / KEY_FILE).mkdir(parents=True)
    with pytest.raises(ConfigError, match=KEY_FILE):
        Vault(make(folder))
    (folder / API_TOKEN_FILE).symlink_to(folder / "nowhere")
    with pytest.raises(ConfigError, match=API_TOKEN_FILE):
        api_token(make(folder))


def test_many_first_starts_at_once_agree_on_one_key(folder):
    """Whoever is second takes the first one's; no draft stays."""
    settings, found = make(folder), []
    gate = threading.Barrier(16)

    def start():
        gate.wait()
        found.append((Vault(settings).key("a"), api_token(settings)))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert {path.name for path in folder.iterdir()} == {KEY_FILE, API_TOKEN_FILE}


def test_start_that_is_overtaken_takes_the_others_key(folder, monkeypatch):
    """The name is taken between looking and linking."""
    settings = make(folder)
    link = os.link

    def overtaken(draft, path):
        Path(path).write_text(KEY)
        Path(path).chmod(0o600)
        link(draft, path)

    monkeypatch.setattr(os, "link", overtaken)
    assert Vault(settings).key("a") == Vault(make(folder, secret_key=KEY)).key("a")


def test_secret_sealed_with_another_key_is_told_with_the_mend(folder, tmp_path):
    """Also what was never sealed at all."""
    sealed = Vault(make(tmp_path / "other")).encrypt("token")
    vault = Vault(make(folder))
    for text in (sealed, "", "garbage", sealed[:-5]):
        with pytest.raises(ConfigError, match="another master key"):
            vault.decrypt(text)


def test_sealing_twice_gives_two_texts(folder):
    """Equal secrets do not show as equal."""
    vault = Vault(make(folder))
    assert vault.encrypt("x") != vault.encrypt("x")


def test_vault_shows_no_secret(folder):
    """Neither in repr nor in str."""
    vault = Vault(make(folder, secret_key=KEY))
    vault.key("a")
    assert repr(vault) == str(vault) == "Vault(…)"


def test_api_token_is_made_once_for_the_owner_alone(folder):
    """The same after a restart."""
    token = api_token(make(folder))
    assert len(token) == API_TOKEN_CHARS
    assert token.isalnum()
    assert mode(folder / API_TOKEN_FILE) == 0o600
    assert api_token(make(folder)) == token


def test_api_token_of_the_settings_comes_first(folder):
    """No file is made for it."""
    assert api_token(make(folder, api={"token": "from-the-environment"})) == "from-the-environment"
    assert not folder.exists()


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words of some length", b"\xff" * 30, "ü".encode() * 30, b"a\x1b" * 20]
)
def test_garbled_api_token_is_told_with_the_mend(folder, content):
    """Deleting it is safe: a new one is made."""
    folder.mkdir(parents=True)
    path = folder / API_TOKEN_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="delete the file"):
        api_token(make(folder))


def test_cryptography_is_not_imported_until_needed(folder):
    """A command that needs no key does not pay for it."""
    code = (
        "import sys; from bridge.vault import Vault; from tests.unit.test_vault import make; from pathlib import Path;"
        f"vault = Vault(make(Path({str(folder)!r})));"
        "assert not [name for name in sys.modules if name.startswith('cryptography')];"
        "vault.key('a'); assert 'cryptography' not in sys.modules;"
        "vault.encrypt('a'); assert 'cryptography' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
