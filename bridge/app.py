"""The ASGI app, on one screen: the webhook before all routing, everything else through Starlette."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.web.api import Api
from bridge.web.faults import make_handlers
from bridge.web.guard import Guard
from bridge.web.pages import Pages
from bridge.web.port import Bridge
from bridge.web.postback import Postbacks
from bridge.web.webhook import Webhook, is_webhook


def build_app(bridge: Bridge) -> ASGIApp:
    """The app of a wired bridge; its lifespan starts and stops the bridge."""
    pages = Pages(bridge)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await bridge.start()
        try:
            yield
        finally:
            bridge.hub.close()
            await bridge.stop()

    routed = Starlette(
        routes=[*Api(bridge).routes(), *pages.routes(), *Postbacks(bridge).routes()],
        lifespan=lifespan,
        exception_handlers=make_handlers(pages),
    )
    routed.router.redirect_slashes = False
    guarded, webhook = Guard(routed, bridge), Webhook(bridge)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Half of a small request's cost is routing and response objects; the hot path goes without them.
        if scope["type"] == "http" and is_webhook(scope["path"]):
            await webhook(scope, receive, send)
        else:
            await guarded(scope, receive, send)

    return app
