"""A receiver of OTLP over gRPC, made of the official protocol package."""

from concurrent import futures

import common
import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

options = common.arguments()
faults = common.Faults(options.faults)
log = common.Log(options.log)
keep = common.Keep(options.keep)


def retry_info(milliseconds):
    """google.rpc.Status with a google.rpc.RetryInfo, by hand: field numbers and lengths."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    nanoseconds, varint = milliseconds * 1_000_000, b""
    while nanoseconds >= 0x80:
        varint += bytes([nanoseconds & 0x7F | 0x80])
        nanoseconds >>= 7
    delay = field(1, b"\x10" + varint + bytes([nanoseconds]))
    return field(3, field(1, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, delay))


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def Export(self, request, context):
        keep(request.SerializeToString())
        metadata = dict(context.invocation_metadata())
        if options.token and metadata.get("authorization") != f"Bearer {options.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no such token: {metadata.get('authorization')}")
        fault = faults.next()
        if "code" in fault:
            if "retry_ms" in fault:
                context.set_trailing_metadata((("grpc-status-details-bin", retry_info(fault["retry_ms"])),))
            context.abort(grpc.StatusCode[fault["code"]], "as told")
        records = list(common.of_log_records(request))
        if "records_max" in fault and len(records) > fault["records_max"]:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max")
        log.write(records)
        response = logs_service_pb2.ExportLogsServiceResponse()
        if "reject" in fault:
            response.partial_success.rejected_log_records = fault["reject"]
            response.partial_success.error_message = "as told"
        return response


server = grpc.server(
    futures.ThreadPoolExecutor(2),
    options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)),
)
logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
address = f"127.0.0.1:{options.port}"
if options.certificate:

    def content(path):
        with open(path, "rb") as file:
            return file.read()

    pairs = [(content(options.key), content(options.certificate))]
    clients = content(options.client_ca) if options.client_ca else None
    credentials = grpc.ssl_server_credentials(pairs, clients, clients is not None)
    assert server.add_secure_port(address, credentials)
else:
    assert server.add_insecure_port(address)
server.start()
print("ready", flush=True)
server.wait_for_termination()
