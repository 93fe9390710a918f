"""A dashboard that serves in this process, and who looks at its streams."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from ports import free_port
from radar.settings import Settings
from radar.status.collect import Observer
from radar.ui.web.app import Dashboard, configuration
from support import eventually

TOKEN = "what-only-the-tests-know"  # of every dashboard that a test starts
KNOWS = {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def serving(settings: Settings, *, knows: bool = True) -> Iterator[httpx.Client]:
    """Serve for the time of a block; provide a client, which knows the token or not."""
    settings = settings.model_copy(update={"dashboard_token": SecretStr(TOKEN)})
    observer = Observer(settings.model_copy(update={"kafka_broker": f"127.0.0.1:{free_port()}"}))
    dashboard = Dashboard(settings, observer.observe, lambda: None)
    server = uvicorn.Server(configuration(settings, dashboard.application))
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            eventually(lambda: server.started, "the dashboard serves")
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            headers = KNOWS if knows else None
            with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            dashboard.end_streams()
            thread.join(20)
            observer.close()


Event = tuple[str, Any]


class Viewer:
    """Who looks at a page: reads its stream in a thread, and keeps what it was told."""

    def __init__(self, client: httpx.Client, query: str) -> None:
        self.events: list[Event] = []
        self.ids: list[tuple[str, str]] = []  # of the events: name and ID
        self.ended = threading.Event()
        self._client = httpx.Client(
            base_url=client.base_url, headers=client.headers, trust_env=False, timeout=30
        )
        self.status = 0
        self._query = query
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._response: httpx.Response | None = None
        self._thread.start()

    def _read(self) -> None:
        name = event_id = ""
        try:
            with self._client.stream("GET", f"/api/live?{self._query}") as response:
                self._response, self.status = response, response.status_code
                for line in response.iter_lines():
                    dataset, _, content = line.partition(": ")
                    if dataset == "event":
                        name = content
                    elif dataset == "id":
                        event_id = content
                    elif dataset == "data":
                        self.ids.append((name, event_id))
                        self.events.append((name, json.loads(content)))
        except httpx.HTTPError:
            pass  # it was cut
        self.ended.set()

    def told(self, name: str) -> list[Any]:
        """Return what was told of a subject."""
        return [content for event, content in self.events.copy() if event == name]

    def until(self, name: str, count: int = 1, timeout_s: float = 30) -> list[Any]:
        """Wait until so much was told of a subject; return it."""
        eventually(
            lambda: len(self.told(name)) >= count, f"{count} events {name}", timeout_s=timeout_s
        )
        return self.told(name)

    def leave(self) -> None:
        """Close the stream."""
        if self._response is not None:
            stream = self._response.extensions["network_stream"]
            raw = stream.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has ended by itself
                raw.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._client.close()


@contextmanager
def looking(client: httpx.Client, query: str) -> Iterator[Viewer]:
    """Look at a page for the time of a block."""
    viewer = Viewer(client, query)
    try:
        yield viewer
    finally:
        viewer.leave()


def now_us() -> int:
    return time.time_ns() // 1000
