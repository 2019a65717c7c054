"""What the conformance table must cover: the guides' feature rows, the decisions, and the tables.

S1.n and S2.n are the rows of the two guides' feature tables, C1 to C39 the decisions where the
guides differ, `state:method/state` the cells of "Method x state", `exit:...` the rows of "View
exit", and the words the features beyond both guides.
"""

EXCLUDED = {
    "S1.38": "a capacity claim; measured by the benchmarks",
    "S1.40": "packaging",
}

_STATES = ("before", "connected", "closed", "left")
_METHODS = (
    *("accept", "accept_other", "close", "ensure_closed", "reject", "async_with", "state", "join"),
    *("send", "send_text", "send_bytes", "send_json", "send_event"),
    *("receive", "receive_text", "receive_bytes", "receive_json", "receive_event"),
    *("iter_text", "iter_bytes", "iter_json", "async_for"),
)
_EXITS = (
    *("return", "return before accept", "close", "deny"),
    *("caught disconnect", "uncaught disconnect"),
    *("WebSocketException", "WebSocketException before accept"),
    *("Exception", "Exception before accept", "CancelledError"),
)

REQUIRED = {
    *(f"S1.{row}" for row in range(1, 41)),
    *(f"S2.{row}" for row in range(1, 23)),
    *(f"C{number}" for number in range(1, 40)),
    *(f"state:{method}/{state}" for method in _METHODS for state in _STATES),
    *(f"exit:{way}" for way in _EXITS),
    *("typed", "codec", "rooms", "providers", "depends", "lifespan"),
} - EXCLUDED.keys()
