"""A server's answers, for tests that need one."""

import contextlib
import json


class Replies:
    """Beside BaseHTTPRequestHandler."""

    def _reply(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        # Who asked may have gone.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(content)
