"""Packs what was purchased: its answer is an event. And prints labels for what was packed."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Shop(BaseHTTPRequestHandler):
    def do_POST(self):
        heard = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(self.path, self.headers["ce-type"], json.dumps(heard), flush=True)
        if self.path == "/packing":
            self.reply("parcels.parcel.packed", {"parcel": "p-1", "order": heard["order"]})
        else:
            self.send_response(204)
            self.end_headers()

    def reply(self, kind, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("ce-specversion", "1.0")
        self.send_header("ce-id", "packed-" + self.headers["ce-id"])
        self.send_header("ce-source", "/packing")
        self.send_header("ce-type", kind)
        self.send_header("ce-subject", self.headers["ce-subject"])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Shop)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
