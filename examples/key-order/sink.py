"""Takes two seconds for alice's first record, and no time for any other."""
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(who, n, what):
    # One write for the whole line: two calls at a time would mix their words.
    print(f"{who} {n} {what}\n", end="", flush=True)


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        if self.headers["ce-type"] == "dev.till.wake":
            return self.settled()
        n = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["n"]
        who = self.headers["ce-partitionkey"] or self.headers["ce-subject"]
        say(who, n, "begins")
        time.sleep(2 if (who, n) == ("alice", 1) else 0)
        say(who, n, "ends")
        self.settled()

    def settled(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Sink)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
