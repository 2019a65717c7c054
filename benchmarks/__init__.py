"""Owns the measurements of `make bench`: servers side by side, compared by CPU per message."""
