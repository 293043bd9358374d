"""A JSON-RPC node with the scripted events of a federation that never ran.

    PYTHONPATH=benchmarks python -m _dashboard.node --rounds 1000 --parties 100

It prints its URL and the federation's address, and serves until its standard input is closed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from _dashboard.rounds import ADDRESS, Script


def serve(script: Script) -> ThreadingHTTPServer:
    """A server of the script on a free port of 127.0.0.1; it runs in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            result = script.answer(asked["method"], asked["params"])
            body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Do not report that a client has closed its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--parties", type=int, default=100)
    options = parser.parse_args()
    server = serve(Script(options.rounds, options.parties))
    print(f"http://127.0.0.1:{server.server_port} {ADDRESS}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
