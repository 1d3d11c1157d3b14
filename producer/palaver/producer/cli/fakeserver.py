"""fakeredis behind a TCP port, for machines without any Redis; a script with the port as its argument.

A demonstration only: one Python process, a hundred times slower than Redis, nothing kept.
"""

import sys

from fakeredis import TcpFakeServer


def main(port: int) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis", server_version=(7, 0))
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
