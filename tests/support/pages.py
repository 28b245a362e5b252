"""Pages as text: they nest, carry their headers and nothing inline; and forms sent as a browser would."""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx

from bridge.web.guard import POLICY
from tests.support.web import WebBox

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}&lt;"
FORM = {"origin": "http://127.0.0.1:8000"}


class Tags(HTMLParser):
    """Every start tag of a page; a page that does not nest is no page."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def assert_is_a_page(answer: httpx.Response, status: int = 200) -> Tags:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    tags = Tags(answer.text)
    for tag, attributes in tags.found:
        assert tag != "style"
        assert not any(name == "style" or name.startswith("on") for name in attributes), attributes
        if tag == "script":
            assert str(attributes["src"]).startswith("/static/bridge.js?v=")
    return tags


def token_of(box: WebBox) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', box.ask("GET", "/").text)
    assert found
    return found[1]


def send(box: WebBox, path: str, headers: Any = None, **fields: str) -> httpx.Response:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return box.ask("POST", path, content=urlencode(fields), headers=kind | (FORM if headers is None else headers))
