"""What a broker has in front of its requests: TLS, certificates of clients, SASL with PLAIN (RFC 4616) and SCRAM
(RFC 5802). Behind it is a broker that has none of these. Kafka's protocol: https://kafka.apache.org/protocol."""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading

import common

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
UNSUPPORTED_VERSION, UNSUPPORTED_MECHANISM, AUTHENTICATION_FAILED = 35, 33, 58
ITERATIONS = 4096
SCRAM = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}

options = common.arguments()


class Refused(Exception):
    pass


def read(connection, length):
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def read_frame(connection):
    return read(connection, struct.unpack(">i", read(connection, 4))[0])


def write_frame(connection, frame):
    connection.sendall(struct.pack(">i", len(frame)) + frame)


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def with_sasl(version, response):
    """The answer to ApiVersions, with the two requests of SASL in it. Newer clients hear that theirs is too new."""
    head, error = response[:6], struct.unpack_from(">h", response, 4)[0]
    assert version < 3 or error == UNSUPPORTED_VERSION
    count = struct.unpack_from(">i", response, 6)[0]
    ours = b"".join(struct.pack(">hhh", key, 0, 1) for key in (SASL_HANDSHAKE, SASL_AUTHENTICATE))
    return head + struct.pack(">i", count + 2) + ours + response[10:]


def plain():
    _, user, password = ((yield).decode()).split("\0")
    if (user, password) != (options.user, options.token):
        raise Refused
    yield b""


def scram(algorithm):
    """The server's side of RFC 5802 section 3, without channel binding."""
    sign = lambda key, message: hmac.digest(key, message, algorithm)
    first = (yield).decode()
    assert first.startswith("n,,")
    bare = first[3:]
    given = dict(part.split("=", 1) for part in bare.split(","))
    salt, nonce = os.urandom(16), given["r"] + base64.b64encode(os.urandom(18)).decode()
    challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={ITERATIONS}"
    last = (yield challenge.encode()).decode()
    without_proof, proof = last.rsplit(",p=", 1)
    assert without_proof == f"c=biws,r={nonce}"
    salted = hashlib.pbkdf2_hmac(algorithm, options.token.encode(), salt, ITERATIONS)
    client_key = sign(salted, b"Client Key")
    stored = hashlib.new(algorithm, client_key).digest()
    message = f"{bare},{challenge},{without_proof}".encode()
    proven = bytes(a ^ b for a, b in zip(base64.b64decode(proof), sign(stored, message)))
    if given["n"] != options.user or not hmac.compare_digest(proven, client_key):
        raise Refused
    yield b"v=" + base64.b64encode(sign(sign(salted, b"Server Key"), message))


def before_requests(client, broker):
    """Answers until the client may send requests; gives the first of them."""
    is_known, exchange, steps = False, None, 0
    while True:
        frame = read_frame(client)
        api, version, number, name_bytes = struct.unpack_from(">hhih", frame)
        body, reply = frame[10 + max(name_bytes, 0) :], struct.pack(">i", number)
        if api == API_VERSIONS:
            write_frame(broker, frame)
            response = read_frame(broker)
            write_frame(client, with_sasl(version, response) if options.user else response)
        elif api == SASL_HANDSHAKE and options.user:
            mechanism = body[2:].decode()
            mechanisms = [options.kind] if options.kind else ["PLAIN", *SCRAM]
            listed = struct.pack(">i", len(mechanisms)) + b"".join(map(text, mechanisms))
            error = 0 if mechanism in mechanisms else UNSUPPORTED_MECHANISM
            write_frame(client, reply + struct.pack(">h", error) + listed)
            if not error:
                exchange = plain() if mechanism == "PLAIN" else scram(SCRAM[mechanism])
                next(exchange)
                steps = 1 if mechanism == "PLAIN" else 2
        elif api == SASL_AUTHENTICATE and steps:
            try:
                answer = exchange.send(body[4:])
            except Refused:
                refusal = struct.pack(">h", AUTHENTICATION_FAILED) + text("Authentication failed: wrong credentials")
                write_frame(client, reply + refusal + struct.pack(">i", 0) + struct.pack(">q", 0) * version)
                raise
            steps -= 1
            lifetime = struct.pack(">q", 0) * version
            write_frame(client, reply + struct.pack(">hh", 0, -1) + struct.pack(">i", len(answer)) + answer + lifetime)
            is_known = not steps
        elif options.user and not is_known:
            raise Refused
        else:
            return frame


def answers(broker, client):
    """Answers of the broker: where its own address is in one, this one's."""
    own = b"127.0.0.1" + struct.pack(">i", options.upstream)
    front = b"localhost" + struct.pack(">i", options.port)
    try:
        while True:
            write_frame(client, read_frame(broker).replace(own, front))
    except (EOFError, OSError):
        client.close()


def serve(client):
    try:
        if context:
            client = context.wrap_socket(client, server_side=True)
        with client, socket.create_connection(("127.0.0.1", options.upstream)) as broker:
            frame = before_requests(client, broker)
            threading.Thread(target=answers, args=(broker, client), daemon=True).start()
            while True:
                write_frame(broker, frame)
                frame = read_frame(client)
    except (EOFError, OSError, Refused):
        # Connections that are refused or break are what the tests are about.
        client.close()


context = None
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    if options.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(options.client_ca)

listener = socket.create_server(("127.0.0.1", options.port))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
