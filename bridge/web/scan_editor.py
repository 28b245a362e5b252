"""Writing definitions on a page: a text, what is wrong with it and where, its versions and what differs between two."""

import asyncio
import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from bridge.core.definition import DefinitionVersion
from bridge.core.errors import RefusedError
from bridge.definitions import DefinitionView
from bridge.web import scan_contexts as contexts
from bridge.web.gate import Gate, PageError, Visitor
from bridge.web.port import Bridge
from bridge.web.scans import read_source
from bridge.web.text import short_time

BY = "operator"
MAX_FORM_BYTES = 256 * 1024  # 64 KiB of text, each character of which a browser may write as three
Render = Callable[[str, Visitor | None, Mapping[str, object]], str]
NEW_TEXT = """\
name: my-scan
note: what it is for
strategy: demo
universe: ['NSE:SBIN', 'NSE:RELIANCE', 'NSE:INFY']
interval: 15m
filters:
  trend: close > ema(close, 50)
long:
  enter: cross_over(rsi(close, 14), 40)
  leave: rsi(close, 14) > 65
exits:
  stop: {percent: 1}
size: {quantity: 10}
"""
_YAML_PLACE = re.compile(r"line (\d+), column (\d+)")
_TERM_PLACE = re.compile(r"column (\d+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with a text: the field, where it is in the text (empty where nobody knows), and the line under a caret."""

    field: str
    message: str
    hint: str
    place: str
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """A version in the list; `note` says what it is to the bridge."""

    version: str
    saved: str
    by: str
    note: str
    is_shown: bool
    is_compared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffLine:
    """A line of the difference: its sign, and the colour that repeats it."""

    sign: str
    text: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsPage:
    """The versions of a definition, one of them as it was saved, and what differs from another. `approve` where that is due."""

    name: str
    shown: str
    against: str
    text: str
    lines: tuple[VersionLine, ...]
    diff: tuple[DiffLine, ...]
    approve: contexts.Ask | None
    approval: str


class ScanEditor:
    """Texts are read and compared in a worker thread."""

    def __init__(self, bridge: Bridge, gate: Gate, render: Render):
        self._bridge = bridge
        self._definitions = bridge.scans.definitions
        self._gate = gate
        self._render = render

    def routes(self) -> list[BaseRoute]:
        """What is served."""
        return [
            Route("/scans/new", self.new, methods=["GET"]),
            Route("/scans/new", self.create, methods=["POST"]),
            Route("/scans/{name}/edit", self.edit, methods=["GET"]),
            Route("/scans/{name}/edit", self.save, methods=["POST"]),
            Route("/scans/{name}/versions", self.versions, methods=["GET"]),
        ]

    async def new(self, request: Request) -> Response:
        """An empty page, or one with the text of a file that ships."""
        visitor = self._gate.admit(request)
        wanted = request.query_params.get("from", "")
        text = await asyncio.to_thread(self._shipped_text, wanted) if wanted else NEW_TEXT
        return await self._form(visitor, "", text)

    def _shipped_text(self, name: str) -> str:
        from bridge.scanner.files import shipped

        path = shipped(self._bridge.settings.scans_dir()).get(name)
        if path is None:
            raise PageError(404, "There is nothing here", "No such file comes with the bridge.")
        return path.read_text(encoding="utf-8")

    async def create(self, request: Request) -> Response:
        """Save what was written, under the name that it gives itself."""
        return await self._save(request, "")

    async def edit(self, request: Request) -> Response:
        """The text of the version that stands."""
        visitor, view = self._gate.admit(request), self._find(request)
        return await self._form(visitor, view.record.name, await asyncio.to_thread(write_source, view.source))

    async def save(self, request: Request) -> Response:
        """Make the next version."""
        return await self._save(request, self._find(request).record.name)

    async def _save(self, request: Request, name: str) -> Response:
        visitor = self._gate.admit(request)
        fields = await self._gate.form(request, visitor.session_id, MAX_FORM_BYTES)
        text = fields.get("text", "").replace("\r\n", "\n")
        try:
            source = await asyncio.to_thread(read_source, text)
            view = await self._definitions.save(source, by=BY, name=name, is_new=not name)
        except RefusedError as error:
            return await self._form(visitor, name, text, error)
        return RedirectResponse(f"/scans/{view.record.name}/versions", 303)

    async def _form(self, visitor: Visitor, name: str, text: str, error: RefusedError | None = None) -> Response:
        def render() -> str:
            mistake = find_mistake(text, error) if error else None
            rows = min(max(text.count("\n") + 3, 18), 40)
            view = self._definitions.get(name) if name else None
            is_live = view is not None and view.record.enabled and view.record.deployment.value == "live"
            context = {"name": name, "text": text, "mistake": mistake, "rows": rows, "is_live": is_live}
            return self._render("scan_edit.html", visitor, context)

        return Response(await asyncio.to_thread(render), 422 if error else 200, media_type="text/html")

    async def versions(self, request: Request) -> Response:
        """Every version that was saved; one in full, and against another."""
        visitor, view, now = self._gate.admit(request), self._find(request), self._bridge.clock.now()
        kept = self._definitions.versions(view.record.name)
        query = request.query_params
        shown = _pick(kept, query.get("version", view.record.version))
        against = _pick(kept, query["against"]) if query.get("against") else _before(kept, shown)

        def render() -> str:
            return self._render("scan_versions.html", visitor, {"page": make_versions(view, kept, shown, against, now)})

        return Response(await asyncio.to_thread(render), media_type="text/html")

    def _find(self, request: Request) -> DefinitionView:
        view = self._definitions.get(request.path_params["name"])
        if view is None:
            raise PageError(404, "There is nothing here", "There is no such definition.")
        return view


def write_source(source: object) -> str:
    """A definition as a person edits it."""
    from bridge.scanner.files import write_text

    return write_text(source)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def find_mistake(text: str, error: RefusedError) -> Mistake:
    """Where in the text the error is: YAML tells its own place, a field is looked for, an expression counts from its start."""
    from bridge.scanner.files import locate

    field = "" if error.field in (None, "text") else str(error.field)
    message = error.message.removeprefix(f"{field}: ")
    place: tuple[int, int] | None = None
    if not field:
        found = _YAML_PLACE.findall(message)
        place = (int(found[-1][0]), int(found[-1][1])) if found else None
    else:
        place = locate(text, field)
        term = _TERM_PLACE.match(message)
        if term:
            message = term[2].partition("\n")[0]
            place = place and (place[0], place[1] + int(term[1]) - 1)
    return Mistake(
        field=field,
        message=message,
        hint=error.hint or "",
        place=f"line {place[0]}, column {place[1]}" if place else "",
        excerpt=_excerpt(text, *place) if place else "",
    )


def _excerpt(text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    if line > len(lines):
        return ""
    around = [f"{number:>3}  {lines[number - 1]}" for number in range(max(1, line - 1), line + 1)]
    return "\n".join([*around, f"     {' ' * (column - 1)}^"])


# --- versions ---------------------------------------------------------------------------------------------------------


def _pick(kept: Sequence[DefinitionVersion], version: str) -> DefinitionVersion:
    found = next((each for each in kept if each.version == version), None)
    if found is None:
        raise PageError(404, "There is nothing here", "There is no such version.")
    return found


def _before(kept: Sequence[DefinitionVersion], shown: DefinitionVersion) -> DefinitionVersion | None:
    return next((each for each in kept if each.saved_at < shown.saved_at), None)


def make_versions(
    view: DefinitionView,
    kept: Sequence[DefinitionVersion],
    shown: DefinitionVersion,
    against: DefinitionVersion | None,
    now: datetime,
) -> VersionsPage:
    """The page of versions."""
    record, text = view.record, _text_of(shown)
    is_due = shown.version == record.version and not record.is_approved
    lines = tuple(
        VersionLine(
            version=each.version,
            saved=short_time(each.saved_at, now),
            by=each.by,
            note=_note(view, each),
            is_shown=each is shown,
            is_compared=each is against,
        )
        for each in kept
    )
    return VersionsPage(
        name=record.name,
        shown=shown.version,
        against=against.version if against else "",
        text=text,
        lines=lines,
        diff=_diff(_text_of(against), text) if against else (),
        approve=_approve(view) if is_due else None,
        approval=contexts.approval_of(view, now),
    )


def _text_of(kept: DefinitionVersion) -> str:
    return write_source(json.loads(kept.body))


def _note(view: DefinitionView, kept: DefinitionVersion) -> str:
    record = view.record
    notes = [(record.version, "in use" if record.enabled else "the latest"), (record.approved_version, "approved")]
    return ", ".join(words for version, words in notes if version == kept.version)


def _diff(old: str, new: str) -> tuple[DiffLine, ...]:
    tones = {"+": "up", "-": "down", " ": "same"}
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))[2:]
    return tuple(DiffLine(sign=line[:1], text=line[1:], tone=tones.get(line[:1], "flat")) for line in lines if line[:2] != "@@")


def _approve(view: DefinitionView) -> contexts.Ask:
    record = view.record
    return contexts.Ask(
        ident=f"approve-{record.name}",
        label="Approve for live",
        tone="warn",
        action=f"/scans/{record.name}/approve",
        question=f"You have read {record.version} as it stands here. Once it is deployed to live accounts, it trades them.",
        confirm=f"Approve {record.version}",
        fields=(("version", record.version),),
    )
