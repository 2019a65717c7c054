"""Owns the first look at what is to be tested: is it a WebSocket server, at that address and path.

It opens one connection and closes it; what goes wrong becomes a sentence that says what to do.
"""

import socket
import ssl
from collections.abc import Collection

from websocket import (
    WebSocket,
    WebSocketAddressException,
    WebSocketBadStatusException,
    WebSocketException,
    WebSocketTimeoutException,
    create_connection,
)

from loadtest.addresses import Target, TargetError

TIMEOUT_S = 10.0


def try_connection(target: Target, path: str, *, fine: Collection[str] = ()) -> None:
    """Open a connection to this path of it, and close it.

    Args:
        fine: HTTP statuses that are answers of the right route, too.

    Raises:
        TargetError: there is none to be had.
    """
    url = f"{target.url}{path}"
    try:
        _connect_and_close(url, target.tls)
    except WebSocketBadStatusException as error:
        if str(error.status_code) not in fine:
            raise TargetError(_refused(url, error.status_code)) from None
    except (TimeoutError, WebSocketTimeoutException):
        raise TargetError(f"{url} has not answered within {TIMEOUT_S:.0f} s") from None
    except ssl.SSLCertVerificationError as error:
        raise TargetError(
            f"{url}: the certificate is not trusted ({error.verify_message}); name the file with "
            "its authority with --tls-authorities"
        ) from None
    except ssl.SSLError as error:
        raise TargetError(_no_tls(target.url, error)) from None
    except (WebSocketAddressException, UnicodeError):
        raise TargetError(f"{url}: there is no host of that name") from None
    except ConnectionRefusedError:
        raise TargetError(f"{target.url}: nobody listens there; is the server running?") from None
    except (OSError, WebSocketException) as error:
        raise TargetError(_no_websocket(target.url, error)) from None


def _connect_and_close(url: str, tls: ssl.SSLContext | None) -> None:
    made = create_connection(
        url,
        timeout=TIMEOUT_S,
        sslopt={"context": tls} if tls is not None else {},
        http_no_proxy=["*"],
        redirect_limit=0,
    )
    assert isinstance(made, WebSocket)
    made.close(timeout=1)


def _refused(url: str, status: int) -> str:
    text = f"{url} was refused with HTTP {status}"
    if status in (403, 404):
        return f"{text}: is the path right? It is what a path gets that is no WebSocket route"
    if status in (401, 407):
        return f"{text}: it wants to know who you are; is LOADTEST_JWT_SECRET its key?"
    if status in (429, 503):
        return f"{text}: a limit of the server, or it is draining"
    return f"{text}: is it a WebSocket server?" if status < 500 else text


def _no_tls(url: str, error: ssl.SSLError) -> str:
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{url}: what listens there speaks no TLS; try {url.replace('wss://', 'ws://', 1)}"
    return f"{url}: TLS failed: {error.reason or error}"


def _no_websocket(url: str, error: Exception) -> str:
    if "redirect" in str(error).lower():
        return f"{url} leads elsewhere; give the address it leads to"
    hint = f"; if it speaks TLS, try {url.replace('ws://', 'wss://', 1)}"
    text = f"{url} did not answer as a WebSocket server does ({str(error) or type(error).__name__})"
    return text + (hint if url.startswith("ws://") else "")


def is_gone(target: Target) -> bool:
    """Tell whether nobody listens there any more; one who is too busy to answer is not gone."""
    try:
        socket.create_connection((target.host, target.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False
