"""Owns authentication by API key: which keys there are, and whose each is; shows none of them."""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from server.auth.failure import INVALID_KEY, MAX_TOKEN_BYTES, AuthenticationFailed
from server.auth.identity import Identity, user_id_problem
from server.auth.places import Places, check_token
from server.exceptions import SettingsError
from server.secret import how_to_make, read_secret

KEYS_VARIABLE = "SWITCHBOARD_API_KEYS"
MIN_CHARS = 16

_NO_KEYS = (
    f"APIKeyAuthentication has no keys: give api_keys=, or set {KEYS_VARIABLE} (with commas"
    f" between them) or {KEYS_VARIABLE}_FILE (one a line); {how_to_make()}"
)


@dataclass(frozen=True)
class _Key:
    digest: bytes = field(repr=False)
    user_id: str
    permissions: frozenset[str]


class APIKeyAuthentication:
    """Authenticates by one of a set of keys: `auth=[APIKeyAuthentication({"..."})]`.

    The `user_id` is "apikey:" and the key's name in `api_keys`; without names, the first 12 hex
    characters of its SHA-256. In Django-Bolt it is the key itself, which would show the key in the
    registry, on the admin port and in the logs.

    Attributes:
        places: where a client may put its key.
    """

    def __init__(
        self,
        api_keys: Collection[str] | Mapping[str, str] | None = None,
        header: str | None = "x-api-key",
        key_permissions: Mapping[str, Iterable[str]] | None = None,
        *,
        cookie: str | None = None,
        query_param: str | None = None,
        subprotocol: str | None = None,
    ) -> None:
        """Take the keys. Only their digests are kept.

        Args:
            api_keys: a set or list of them, or a mapping of names to them; an empty one lets
                nobody in. None: those of SWITCHBOARD_API_KEYS (with commas between them) or of the
                file named by SWITCHBOARD_API_KEYS_FILE (one a line).
            header: that brings the key, with or without "Bearer" or "ApiKey"; None: none does.
            key_permissions: the key or its name -> what it may do, for the guards.
            cookie, query_param, subprotocol: other places for the key, see `Places`.

        Raises:
            SettingsError: there are no keys, one is short or can be no token, a name makes no user
                id, or permissions are for no key; nothing of a key is in it.
        """
        self.places = Places(
            cookie=cookie,
            header=None if header is None else header.lower(),
            schemes=("bearer", "apikey"),
            subprotocol=subprotocol,
            query_param=query_param,
        )
        given = _pairs(_read_keys() if api_keys is None else api_keys)
        self._keys = _with_permissions(given, key_permissions or {})

    def __repr__(self) -> str:
        return f"APIKeyAuthentication({len(self._keys)} keys)"

    async def identify(self, token: str) -> Identity:
        """Return whose key it is; the time that takes does not depend on how much of it is right.

        Raises:
            AuthenticationFailed: it is nobody's.
        """
        check_token(token)
        digest = _digest(token)
        found = None
        for key in self._keys:  # all of them: the time must not tell which one it is, either
            if hmac.compare_digest(digest, key.digest):
                found = key
        if found is None:
            raise AuthenticationFailed(INVALID_KEY)
        return Identity(backend="api_key", user_id=found.user_id, permissions=found.permissions)


def _read_keys() -> list[str]:
    text = read_secret(KEYS_VARIABLE, what="the keys of APIKeyAuthentication")
    if text is None:
        raise SettingsError(_NO_KEYS)
    keys = [key.strip() for line in text.splitlines() for key in line.split(",")]
    return [key for key in keys if key]


def _pairs(api_keys: Collection[str] | Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Return each key with its name."""
    pairs: list[tuple[str | None, str]]
    if isinstance(api_keys, Mapping):
        pairs = list(api_keys.items())
    elif isinstance(api_keys, list | tuple | set | frozenset):
        pairs = [(None, key) for key in dict.fromkeys(api_keys)]
    else:
        raise SettingsError("api_keys= is a set or list of keys, or a mapping of names to them")
    for number, (name, key) in enumerate(pairs, 1):
        _check_key(f"API key {number}" if name is None else f"API key {name!r}", key)
    if len({key for _, key in pairs}) < len(pairs):
        raise SettingsError("api_keys= has the same key under two names")
    return pairs


def _check_key(called: str, key: object) -> None:
    if not isinstance(key, str):
        raise SettingsError(f"{called} is no text but {type(key).__name__}")
    if not MIN_CHARS <= len(key) <= MAX_TOKEN_BYTES:
        raise SettingsError(
            f"{called} has {len(key)} characters, it needs at least {MIN_CHARS}: {how_to_make()}"
        )
    try:
        check_token(key)
    except AuthenticationFailed:
        raise SettingsError(f"{called} has more than ASCII characters without spaces") from None


def _with_permissions(
    pairs: list[tuple[str | None, str]], key_permissions: Mapping[str, Iterable[str]]
) -> tuple[_Key, ...]:
    known = {text for pair in pairs for text in pair}
    if any(text not in known for text in key_permissions):
        raise SettingsError("key_permissions= has what is no key, and no name of one")
    keys = []
    for name, key in pairs:
        permissions = [_permissions(key_permissions.get(text or "", ())) for text in (name, key)]
        keys.append(_Key(_digest(key), _user_id(name, key), permissions[0] | permissions[1]))
    return tuple(keys)


def _permissions(given: Iterable[str]) -> frozenset[str]:
    found = frozenset() if isinstance(given, str | bytes) else frozenset(given)
    if isinstance(given, str | bytes) or not all(isinstance(text, str) for text in found):
        raise SettingsError("key_permissions= has for each key a set or list of texts")
    return found


def _user_id(name: str | None, key: str) -> str:
    user_id = f"apikey:{_digest(key).hex()[:12] if name is None else name}"
    problem = "has no name" if name == "" else user_id_problem(user_id)
    if problem:
        raise SettingsError(f"the user id {user_id!r} of an API key {problem}")
    return user_id


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
