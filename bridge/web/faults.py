"""What is answered when something is wrong: JSON under the API's addresses, a page elsewhere, and a traceback nowhere."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.core.errors import RefusedError, StoreError
from bridge.web.answers import NotFoundError, answer_json, answer_refused
from bridge.web.gate import PageError, SignInNeededError
from bridge.web.pages import Pages

Handler = Callable[[Request, Exception], Awaitable[Response]]

_JSON_PATHS = ("/api/", "/healthz", "/readyz", "/metrics")


def make_handlers(pages: Pages) -> dict[Any, Handler]:
    """For each kind of error who answers it. Starlette looks for the nearest class, so the last one catches the rest."""
    return {
        PageError: pages.page_error,
        SignInNeededError: pages.sign_in_needed,
        NotFoundError: _not_found,
        HTTPException: _by_path(_http_error, pages.http_error),
        RefusedError: _by_path(_refused, pages.refused),
        StoreError: _by_path(_store_error, pages.unavailable),
        Exception: _by_path(_fault, pages.unavailable),
    }


def _by_path(for_json: Handler, for_pages: Handler) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        is_json = request.scope["path"].startswith(_JSON_PATHS)
        return await (for_json if is_json else for_pages)(request, error)

    return answer


async def _not_found(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotFoundError)
    return answer_json({"status": "refused", "message": error.message}, 404)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrong_method = error.status_code == 405
    message = "This address does not take that method." if wrong_method else "There is nothing at this address."
    return answer_json({"status": "refused", "message": message}, error.status_code, error.headers)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return answer_refused(error)


async def _store_error(_request: Request, error: Exception) -> Response:
    return _unavailable(str(error))


async def _fault(_request: Request, _error: Exception) -> Response:
    return _unavailable("The bridge met a fault of its own.")


def _unavailable(message: str) -> Response:
    told = {"status": "unavailable", "message": message, "hint": "Look at /api/v1/status before you ask again."}
    return JSONResponse(told, 503)
