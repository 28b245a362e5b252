"""The pages of scans and strategies: the list, what each saw at the latest bar, one symbol explained, the buttons."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from bridge.core.definition import Deployment
from bridge.core.enums import Source
from bridge.core.views import AlertView
from bridge.definitions import DefinitionView
from bridge.settings import Settings
from bridge.web import scan_contexts as contexts
from bridge.web.gate import Gate, PageError, Visitor
from bridge.web.port import Bridge
from bridge.web.price_chart import draw_prices
from bridge.web.scan_editor import ScanEditor

BY = "operator"
ALERTS_LOOKED_AT = 1_000  # the latest of the strategy, among which those of one symbol are looked for
ALERTS_SHOWN = 10
Render = Callable[[str, Visitor | None, Mapping[str, object]], str]


class ScanPages:
    """Reading and rendering happen in a worker thread; definitions are in memory, and read in the event loop."""

    def __init__(self, bridge: Bridge, gate: Gate, render: Render):
        self._bridge = bridge
        self._scans = bridge.scans
        self._gate = gate
        self._render = render
        self._editor = ScanEditor(bridge, gate, render)

    def routes(self) -> list[BaseRoute]:
        """What is served; symbols begin with a capital and have a colon, so they are mistaken for nothing else."""
        return [
            Route("/parts/scans", self.cards, methods=["GET"]),
            Route("/parts/scans/{name}", self.table, methods=["GET"]),
            Route("/parts/scans/{name}/{symbol:path}", self.symbol_part, methods=["GET"]),
            Route("/scans", self.every, methods=["GET"]),
            *self._editor.routes(),
            Route("/scans/{name}", self.one, methods=["GET"]),
            Route("/scans/{name}/{step}", self.act, methods=["POST"]),
            Route("/scans/{name}/{symbol:path}", self.symbol, methods=["GET"]),
        ]

    # --- looking ---

    async def every(self, request: Request) -> Response:
        """All definitions, and the files that can be added."""
        return await self._list(request, "scans.html")

    async def cards(self, request: Request) -> Response:
        """The same without its frame."""
        return await self._list(request, "parts/scans.html")

    async def _list(self, request: Request, template: str) -> Response:
        visitor, now = self._gate.admit(request), self._bridge.clock.now()
        views = self._scans.definitions.all()
        seen = [(view, self._scans.evaluation(view.record.name), self._scans.state_of(view.record.name)) for view in views]

        def render() -> str:
            cards = [contexts.make_card(view, evaluation, now, state) for view, evaluation, state in seen]
            shipped = find_shipped(self._bridge.settings, {view.record.name for view in views})
            return self._render(template, visitor, {"cards": cards, "shipped": shipped})

        return _html(await asyncio.to_thread(render))

    async def one(self, request: Request) -> Response:
        """One definition with all its symbols."""
        return await self._one(request, "scan.html")

    async def table(self, request: Request) -> Response:
        """The same without its frame."""
        return await self._one(request, "parts/scan.html")

    async def _one(self, request: Request, template: str) -> Response:
        visitor, now, view = self._gate.admit(request), self._bridge.clock.now(), self._find(request)
        evaluation, state = self._scans.evaluation(view.record.name), self._scans.state_of(view.record.name)
        narrowing = contexts.read_narrowing(request.query_params)

        def render() -> str:
            card = contexts.make_card(view, evaluation, now, state)
            table = contexts.make_table(view, evaluation, narrowing)
            return self._render(template, visitor, {"card": card, "table": table})

        return _html(await asyncio.to_thread(render))

    async def symbol(self, request: Request) -> Response:
        """Why one symbol is in or out."""
        return await self._symbol(request, "scan_symbol.html")

    async def symbol_part(self, request: Request) -> Response:
        """The same without its frame."""
        return await self._symbol(request, "parts/scan_symbol.html")

    async def _symbol(self, request: Request, template: str) -> Response:
        visitor, now, view = self._gate.admit(request), self._bridge.clock.now(), self._find(request)
        evaluation, symbol = self._scans.evaluation(view.record.name), request.path_params["symbol"]
        if evaluation is None or symbol not in evaluation.symbols:
            told = "It is not in the universe of this definition." if evaluation else contexts.NOT_ASKED
            raise PageError(404, "Nothing is known of this symbol", told)

        def render() -> str:
            line = evaluation.line(evaluation.symbols.index(symbol))
            page = contexts.make_symbol(evaluation, line, self._alerts_of(view, symbol), now)
            drawings = draw_prices(symbol, self._scans.recent(evaluation.definition, symbol))
            return self._render(template, visitor, {"name": view.record.name, "page": page, "drawings": drawings})

        return _html(await asyncio.to_thread(render))

    def _alerts_of(self, view: DefinitionView, symbol: str) -> list[AlertView]:
        latest = self._bridge.store.reads.alerts(ALERTS_LOOKED_AT, strategy=view.record.strategy)
        return [each for each in latest if each.symbol == symbol and each.source == Source.SCAN][:ALERTS_SHOWN]

    # --- acting ---

    async def act(self, request: Request) -> Response:
        """The buttons: only what was shown is changed, and not a version that was saved meanwhile."""
        visitor = self._gate.admit(request)
        fields = await self._gate.form(request, visitor.session_id)
        name, definitions = self._find(request).record.name, self._scans.definitions
        version = fields.get("version", "")
        if version != self._find(request).record.version:
            raise PageError(409, "Nothing was done", "Another version was saved meanwhile. Go back, reload the page, and look.")
        match request.path_params["step"]:
            case "enable":
                await definitions.enable(name, by=BY)
            case "disable":
                await definitions.disable(name, by=BY)
            case "approve":
                await definitions.approve(name, version, by=BY)
            case "deploy" if fields.get("deployment") in tuple(Deployment):
                await definitions.deploy(name, Deployment(fields["deployment"]), by=BY)
            case "delete":
                await definitions.delete(name, by=BY)
                return RedirectResponse("/scans", 303)
            case _:
                raise PageError(404, "There is nothing here", "There is no such button.")
        return RedirectResponse(f"/scans/{name}", 303)

    def _find(self, request: Request) -> DefinitionView:
        view = self._scans.definitions.get(request.path_params["name"])
        if view is None:
            raise PageError(404, "There is nothing here", "There is no such definition.")
        return view


def find_shipped(settings: Settings, known: set[str]) -> list[tuple[str, str]]:
    """(name, note) of the files in config/scans that are not there yet."""
    from bridge.scanner.files import read_text, shipped

    found = []
    for name, path in shipped(settings.scans_dir()).items():
        if name not in known:
            source = read_text(path.read_text(encoding="utf-8"))
            found.append((name, str(source.get("note", ""))))
    return found


def _html(text: str) -> Response:
    return Response(text, media_type="text/html")
