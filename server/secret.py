"""Owns the reading of a secret from the environment or a file; never shows one."""

import os
from pathlib import Path

from server.exceptions import SettingsError


def read_secret(name: str, *, what: str) -> str | None:
    """Return the environment variable `name`, or the text of the file that `name_FILE` names.

    Args:
        what: the secret's purpose, for the error message.

    Returns:
        None if neither is set. White space around the text of a file is no part of it.

    Raises:
        SettingsError: both are set, or the file cannot be read.
    """
    value, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not file:
        return value or None
    if value:
        raise SettingsError(f"{what}: {name} and {name}_FILE are both set; keep one")
    try:
        return Path(file).read_text().strip() or None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{what}: {name}_FILE={file}: {reason}") from None
