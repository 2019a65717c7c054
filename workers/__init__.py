"""The worker processes and what they share; knows no HTTP, no WebSocket and no user's app."""
