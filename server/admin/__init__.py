"""Owns the admin port: what a running server says of itself, and what a key lets others do."""

from server.admin.access import read_key
from server.admin.app import LOOPBACK_HOSTS, admin_app, hosts_for
from server.admin.board import BOARD
from server.admin.calls import CALLS
from server.admin.pages import PAGES

__all__ = ["BOARD", "CALLS", "LOOPBACK_HOSTS", "PAGES", "admin_app", "hosts_for", "read_key"]
