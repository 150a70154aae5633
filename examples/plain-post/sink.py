"""Prints what is posted to it. Any HTTP server will do; this one comes with Python."""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(self.path, body.decode(), "key:", self.headers.get("ce-partitionkey"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Sink)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
