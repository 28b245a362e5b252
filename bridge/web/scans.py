"""The API of scans and strategies of our own: their lives, and what they saw at the latest bar."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from bridge.core.definition import Deployment
from bridge.core.errors import ConfigError, RefusedError
from bridge.core.reasons import RefusalCode
from bridge.definitions import DefinitionView
from bridge.web.answers import NotFoundError, answer_json
from bridge.web.port import Scans

BY = "api"
ReadBody = Callable[..., Awaitable[dict[str, object]]]


class ScansApi:
    """Endpoints over the definitions and what runs them."""

    def __init__(self, scans: Scans, read_body: ReadBody):
        self._scans = scans
        self._read_body = read_body

    async def every(self, _request: Request) -> Response:
        """All definitions, by name."""
        rows = [(definition_row(view), self._scans.state_of(view.record.name)) for view in self._scans.definitions.all()]
        return answer_json([{**row, "state": state} for row, state in rows])

    async def save(self, request: Request) -> Response:
        """Create one, or make its next version, from `definition` (an object) or `text` (YAML)."""
        body = await self._read_body(request, "definition", "text")
        source = body.get("definition")
        if source is None:
            source = await asyncio.to_thread(read_source, body.get("text"))
        return answer_json(definition_row(await self._scans.definitions.save(source, by=BY)), 201)

    async def one(self, request: Request) -> Response:
        """One definition with its versions."""
        view = self._find(request)
        versions = self._scans.definitions.versions(view.record.name)
        told = [{"version": kept.version, "saved_at": kept.saved_at, "by": kept.by} for kept in versions]
        return answer_json({**definition_row(view), "definition": view.source, "versions": told})

    async def delete(self, request: Request) -> Response:
        """Forget one that is disabled."""
        name = self._find(request).record.name
        await self._scans.definitions.delete(name, by=BY)
        return answer_json({"name": name, "deleted": True})

    async def enable(self, request: Request) -> Response:
        """Let it run from the next closed bar on."""
        return answer_json(definition_row(await self._scans.definitions.enable(self._name(request), by=BY)))

    async def disable(self, request: Request) -> Response:
        """Let it raise nothing any more."""
        return answer_json(definition_row(await self._scans.definitions.disable(self._name(request), by=BY)))

    async def approve(self, request: Request) -> Response:
        """Approve the version that is named, and only that one."""
        version = (await self._read_body(request, "version")).get("version")
        if not isinstance(version, str):
            raise RefusedError(RefusalCode.E_FIELD, "`version` is missing.", field="version", hint="The one you have read.")
        return answer_json(definition_row(await self._scans.definitions.approve(self._name(request), version, by=BY)))

    async def deploy(self, request: Request) -> Response:
        """Send its signals to `paper` or to `live` accounts."""
        told = (await self._read_body(request, "deployment")).get("deployment")
        if told not in tuple(Deployment):
            raise RefusedError(RefusalCode.E_FIELD, "`deployment` is wrong.", field="deployment", hint="paper or live.")
        view = await self._scans.definitions.deploy(self._name(request), Deployment(str(told)), by=BY)
        return answer_json(definition_row(view))

    async def lines(self, request: Request) -> Response:
        """What it saw at the latest bar: every symbol with its rank, each rule's numbers, and why it is in or out."""
        view = self._find(request)
        told = await asyncio.to_thread(self._scans.explain, view.record.name, request.query_params.get("symbol"))
        return answer_json(told)

    def _name(self, request: Request) -> str:
        return str(request.path_params["name"])

    def _find(self, request: Request) -> DefinitionView:
        name = self._name(request)
        view = self._scans.definitions.get(name)
        if view is None:
            raise NotFoundError("definition", name[:40])
        return view


def read_source(text: object) -> object:
    """What a YAML text says; RefusedError says where it cannot be read."""
    from bridge.scanner.files import read_text

    if not isinstance(text, str):
        raise RefusedError(RefusalCode.E_FIELD, "`text` is missing.", field="text", hint="A definition in YAML.")
    try:
        return read_text(text)
    except ConfigError as error:
        raise RefusedError(RefusalCode.E_FIELD, str(error), field="text", hint="See docs/scanner.md.") from None


def definition_row(view: DefinitionView) -> dict[str, object]:
    """A definition, and how it stands."""
    record = view.record
    return {
        "name": record.name,
        "version": record.version,
        "strategy": record.strategy,
        "enabled": record.enabled,
        "deployment": record.deployment.value,
        "accounts": list(view.accounts),
        "approved": record.is_approved,
        "approved_by": record.approved_by,
        "approved_at": record.approved_at,
        "updated_at": record.updated_at,
        "note": view.note,
    }
