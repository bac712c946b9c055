#!/usr/bin/env python3
"""Every page's text of real PDFs is found.

Runs hisho-extract-pdf as hishod does, over its channels, on each PDF of $HISHO_DATA/allganize10/pdf, decodes what comes back by
docs/formats/canonical.md, and compares each page, character by character, with pdftotext. Skips without the data or pdftotext.
"""
import array
import collections
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys

HELLO, CHANNEL, SHUTDOWN, EXTRACT, DONE = 1, 16, 18, 48, 49
KEEPER, TENANT = 1, 4


def skip(reason):
    print(reason)
    sys.exit(77)


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def send(channel, kind, payload=b"", request=0, fds=()):
    header = struct.pack("<IIHHHHQqII", 0x316D5348, len(payload), kind, 1, len(fds), 0, request, 0, 0, 0)
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([header + payload], extra)


def receive(channel):
    packet = channel.recv(65536 + 40)
    return struct.unpack_from("<H", packet, 8)[0], packet[40:]


class Extractor:
    def __init__(self, program):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        self.process = subprocess.Popen([program], close_fds=False, preexec_fn=lambda: os.dup2(theirs.fileno(), 3))
        theirs.close()
        send(self.control, HELLO, struct.pack("<HHB", 1, 1, KEEPER) + text(""))
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        send(self.control, CHANNEL, bytes([TENANT]) + text("ten_x"), fds=[theirs.fileno()])
        theirs.close()
        send(self.channel, HELLO, struct.pack("<HHB", 1, 1, TENANT) + text("ten_x"))

    def read(self, path):
        reader, writer = os.pipe()
        with open(path, "rb") as source:
            send(self.channel, EXTRACT, text(path.name) + text("application/pdf"), 1, [source.fileno(), writer])
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        while True:
            kind, _ = receive(self.channel)
            if kind != HELLO:
                break
        assert kind == DONE, f"{path.name}: message {kind}"
        return data

    def stop(self):
        send(self.control, SHUTDOWN)
        assert self.process.wait(30) == 0


def decode(data):
    """Pages of an encoded document: lists of block texts."""
    at = 0

    def number():
        nonlocal at
        at += 4
        return struct.unpack_from("<I", data, at - 4)[0]

    def string():
        nonlocal at
        n = number()
        at += n
        return data[at - n:at]

    assert number() == 0x31445348, data[:80]
    kind = string()
    string(), string(), string()
    pages = [[] for _ in range(number())]
    body = string()
    for _ in range(number()):
        start, end, _, _, page = struct.unpack_from("<IIHHI", data, at)
        pages[page - 1].append(body[start:end].decode())
        at += 52
    assert at == len(data) and kind == b"pdf"
    return pages


def letters(s):
    """Hyphens are left out: a word that one broke at a line's end is whole again in ours."""
    return collections.Counter(re.sub(r"[\s\x00-\x1f-]", "", s))


def main():
    folder = pathlib.Path(os.environ.get("HISHO_DATA", "/nonexistent")) / "allganize10" / "pdf"
    program = pathlib.Path(os.environ.get("HISHO_BUILD", "build")) / "daemon" / "extract" / "hisho-extract-pdf"
    if not folder.is_dir():
        skip("HISHO_DATA names no folder with allganize10/pdf")
    if not shutil.which("pdftotext"):
        skip("pdftotext is not installed")
    if not program.exists():
        skip("hisho-extract-pdf is not built")
    extractor, total, wrong = Extractor(program), 0, 0
    for path in sorted(folder.glob("*.pdf")):
        ours = decode(extractor.read(path))
        peers = subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True).stdout.decode().split("\f")[:-1]
        assert len(ours) == len(peers), f"{path.name}: {len(ours)} pages, pdftotext finds {len(peers)}"
        for number, (page, peer) in enumerate(zip(ours, peers), 1):
            total += 1
            missing = letters(peer) - letters("".join(page))
            if missing:
                wrong += 1
                print(f"{path.name} page {number}: {sum(missing.values())} characters missing: {''.join(missing)[:40]}")
    extractor.stop()
    print(f"{total} pages, {wrong} with missing text")
    return 1 if wrong or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
