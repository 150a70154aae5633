"""Takes two seconds for alice's first record, and no time for any other."""
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        n = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["n"]
        who = self.headers["ce-partitionkey"] or self.headers["ce-subject"]
        print(who, n, "begins", flush=True)
        time.sleep(2 if (who, n) == ("alice", 1) else 0)
        print(who, n, "ends", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Sink)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
