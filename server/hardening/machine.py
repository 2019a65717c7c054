"""Owns the look at the machine for the check-list: who runs the server, and who reads its secrets.

It opens no secret. Of the settings file it wants to know only whether a key is in it.
"""

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from server.settings import ENV_PREFIX, Settings
from workers.preflight import connections_per_worker

_ADMIN_KEY_FILE = f"{ENV_PREFIX}ADMIN_KEY_FILE"


@dataclass(frozen=True, kw_only=True)
class SecretFile:
    """A file with a secret in it.

    Attributes:
        source: what names it.
        mode: its permissions; None: it cannot be looked at.
    """

    source: str
    path: str
    mode: int | None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is known of the machine and of this process.

    Attributes:
        user_id: whom the server runs as; 0 is root.
        host, admin_host: the IP addresses that it listens on.
        connections_per_worker: by the number of files that one may open.
        admin_key_chars: the length of the admin key; None: there is none.
    """

    user_id: int
    host: str
    admin_host: str
    connections_per_worker: int
    admin_key_chars: int | None = None
    secret_files: tuple[SecretFile, ...] = ()


def look_at_machine(
    settings: Settings,
    *,
    host: str,
    admin_host: str,
    admin_key: str | None,
    config_file: Path | None,
) -> Machine:
    """Return what is known of the machine.

    Args:
        host, admin_host: as IP addresses.
        config_file: that the settings were read from.
    """
    return Machine(
        user_id=os.geteuid(),
        host=host,
        admin_host=admin_host,
        connections_per_worker=connections_per_worker(),
        admin_key_chars=None if admin_key is None else len(admin_key),
        secret_files=_secret_files(settings, config_file),
    )


def _secret_files(settings: Settings, config_file: Path | None) -> tuple[SecretFile, ...]:
    found = []
    if settings.admin_key_file:
        found.append(("admin_key_file", settings.admin_key_file))
    if config_file is not None and _has_key(config_file):
        found.append(("admin_key in", str(config_file)))
    for name, value in sorted(os.environ.items()):
        is_ours = name.startswith(ENV_PREFIX) and name.endswith("_FILE")
        if is_ours and name != _ADMIN_KEY_FILE and value:  # that one is a setting
            found.append((name, value))
    return tuple(
        SecretFile(source=source, path=path, mode=_mode(Path(path))) for source, path in found
    )


def _has_key(config_file: Path) -> bool:
    try:
        return bool(tomllib.loads(config_file.read_text()).get("admin_key"))
    except (OSError, ValueError):
        return False


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return None
