"""What the receivers of the tests share: a log of what arrived, and what to do wrong when."""

import argparse
import json
import os
import threading


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True, help="a line `seq id session` for each record that arrived")
    parser.add_argument("--keep", help="a file for all that arrives, uncompressed")
    parser.add_argument("--kind", default="")
    parser.add_argument("--token", default="")
    parser.add_argument("--user", default="")
    parser.add_argument("--upstream", type=int, help="the port of who is behind this one")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--client-ca", help="clients have to show a certificate of this authority")
    parser.add_argument("--acknowledge-after", type=float, default=0.0, help="seconds")
    parser.add_argument("--no-acknowledgement")
    parser.add_argument("--faults", default="{}", help='{"3": {"status": 500}}: what to do with the third request')
    return parser.parse_args()


class Faults:
    def __init__(self, text):
        self.by_number = {int(number): fault for number, fault in json.loads(text).items()}
        self.count = 0
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            self.count += 1
            return self.by_number.get(self.count, {})


class Log:
    """What is in the file is there, also when this process is killed; a line that was cut then was not answered for."""

    def __init__(self, path):
        with open(path, "rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.lock = threading.Lock()

    def write(self, records):
        text = "".join(f"{seq} {uid} {session}\n" for seq, uid, session in records)
        with self.lock:
            os.write(self.file, text.encode())


class Keep:
    """Every request's body, as it is."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if path else None
        self.lock = threading.Lock()

    def __call__(self, body):
        if self.file is not None:
            with self.lock, os.fdopen(os.dup(self.file), "wb") as file:
                file.write(body + b"\n")


def of_record(record):
    """Of other formats than the native one only that it is there."""
    if not isinstance(record, dict) or "chain" not in record:
        return 0, "-", "-"
    session = record.get("session", {}).get("id", "-")
    return record["seq"], record["chain"]["hash"], session


def of_log_records(request):
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                values = {pair.key: pair.value for pair in record.attributes}
                session = values["session.id"].string_value if "session.id" in values else "-"
                seq = values["dbgov.seq"].int_value if "dbgov.seq" in values else 0
                yield seq, values["log.record.uid"].string_value, session
