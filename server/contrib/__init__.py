"""Holds what joins other projects to Switchboard; each module needs an extra of its own."""
