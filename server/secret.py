"""Owns how a secret is read, from the environment or a file; knows not what it opens.

No message in here has anything of the secret in it.
"""

import os
from pathlib import Path

from server.exceptions import SettingsError

MAX_FILE_BYTES = 1024 * 1024


def how_to_make(size_bytes: int | None = None) -> str:
    """Return the end of a message: the command that makes a good secret of that many bytes."""
    size = size_bytes or ""
    return f"make one with `python -c 'import secrets; print(secrets.token_urlsafe({size}))'`"


def read_secret(name: str, *, what: str) -> str | None:
    """Return the secret from the variable `name`, or from the file that `name`_FILE names.

    It stays in the environment: several backends of an app may need the same one.

    Args:
        name: of the environment variable; one that is empty counts as not set.
        what: the secret is, for messages.

    Returns:
        The secret without the line break at its end; None if neither variable is set.

    Raises:
        SettingsError: both are set, or the file is empty or cannot be read.
    """
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and path:
        raise SettingsError(f"{what}: {name} and {name}_FILE are both set: keep one of them")
    if not path:
        return value or None
    source = f"{what}: {name}_FILE {path}"
    secret = read_secret_file(Path(path), source).rstrip("\r\n")
    if not secret:
        raise SettingsError(f"{source}: the file is empty")
    return secret


def read_secret_file(path: Path, source: str) -> str:
    """Return the text of a file, as it is.

    Args:
        path: of the file, at most 1 MiB of UTF-8.
        source: the file is, for messages.

    Raises:
        SettingsError: it cannot be read, is too large, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{source}: {error.strerror}") from None
    except ValueError:  # a NUL byte in its name
        raise SettingsError(f"{source}: no such file") from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{source}: the file is over {MAX_FILE_BYTES:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{source}: the file is no UTF-8 text") from None
