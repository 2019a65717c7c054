"""The app of the conformance table, for test clients and servers alike."""

from importlib import import_module

from tests.conformance.base import app

TOPICS = (
    "cases_state",
    "cases_accept",
    "cases_close",
    "cases_receive",
    "cases_receive_odd",
    "cases_send",
    "cases_iterate",
    "cases_exits",
    "cases_exits_closing",
    "cases_attributes",
    "cases_parameters",
    "cases_typed",
    "cases_subprotocols",
    "cases_routing",
    "cases_providers",
    "cases_depends",
    "cases_rooms",
    "cases_auth",
)

for topic in TOPICS:
    import_module(f"tests.conformance.{topic}")

__all__ = ["app"]
