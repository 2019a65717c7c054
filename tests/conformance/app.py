"""The app of the conformance table, for test clients and servers alike."""

from importlib import import_module

from tests.conformance.base import app

TOPICS = ("cases_state",)

for topic in TOPICS:
    import_module(f"tests.conformance.{topic}")

__all__ = ["app"]
