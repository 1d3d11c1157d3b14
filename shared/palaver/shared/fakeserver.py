"""fakeredis behind a TCP port, for tests and machines without any Redis; a script with the port as its
argument.

One Python process, a hundred times slower than Redis, nothing kept.
"""

import sys
from typing import Any

from fakeredis import TcpFakeServer
from redis.exceptions import ResponseError


def serving(port: int) -> TcpFakeServer:
    """A server on 127.0.0.1 whose `serve_forever` is still to be called."""
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis", server_version=(7, 0))
    server.daemon_threads = True
    kind: Any = server.RequestHandlerClass

    class Handler(kind):  # type: ignore[misc]
        """An error reply is a reply: fakeredis's own handler closes the connection after it. Each reply is a
        packet, and leaves at once: those behind the first of a pipeline would wait 40 ms for a client that
        answers nothing.
        """

        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def reply() -> Any:
                try:
                    return read()
                except ResponseError as error:
                    return error

            self.current_client.read_response = reply

    server.RequestHandlerClass = Handler
    return server


if __name__ == "__main__":
    serving(int(sys.argv[1])).serve_forever()
