"""A server that speaks as much of Apache Tika's protocol as a client of its text needs. Prints its port.

Its text is what it was asked, as JSON; a file that says `status N` or `cut` gets that.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLD = ("accept", "content-type", "x-tika-ocrlanguage")


class Handler(BaseHTTPRequestHandler):
    """PUT /tika."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = int(body[7:]) if body.startswith(b"status ") else 200
        asked = {"path": self.path, **{name: self.headers[name] for name in TOLD}, "bytes": len(body)}
        text = json.dumps(asked).encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("content-length", str(len(text) + (body == b"cut")))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = body == b"cut"

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
