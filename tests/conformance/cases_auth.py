"""Who may come in: origins, places for a token, guards, and what the view then knows."""

from typing import Any

import jwt

from server import WebSocket
from server.auth import (
    AllowAny,
    APIKeyAuthentication,
    AuthenticationFailed,
    HasPermission,
    IsAuthenticated,
    JWTAuthentication,
)
from tests.conformance.base import app, note
from tests.conformance.steps import Accepted, Closed, Denied, Gets, GetsJson, Sends, SendsJson, case

SECRET = "the secret of the conformance table: 32 bytes and more"
YEAR_2100_S = 4_102_444_800  # the same in all processes, so that tokens are
KEY = "api-key-of-the-conformance-table"


def token(user: str, secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": YEAR_2100_S, **claims}, secret, "HS256")


ADA = token("ada", permissions=["read"], is_staff=True, plan="pro", teams=["a"])
EVE = token("eve")
FORGED = token("ada", secret=SECRET[::-1])

by_token = JWTAuthentication(SECRET, cookie="token")
by_key = APIKeyAuthentication({"billing": KEY}, key_permissions={"billing": ["read"]})
late = JWTAuthentication(SECRET, first_message_s=8)
known = [IsAuthenticated()]


@app.websocket("/auth/protected", auth=[by_token], guards=known)
@app.websocket("/old-host/auth", auth=[by_token], guards=known)
async def protected(websocket: WebSocket) -> None:
    user_id = websocket.context.get("user_id")
    await websocket.accept()
    await websocket.send_text(f"Welcome, user {user_id}")


@app.websocket_route("/auth/context", auth=[by_token, by_key], guards=[AllowAny()])
async def context(ws: WebSocket) -> None:
    known = {name: value for name, value in ws.context.items() if name != "auth_claims"}
    claims = sorted(ws.context.get("auth_claims", ()))
    await ws.send_json([known, claims, ws.user_id, ws.identity is None])


@app.websocket_route("/auth/subprotocols", auth=[by_token], guards=known, subprotocols=("v1",))
async def subprotocols(ws: WebSocket) -> None:
    await ws.send_json([ws.subprotocols, ws.subprotocol])


@app.websocket_route("/auth/readers/{number}", auth=[by_token], guards=[HasPermission("read")])
@app.websocket_route("/old-host/readers/{number}", auth=[by_token], guards=[HasPermission("read")])
async def readers(ws: WebSocket, number: int) -> None:
    note(ws, f"view {number}")


@app.websocket_route("/auth/late", auth=[late], guards=known, subprotocols=("v1",))
async def after_first_message(ws: WebSocket, number: int = 0) -> None:
    await ws.accept()
    await ws.send_json([ws.user_id, ws.subprotocol, number])


@app.websocket_route("/auth/late/readers", auth=[late], guards=[HasPermission("read")])
async def late_readers(ws: WebSocket) -> None:
    note(ws, "view")


@app.websocket_route("/auth/renew", auth=[by_token], guards=[HasPermission("read")])
async def renews(ws: WebSocket) -> None:
    async with ws:
        async for newer in ws:
            try:
                await ws.renew(newer)
            except AuthenticationFailed as failure:
                await ws.send(failure.detail)
                if newer == FORGED:
                    raise
            else:
                await ws.send_json(ws.context["permissions"])


@app.websocket_route("/auth/origin")
@app.websocket_route("/auth/origin/partner", allowed_origins=["https://partner.example"])
@app.websocket_route("/auth/origin/all", allowed_origins=["*"])
@app.websocket_route("/old-host/origin")
async def origin(ws: WebSocket) -> None:
    await ws.send("in")


WELCOME = (Gets("Welcome, user ada"), Closed(1000))
NOT_KNOWN = (401, '{"detail":"Authentication required"}', {"www-authenticate": "Bearer"})
INVALID = (401, '{"detail":"Invalid token"}', {"www-authenticate": 'Bearer error="invalid_token"'})
NOBODY: list[Any] = [{}, [], None, True]
IN = (Gets("in"), Closed(1000))
PARTNER, STRANGER = "https://partner.example", "https://evil.example"


def of_origin(name: str, path: str, origin: str, *steps: Any) -> Any:
    return case(f"origin-{name}", "C30", path, *steps, headers={"Origin": origin})


def found(user: str, backend: str, claims: list[str], *, is_staff: bool) -> GetsJson:
    """Expect what there is to know of a client that may read."""
    context = {
        "user_id": user,
        "is_staff": is_staff,
        "is_superuser": False,
        "auth_backend": backend,
        "permissions": ["read"],
    }
    return GetsJson([context, claims, user, False])


CASES = [
    # -- places for a token --
    case("token-in-query", "S2.17; C31", f"/auth/protected?token={ADA}", *WELCOME),
    case(
        "token-in-header",
        "S2.15; C31",
        "/auth/protected",
        *WELCOME,
        headers={"Authorization": f"Bearer {ADA}"},
    ),
    case("token-in-cookie", "C31", "/auth/protected", *WELCOME, headers={"Cookie": f"token={ADA}"}),
    case(
        "token-in-subprotocol",
        "C31",
        "/auth/protected",
        *(Accepted("bearer"), *WELCOME),
        subprotocols=("bearer", ADA),
    ),
    case(
        "token-first-place-counts",
        "C31",
        f"/auth/protected?token={ADA}",
        Denied(*INVALID),
        headers={"Cookie": f"token={FORGED}", "Authorization": f"Bearer {ADA}"},
    ),
    case("token-twice", "C31", f"/auth/protected?token={ADA}&token={ADA}", Denied(401, "twice")),
    case(
        "token-is-no-subprotocol",
        "C31",
        "/auth/subprotocols",
        *(Accepted("v1"), GetsJson([["v0", "bearer", "v1"], "v1"]), Closed(1000)),
        subprotocols=("v0", "bearer", ADA, "v1"),
    ),
    case(
        "token-marker-is-accepted",
        "C31",
        "/auth/subprotocols",
        *(Accepted("bearer"), GetsJson([["v0", "bearer"], "bearer"]), Closed(1000)),
        subprotocols=("v0", "bearer", ADA),
    ),
    # -- guards --
    case("auth-required", "S2.15; C32", "/auth/protected", Denied(*NOT_KNOWN)),
    case("auth-invalid", "S2.15; C32", f"/auth/protected?token={FORGED}", Denied(*INVALID)),
    case(
        "auth-forbidden",
        "S2.15; C32",
        f"/auth/readers/1?token={EVE}",
        Denied(403, '{"detail":"Permission denied"}'),
    ),
    case("auth-before-parameters", "C32", "/auth/readers/one", Denied(*NOT_KNOWN)),
    case("auth-then-parameters", "C32", f"/auth/readers/one?token={ADA}", Denied(400, '"number"')),
    case("auth-allowed", "C32", f"/auth/readers/1?token={ADA}", Closed(1000), notes=["view 1"]),
    case(
        "auth-old-host",
        "C32",
        "/old-host/auth",
        Denied(403),
        notes=["websocket.close 401"],
    ),
    case(
        "auth-old-host-forbidden",
        "C32",
        f"/old-host/readers/1?token={EVE}",
        Denied(403),
        notes=["websocket.close 403"],
    ),
    # -- what is known --
    case(
        "auth-context",
        "S2.16; C11",
        f"/auth/context?token={ADA}",
        found("ada", "jwt", ["exp", "is_staff", "plan", "sub"], is_staff=True),
    ),
    case(
        "auth-context-of-a-key",
        "C11; C31",
        "/auth/context",
        found("apikey:billing", "api_key", [], is_staff=False),
        headers={"X-API-Key": KEY},
    ),
    case("auth-context-of-nobody", "C11; C32", "/auth/context", GetsJson(NOBODY)),
    case(
        "auth-context-of-a-bad-token",
        "C11; C32",
        f"/auth/context?token={FORGED}",
        GetsJson(NOBODY),
    ),
    # -- the first message --
    case(
        "first-message",
        "C31",
        "/auth/late?number=7",
        *(Accepted("v1"), Sends(ADA), GetsJson(["ada", "v1", 7]), Closed(1000)),
        subprotocols=("v0", "v1"),
    ),
    case(
        "first-message-binary",
        "C31",
        "/auth/late",
        *(Accepted(None), Sends(ADA.encode()), GetsJson(["ada", None, 0]), Closed(1000)),
    ),
    case(
        "first-message-json",
        "C31",
        "/auth/late",
        *(SendsJson({"type": "auth", "token": ADA}), GetsJson(["ada", None, 0]), Closed(1000)),
    ),
    case(
        "first-message-invalid", "C31", "/auth/late", Sends(FORGED), Closed(4502, "Invalid token")
    ),
    case(
        "first-message-no-token",
        "C31",
        "/auth/late",
        *(SendsJson({"type": "hello"}), Closed(4502, "The first message brings no token")),
    ),
    case(
        "first-message-forbidden",
        "C31; C32",
        "/auth/late/readers",
        *(Sends(EVE), Closed(4503, "Permission denied")),
    ),
    case(
        "first-message-then-parameters",
        "C31; C21",
        "/auth/late?number=x",
        *(Sends(ADA), Closed(1008, "query parameter 'number': Expected `int`, got `str`")),
    ),
    case(
        "first-message-not-needed",
        "C31",
        f"/auth/late?token={ADA}",
        *(GetsJson(["ada", None, 0]), Closed(1000)),
    ),
    # -- a newer token --
    case(
        "renew",
        "C11; C32",
        f"/auth/renew?token={ADA}",
        *(Sends(token("ada", permissions=["read", "write"])), GetsJson(["read", "write"])),
        *(Sends(token("ada")), Gets("Permission denied")),
        *(Sends(token("eve", permissions=["read"])), Gets("The token is of another user")),
        *(Sends(FORGED), Gets("Invalid token"), Closed(4502, "Invalid token")),
    ),
    # -- origins --
    case("origin-none", "C30", "/auth/origin", *IN),
    of_origin("same", "/auth/origin", "http://{authority}", *IN),
    of_origin("same-behind-tls", "/auth/origin", "https://{authority}", *IN),
    of_origin("other", "/auth/origin", STRANGER, Denied(403, '{"detail":"Origin not allowed"}')),
    of_origin("null", "/auth/origin", "null", Denied(403)),
    of_origin("other-port", "/auth/origin", "http://{authority}1", Denied(403)),
    of_origin("allowed", "/auth/origin/partner", PARTNER, *IN),
    of_origin("allowed-and-same", "/auth/origin/partner", "http://{authority}", *IN),
    of_origin("not-allowed", "/auth/origin/partner", STRANGER, Denied(403)),
    of_origin("all", "/auth/origin/all", STRANGER, *IN),
    case(
        "origin-old-host",
        "C30",
        "/old-host/origin",
        Denied(403),
        headers={"Origin": STRANGER},
        notes=["websocket.close 403"],
    ),
]
