"""Owns the applications under test: the same echo handler, once per server."""
