"""Refuses invoices without a currency, until somebody tells it that euros are meant: POST /euros."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

understands_euros = False


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        global understands_euros
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/euros":
            understands_euros = True
            return self.answer(204, "mended")
        if not body:
            return self.answer(204, "woken")
        invoice = json.loads(body)
        if "currency" not in invoice and not understands_euros:
            return self.answer(422, f"refused {invoice['number']}", b"an invoice needs a currency")
        self.answer(204, f"took {invoice['number']}")

    def answer(self, status, told, body=b""):
        print(told, self.headers.get("ce-id", ""), flush=True)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 8080), Sink)
print("listening on 127.0.0.1:8080", flush=True)
server.serve_forever()
