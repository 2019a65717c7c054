"""Owns one connection in a process of its own, because gevent has no place in that of pytest.

    python -m tests.loadtest.client_probe '{"url": ..., "path": ..., "do": [["send", "hello"]]}'

prints what happened, as JSON.
"""

import json
import sys
from typing import Any

from gevent import sleep, spawn

from loadtest import frames
from loadtest.addresses import Target, TargetError
from loadtest.client import NotOpen, WebSocket
from loadtest.link import ConnectFailed


class Probe:
    """An owner that writes all down."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.ws = WebSocket(self)
        self.told: dict[str, Any] = {"opened": 0, "failed": [], "messages": [], "ends": []}

    def on_opened(self) -> None:
        self.told["opened"] += 1

    def on_failed(self, failure: ConnectFailed) -> None:
        self.told["failed"].append([str(failure), failure.status, failure.limit])

    def on_message(self, message: bytes, now_ns: int) -> None:
        if message == b"raise":
            raise RuntimeError("as asked")
        self.told["messages"].append(message.decode(errors="replace"))

    def on_closed(self) -> None:
        self.told["ends"].append([self.ws.code, self.ws.reason, self.ws.ended_by])

    def run(self) -> dict[str, Any]:
        tls = {"is_verified": self.asked.get("verified", True)}
        try:
            target = Target(self.asked["url"], authorities=self.asked.get("authorities", ""), **tls)
        except TargetError as error:
            return {"error": str(error)}
        more = {"subprotocols": self.asked.get("subprotocols", ())}
        if "kill_after_s" in self.asked:
            opening = spawn(self.connect, target, more)
            opening.join(self.asked["kill_after_s"])
            opening.kill()
        else:
            self.connect(target, more)
        for name, *arguments in self.asked.get("do", ()):
            getattr(self, name)(*arguments)
        self.told["subprotocol"] = self.ws.subprotocol
        return self.told

    def connect(self, target: Target, more: dict[str, Any]) -> None:
        timeout_s = self.asked.get("timeout_s", 15)
        self.ws.connect(target, self.asked.get("path", "/"), timeout_s=timeout_s, **more)

    # -- steps ---------------------------------------------------------------------------------

    def send(self, text: str, times: int = 1) -> None:
        try:
            self.ws.send(text.encode() * times)
        except NotOpen:
            self.told["messages"].append("not open")

    def wait(self, messages: int) -> None:
        for _ in range(2000):
            if len(self.told["messages"]) >= messages or self.told["ends"]:
                break
            sleep(0.01)

    def wait_for_end(self) -> None:
        for _ in range(2000):
            if self.told["ends"]:
                break
            sleep(0.01)

    def close(self, code: int = 1000, timeout_s: float = 10) -> None:
        self.ws.close(code, timeout_s=timeout_s)

    def drop(self) -> None:
        self.ws.drop()

    def pause(self, seconds: float) -> None:
        self.ws.pause()
        self.ws.send(b"paused")
        sleep(seconds)
        self.told["paused"] = len(self.told["messages"])
        self.ws.resume()

    def fill(self) -> None:
        """Send until the server takes no more."""
        for _ in range(1000):
            self.ws.send(b"x" * 65_536, frames.BINARY)
            if self.ws.is_full:
                break
        self.told["is_full"] = self.ws.is_full


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Probe(json.loads(sys.argv[1])).run()))
