"""Style sheet, script and icon: read once, addressed by their content, so that browsers may keep them for ever."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file. `tag` names its content."""

    body: bytes
    media_type: str
    tag: str


class Assets:
    """Every file of the folder; nothing else can be reached, whatever the path says."""

    def __init__(self, folder: Path):
        self._assets = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}

    def address(self, name: str) -> str:
        """Where a file of this content is served."""
        return f"/static/{name}?v={self._assets[name].tag}"

    async def serve(self, request: Request) -> Response:
        """The file; to be kept for ever only under the address that names its content."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response("There is no such file.\n", 404, media_type="text/plain")
        is_exact = request.query_params.get("v") == asset.tag
        headers = {"etag": f'"{asset.tag}"', "cache-control": _FOR_EVER if is_exact else _ASK_AGAIN}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(asset.body, headers={**headers, "content-type": asset.media_type})


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body=body, media_type=TYPES[path.suffix], tag=blake2b(body, digest_size=8).hexdigest())
