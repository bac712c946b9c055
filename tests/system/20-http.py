#!/usr/bin/env python3
"""Goal: what comes from the network cannot smuggle, stall, probe or exhaust the web process: it refuses with a named error, and
serves the next client as before."""
import socket
import ssl
import time
import warnings

from appliance import Appliance, check

H = "Host: localhost\r\n"
REFUSED = [  # (bytes, status); behind each stands a second request that must never be answered
    ("GET / HTTP/1.1\r\n\r\n", 400),
    (f"GET / HTTP/1.1\r\n{H}{H}\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    (f"POST / HTTP/1.1\r\n{H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (f"POST / HTTP/1.1\r\n{H}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (f"POST / HTTP/1.1\r\n{H} Content-Length: 4\r\n\r\nabcd", 400),
    (f"POST / HTTP/1.1\r\n{H}X: y\r\n Content-Length: 4\r\n\r\nabcd", 400),
    (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n", 400),
    (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n", 400),
    (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\n", 501),
    (f"GET / HTTP/1.1\r\n{H}X: a\0b\r\n\r\n", 400),
    (f"GET / HTTP/1.1\r\n{H}X: a\rb\r\n\r\n", 400),
    (f"GET / HTTP/1.1\n{H}\r\n", 400),
    (f"GET /../hisho.yaml HTTP/1.1\r\n{H}\r\n", 400),
    (f"GET /%2e%2e/hisho.yaml HTTP/1.1\r\n{H}\r\n", 400),
    (f"GET http://localhost/ HTTP/1.1\r\n{H}\r\n", 400),
    (f"GET / HTTP/3.0\r\n{H}\r\n", 505),
    (f"BREW / HTTP/1.1\r\n{H}\r\n", 501),
    (f"POST /v1/search HTTP/1.1\r\n{H}Content-Length: 99999999999\r\n\r\n", 413),
    (f"GET /{'a' * 3000} HTTP/1.1\r\n{H}\r\n", 414),
    (f"GET / HTTP/1.1\r\n{H}X: {'a' * 20000}\r\n\r\n", 431),
    (f"GET / HTTP/1.1\r\n{H}" + "".join(f"X{i}: y\r\n" for i in range(100)) + "\r\n", 431),
]
SECOND = f"GET /healthz HTTP/1.1\r\n{H}\r\n"


def dial(a, timeout=30):
    host, port = a.url.split("//")[1].rsplit(":", 1)
    context = ssl.create_default_context(cafile=a.state / "tls" / "cert.pem")
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout), server_hostname=host)


def everything(s):
    got = b""
    try:
        while piece := s.recv(65536):
            got += piece
    except (ConnectionResetError, ssl.SSLError):
        pass
    return got


def healthy(a):
    check(a.request("GET", "/healthz")[0] == 200, "/healthz answers")


with Appliance() as a:
    for text, status in REFUSED:
        with dial(a) as s:
            s.sendall((text + SECOND).encode())
            got = everything(s)
        check(got.startswith(b"HTTP/1.1 %d " % status), f"{text[:80]!r}: expected {status}, got {got[:60]!r}")
        check(got.count(b"HTTP/1.1 ") == 1, f"{text[:80]!r}: the second request was answered")
        check(b'"code"' in got, f"{text[:80]!r}: an error without a code")
    healthy(a)

    # Not TLS at all, and TLS that is too old.
    host, port = a.url.split("//")[1].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as s:
        s.sendall(SECOND.encode())
        check(b"200 OK" not in everything(s), "plain HTTP is not answered")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    warnings.simplefilter("ignore")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        with socket.create_connection((host, int(port)), 30) as plain, context.wrap_socket(plain):
            raise AssertionError("TLS 1.1 was spoken")
    except (ssl.SSLError, ConnectionResetError):
        pass

    # Headers of the page.
    status, headers, page = a.request("GET", "/t/nobody")
    check(status == 200 and b"<html" in page, "the page is the same for a tenant that is not there")
    for name, part in {"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff",
                       "referrer-policy": "no-referrer", "strict-transport-security": "max-age", "x-frame-options": "DENY"}.items():
        check(part in headers.get(name, ""), f"{name}: {headers.get(name)}")

    # Slow clients: many halves of a head and of a handshake are cut, and nobody else waits for them.
    slow = [dial(a) for _ in range(40)]
    for s in slow:
        s.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    silent = [socket.create_connection((host, int(port)), 30) for _ in range(40)]
    for _ in range(5):
        healthy(a)
    for s in slow:
        check(b"408 " in everything(s), "a slow head is told so, and cut")
        s.close()
    for s in silent:
        check(everything(s) == b"", "a silent handshake is cut")
        s.close()
    healthy(a)

    # An unknown, a known and a sealed tenant refuse a sign-in alike; the eleventh try in a minute is refused as such.
    a.hisho("tenant", "add", "tokai")
    a.hisho("tenant", "add", "fuji")
    time.sleep(1)
    a.hisho("tenant", "seal", "fuji")
    answers = {a.request("POST", f"/t/{name}/v1/session", body=b)[::2] for name in ("tokai", "fuji", "nobody")
               for b in ({"code": "wrong"}, {})}
    check(len(answers) == 1 and next(iter(answers))[0] == 401, f"sign-ins differ: {answers}")
    tries = [a.request("POST", "/t/tokai/v1/session", body={"code": "wrong"})[0] for _ in range(6)]
    check(tries[:4] == [401] * 4 and tries[-1] == 429, f"tries to sign in: {tries}")
print("ok")
