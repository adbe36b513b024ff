"""A model's server in a thread of the tests: it speaks as much of OpenAI's protocol as is used, and fails on demand."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Told:
    """What a handler answers: a status, a body (text, or what becomes JSON), headers."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fake:
    """A running server: its address, the requests it got and the most that were under way at once."""

    url: str
    requests: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most: int = 0


def said(text: str, *, asked: int = 100, written: int = 10, finish: str = "stop") -> Told:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}
    return Told({"id": "1", "object": "chat.completion", "model": "fake-1", "choices": [choice], "usage": usage})


def error(status: int, message: str, headers: dict[str, str] | None = None, **more: object) -> Told:
    """An error as OpenAI says it."""
    return Told({"error": {"message": message, "type": "error"} | more}, status, headers or {})


def echo(number: int, request: dict) -> Told:
    """Answers what was asked: the last message's last line."""
    return said("answer to " + request["messages"][-1]["content"].splitlines()[-1])


@contextmanager
def serving(answer: Callable[[int, dict], Told] = echo, *, seconds: float = 0.0) -> Iterator[Fake]:
    """Serve while this lasts; `answer` gets the number of the request and its JSON."""
    lock, under_way = threading.Lock(), [0]
    fake = Fake("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                under_way[0] += 1
                fake.most = max(fake.most, under_way[0])
                number = len(fake.requests)
                fake.requests.append(request | {"path": self.path})
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            time.sleep(seconds)
            told = answer(number, request)
            with lock:
                under_way[0] -= 1
            body = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
            try:
                self.send_response(told.status)
                for name, value in ({"Content-Type": "application/json"} | told.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
