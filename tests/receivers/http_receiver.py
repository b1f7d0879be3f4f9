"""Receivers over HTTP: Splunk's event collector with acknowledgement, Elasticsearch's bulk interface, a webhook with
signature, OTLP. They do what the products document, and what goes wrong with them."""

import base64
import gzip
import hashlib
import hmac
import json
import socket
import ssl
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import common

options = common.arguments()
faults = common.Faults(options.faults)
log = common.Log(options.log)
keep = common.Keep(options.keep)
known = set()
pending = {}
last_ack = 0


class Refused(Exception):
    def __init__(self, status, body):
        self.status, self.body = status, body


class Reset(Exception):
    pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        keep(body)
        try:
            status, answer, headers = self.answer(body)
        except Refused as refused:
            status, answer, headers = refused.status, refused.body, {}
        except Reset:
            # A linger of zero: close(2) sends a RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, body):
        path = self.path.split("?")[0]
        if path == "/services/collector/ack":
            return 200, acknowledge(self, json.loads(body)), {}
        fault = faults.next()
        if "hang" in fault:
            time.sleep(fault["hang"])
            raise Reset()
        if fault.get("reset"):
            raise Reset()
        if "status" in fault:
            return fault["status"], {"text": "as told", "code": 0}, fault.get("headers", {})
        if (options.kind, path) not in KINDS:
            raise Refused(404, {"text": f"Cannot POST {self.path}"})
        answer = KINDS[options.kind, path](self, body, fault)
        if fault.get("take_and_reset"):
            raise Reset()
        return 200, answer, {}


def check_token(handler, scheme):
    if handler.headers.get("Authorization") != f"{scheme} {options.token}":
        given = handler.headers.get("Authorization", "")
        if given.startswith("Basic "):
            given += " (" + base64.b64decode(given.removeprefix("Basic ")).decode() + ")"
        raise Refused(403, {"text": f"Invalid token {given}", "code": 4})


def collect(handler, body, fault):
    global last_ack
    check_token(handler, "Splunk")
    if not handler.headers.get("X-Splunk-Request-Channel"):
        raise Refused(400, {"text": "Data channel is missing", "code": 10})
    events = [json.loads(line) for line in body.splitlines()]
    records = [common.of_record(event["event"]) for event in events]
    for event, (seq, uid, _) in zip(events, records):
        assert event["fields"]["dbgov_id"] == uid and event["fields"]["dbgov_seq"] == seq
        assert event["host"] and event["sourcetype"] and float(event["time"]) > 0
    if options.no_acknowledgement:
        log.write(records)
        return {"text": "Success", "code": 0}
    last_ack += 1
    if fault.get("keep_and_forget"):
        log.write(records)
    elif not fault.get("lose"):
        pending[last_ack] = (time.monotonic() + options.acknowledge_after, records)
    return {"text": "Success", "code": 0, "ackId": last_ack}


def acknowledge(handler, question):
    """What was not acknowledged was only in memory: it is written now."""
    check_token(handler, "Splunk")
    if options.no_acknowledgement:
        raise Refused(400, {"text": "ACK is disabled", "code": 14})
    acks = {}
    for ack in question["acks"]:
        due, records = pending.get(ack, (None, None))
        acks[str(ack)] = due is not None and due <= time.monotonic()
        if acks[str(ack)]:
            log.write(pending.pop(ack)[1])
    return {"acks": acks}


def bulk(handler, body, fault):
    check_token(handler, "ApiKey")
    lines = body.split(b"\n")
    assert lines[-1] == b"", "a bulk request ends with a newline"
    items, taken = [], []
    for at in range(0, len(lines) - 1, 2):
        action, record = json.loads(lines[at])["create"], json.loads(lines[at + 1])
        assert action["_index"].startswith("dbgov-2"), action
        items.append({"create": create(action["_id"], record, lines[at + 1], at // 2, fault, taken)})
    log.write(taken)
    return {"errors": any("error" in item["create"] for item in items), "items": items}


def create(uid, record, line, at, fault, taken):
    if b"mapping-error" in line:
        return {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "failed to parse"}}
    if fault.get("busy_each") and at % fault["busy_each"] == 0:
        return {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue full"}}
    if uid in known:
        return {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
    known.add(uid)
    taken.append(common.of_record(record))
    return {"status": 201}


def hook(handler, body, fault):
    parts = dict(part.split("=", 1) for part in handler.headers["X-Dbgov-Signature"].split(","))
    signed = hmac.new(options.token.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signed, parts["v1"]) or abs(time.time() - int(parts["t"])) > 60:
        raise Refused(401, {"text": "the signature is wrong"})
    log.write([common.of_record(json.loads(line)) for line in body.splitlines()])
    return b""


def logs(handler, body, fault):
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

    assert handler.headers["Content-Type"] == "application/x-protobuf"
    request = logs_service_pb2.ExportLogsServiceRequest.FromString(body)
    log.write(list(common.of_log_records(request)))
    return logs_service_pb2.ExportLogsServiceResponse().SerializeToString()


KINDS = {
    ("splunk", "/services/collector/event"): collect,
    ("elasticsearch", "/_bulk"): bulk,
    ("webhook", "/hook"): hook,
    ("otlp", "/v1/logs"): logs,
}

if options.kind == "elasticsearch":
    with open(options.log) as lines:
        known.update(line.split()[1] for line in lines)


class Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Connections that break are what the tests are about."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", options.port), Handler)
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    if options.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(options.client_ca)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
