"""Somebody who is notified: a real HTTP endpoint on loopback that takes JSON messages, or refuses them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener:
    """Takes what apprise's `json://` sends. `status` is what it answers; `silence` lets it keep callers waiting."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.tries = 0
        self.status = 200
        self.silence = threading.Event()
        self.silence.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.tries += 1
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                listener.silence.wait(10)
                if listener.status == 200:
                    listener.messages.append(body)
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"json://someone:hunter2secret@{self.host}/inbox"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.silence.set()
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> str:
        """All messages as one text."""
        return "\n".join(f"{message['title']}\n{message['message']}" for message in self.messages)
