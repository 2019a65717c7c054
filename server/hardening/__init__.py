"""What `python -m server check --production` looks for, item by item; see docs/security.md."""

from server.hardening.checklist import ITEMS, has_failed, judge, summary
from server.hardening.findings import Finding
from server.hardening.machine import Machine, look_at_machine

__all__ = ["ITEMS", "Finding", "Machine", "has_failed", "judge", "look_at_machine", "summary"]
