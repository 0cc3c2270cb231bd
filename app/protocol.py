"""HTTP/1.1 as this service reads it: Chinese may stand in the URL as people type it.

A URL is ASCII (RFC 3986), and the parser refuses anything else. But ``curl 'http://…/tasks?unit=县发改局'`` sends the
characters as they are, in UTF-8, and so do many scripts. They are percent-encoded here before the parser sees them,
which is what the sender meant. What is no HTTP at all is answered with a problem like every other error.
"""

import re

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import BadRequestError

__all__ = ["LenientHttpProtocol", "encode_target"]

_REQUEST_LINE = re.compile(rb"([A-Z]{3,7} )([^ \r\n]+)( HTTP/1\.[01]\r\n)")
_NON_ASCII = re.compile(rb"[\x80-\xff]")


def encode_target(data: bytes) -> bytes:
    """Percent-encode the bytes beyond ASCII in the request line that ``data`` begins with, if it does."""
    line = None if data.isascii() else _REQUEST_LINE.match(data)
    if line is None or line.group(2).isascii():
        return data
    target = _NON_ASCII.sub(lambda byte: b"%%%02X" % byte.group()[0], line.group(2))
    return line.group(1) + target + line.group(3) + data[line.end() :]


class LenientHttpProtocol(HttpToolsProtocol):
    """The server's protocol for one connection."""

    def data_received(self, data: bytes) -> None:
        """Pass on what came in; the body of a running request is never touched."""
        cycle = getattr(self, "cycle", None)
        between_requests = cycle is None or cycle.response_complete
        super().data_received(encode_target(data) if between_requests else data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the server's words are not for users
        """Answer what cannot be parsed, and close."""
        body = orjson.dumps(
            {
                "type": f"/problems/{BadRequestError.slug}",
                "title": BadRequestError.title,
                "status": BadRequestError.status,
                "detail": "收到的内容不是合法的 HTTP 请求,请检查请求行与请求头",
                "instance": "-",
            }
        )
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
