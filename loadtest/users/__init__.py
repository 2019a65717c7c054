"""The users of all scenarios, by the names that `loadtest.scenarios` calls them. Imports locust."""

from loadtest.users.base import WebSocketUser
from loadtest.users.broadcast import BroadcastListener, BroadcastPublisher
from loadtest.users.echo import EchoUser, IdleUser
from loadtest.users.rooms import RoomUser, SlowUser
from loadtest.users.storm import StormUser
from loadtest.users.visits import AuthUser, ChurnUser

USERS: dict[str, type[WebSocketUser]] = {
    user.__name__: user
    for user in (
        AuthUser,
        BroadcastListener,
        BroadcastPublisher,
        ChurnUser,
        EchoUser,
        IdleUser,
        RoomUser,
        SlowUser,
        StormUser,
    )
}
