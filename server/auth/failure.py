"""Owns the words in which authentication refuses a token; knows no token and no key.

The client is told one of these, so none of them may have anything of the token in it.
"""

MAX_TOKEN_BYTES = 8192

INVALID = "Invalid token"
EXPIRED = "Token expired"
TOO_EARLY = "Token not valid yet"
NO_EXPIRY = "Token without exp"
NO_ID = "Token without jti"
REVOKED = "Token revoked"
WRONG_AUDIENCE = "Wrong audience"
WRONG_ISSUER = "Wrong issuer"
WRONG_TYPE = "Wrong token type"
INVALID_KEY = "Invalid API key"
TOO_LONG = f"Token over {MAX_TOKEN_BYTES:,} bytes"
NOT_ASCII = "Token is not printable ASCII"


class AuthenticationFailed(Exception):
    """A token was presented and is no good; answered with 401, or with 4502 on an open connection.

    Attributes:
        detail: for the client; nothing of the token or a key may be in it.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
