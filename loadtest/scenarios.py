"""Owns the list of scenarios: what each does, to which routes, and when it was a success.

It is data for the generator, for reports and for verdicts. It knows neither locust nor a socket.
"""

import msgspec


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What users do to a server.

    Attributes:
        help: one line.
        users: the classes of users, by name, of `loadtest.users`.
        routes: templates of those that it uses, as `examples.showcase` has them.
        default_users, spawn_rate, duration_s: when nobody says otherwise.
        interval_s, rate, payload_bytes, room_size: of the options of that name, likewise.
        close_codes: with which connections may end. 1006 is there where clients drop theirs.
        refusals: statuses that handshakes may be answered with.
        is_complete: whether all deliveries have to come, each once, in order.
        is_recovered: whether all that reconnect have to get what they missed.
        is_all_read: whether clients read all that is sent to them. Not if they vanish: nobody
            can say what of the last messages to them was still sent.
        success: all of that as a sentence.
    """

    name: str
    help: str
    users: tuple[str, ...]
    routes: tuple[str, ...]
    default_users: int
    spawn_rate: float
    duration_s: float
    interval_s: float = 10.0
    rate: float = 0.0
    payload_bytes: int = 100
    room_size: int = 20
    close_codes: frozenset[str] = frozenset({"1000"})
    refusals: frozenset[str] = frozenset()
    is_complete: bool = True
    is_recovered: bool = False
    is_all_read: bool = True
    success: str = "every message is answered once, and all connections end with 1000"


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="echo",
            help="send a message, wait for its answer, send the next; or --rate a second",
            users=("EchoUser",),
            routes=("/ws/echo",),
            default_users=100,
            spawn_rate=100,
            duration_s=60,
        ),
        Scenario(
            name="idle",
            help="hold connections, with a message every --interval seconds on each",
            users=("IdleUser",),
            routes=("/ws/echo",),
            default_users=2000,
            spawn_rate=200,
            duration_s=60,
            interval_s=10.0,
        ),
        Scenario(
            name="room",
            help="chat in rooms of --room-size, where everybody speaks now and then",
            users=("RoomUser",),
            routes=("/ws/room/{room_id}",),
            default_users=200,
            spawn_rate=100,
            duration_s=60,
            interval_s=5.0,
            success="every member gets every message of its room once and in order",
        ),
        Scenario(
            name="broadcast",
            help="one publisher sends --rate messages a second to all others",
            users=("BroadcastPublisher", "BroadcastListener"),
            routes=("/ws/broadcast",),
            default_users=500,
            spawn_rate=100,
            duration_s=60,
            rate=5.0,
            success="every listener gets every message once and in order",
        ),
        Scenario(
            name="churn",
            help="connect, send --messages, leave, again and again",
            users=("ChurnUser",),
            routes=("/ws/json",),
            default_users=50,
            spawn_rate=50,
            duration_s=60,
            interval_s=0.1,
        ),
        Scenario(
            name="storm",
            help="rooms of the realtime protocol; now and then many are cut off and come back",
            users=("StormUser",),
            routes=("/realtime",),
            default_users=200,
            spawn_rate=100,
            duration_s=60,
            interval_s=2.0,
            close_codes=frozenset({"1000", "1006"}),
            is_recovered=True,
            is_all_read=False,
            success="all that come back get what they missed, and nobody has a gap or a duplicate",
        ),
        Scenario(
            name="slow",
            help="rooms in which some read more slowly than is sent to them",
            users=("SlowUser",),
            routes=("/ws/room/{room_id}",),
            default_users=20,
            spawn_rate=20,
            duration_s=60,
            rate=50.0,
            payload_bytes=16_384,
            room_size=10,
            close_codes=frozenset({"1000", "1006", "1013"}),
            success="slow members are closed with 1013, and the others get everything in time",
        ),
        Scenario(
            name="auth",
            help="connect with a token, in the query or as subprotocol; some tokens are bad",
            users=("AuthUser",),
            routes=("/ws/protected",),
            default_users=50,
            spawn_rate=50,
            duration_s=60,
            interval_s=1.0,
            refusals=frozenset({"401"}),
            success="every good token is let in, and every bad one is refused with 401",
        ),
    )
}
