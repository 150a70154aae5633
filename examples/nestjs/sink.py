"""Adds numbers. It knows HTTP and JSON, and nothing of NestJS or Kafka."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Adder(BaseHTTPRequestHandler):
    def do_POST(self):
        numbers = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if isinstance(numbers, list):
            self.answer(200, {"sum": sum(numbers)})
        else:
            self.answer(422, {"detail": "a list of numbers, please"})

    def answer(self, status, data):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Adder)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
