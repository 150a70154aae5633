"""An endpoint that speaks TLS alone, and to those alone whose certificate our authority has signed."""
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        subject = dict(pair for part in self.connection.getpeercert()["subject"] for pair in part)
        if body:
            print(self.path, body.decode(), "from:", subject["commonName"], flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="ca.crt")
context.load_cert_chain("sink/tls.crt", "sink/tls.key")
context.verify_mode = ssl.CERT_REQUIRED
server = ThreadingHTTPServer(("127.0.0.1", 8080), Sink)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
