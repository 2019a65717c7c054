"""The outside view of a server: locust scenarios, verdicts and capacity. See docs/capacity.md.

It knows a server by its address, its protocol and its /metrics alone: nothing here imports `server`
or `workers`.
"""
