"""The API-key example as Bocadillo's guide prints it (`reject()`), but for its import.

Two errors of the guide are corrected, each marked below: the page has lost the decorator's line,
which has to say `auto_accept=False`; and `reject()` does not end the view, so `return` follows it.
"""

from server import App

app = App()


@app.websocket_route("/hello", auto_accept=False)  # corrected: this line is not in the guide
async def hello(ws):
    if ws.headers.get("api-key") != "s3kr3t":
        await ws.reject()
        return  # corrected: this line is not in the guide
    async with ws:
        ...  # Proceed with an authorized client
