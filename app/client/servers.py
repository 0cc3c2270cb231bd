"""Addresses of services: how they are written, and when a key may be sent there."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from app.client.errors import InputError

__all__ = ["server_address"]


def server_address(text: str, *, insecure_http: bool) -> str:
    """Read a service's address as people type it: without the API's own path, whose form is known.

    Raises:
        InputError: it is no address, or plain HTTP would carry the key over a network.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise InputError(f"“{text}”不是服务地址,应如 https://liuzhang.example.gov.cn 或 http://127.0.0.1:8000")
    if parts.scheme == "http" and not insecure_http and not _is_loopback(host):
        raise InputError(
            f"{host} 不是本机,以 http 访问时密钥在网络上不加密;请改用 https,"
            "或确认网络可信后用 login 的 --insecure-http(或 LIUZHANG_INSECURE_HTTP=true)"
        )
    path = parts.path.rstrip("/").removesuffix("/api/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
