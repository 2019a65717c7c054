"""The protected route as Django-Bolt's guide prints it ("Authentication"), but for its imports.

The guide's `api = BoltAPI()` is in its first example. Its words are right about what happens here;
in Django-Bolt itself there never was a `websocket.context`, nor a token in the query string.
"""

from server import BoltAPI, WebSocket
from server.auth import IsAuthenticated, JWTAuthentication

api = BoltAPI()


# fmt: off
@api.websocket(
    "/ws/protected",
    auth=[JWTAuthentication()],
    guards=[IsAuthenticated()]
)
async def protected(websocket: WebSocket):
    user_id = websocket.context.get("user_id")
    await websocket.accept()
    await websocket.send_text(f"Welcome, user {user_id}")
# fmt: on
