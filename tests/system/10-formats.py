#!/usr/bin/env python3
"""Decode the storage formats from docs/formats/{keyring,page,blob,manifest}.md alone, and compare with what was put in.

format_samples, a program of the build, writes one of each.

Nothing here calls Hisho's code: BLAKE2b is Python's, XChaCha20-Poly1305 and Ed25519 are libsodium's through ctypes, the decoded
database is opened with Python's own SQLite, the sealed document with the age program where there is one.
"""
import ctypes
import ctypes.util
import hashlib
import shutil
import sqlite3
import struct
import subprocess
import tempfile
from pathlib import Path

from appliance import BUILD

sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
assert sodium.sodium_init() >= 0


def aead_open(key, nonce, sealed, aad):
    """XChaCha20-Poly1305, tag behind the ciphertext; None where it does not authenticate."""
    out = ctypes.create_string_buffer(max(1, len(sealed)))
    n = ctypes.c_ulonglong()
    rc = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, ctypes.byref(n), None, sealed, ctypes.c_ulonglong(len(sealed)), aad,
                                                           ctypes.c_ulonglong(len(aad)), nonce, key)
    return out.raw[:n.value] if rc == 0 else None


def blake(data, key=b""):
    return hashlib.blake2b(data, digest_size=32, key=key).digest()


def derive(parent, number, context):
    return hashlib.blake2b(digest_size=32, key=parent, salt=struct.pack("<QQ", number, 0), person=context).digest()


def commitment(key, scope, generation):
    return blake(b"commit" + bytes([len(scope)]) + scope + struct.pack("<I", generation), key)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self):
        return self.take(self.number("I"))

    def end(self):
        return self.at == len(self.data)


def unwrap(under, wrapped, scope, generation, aad):
    key = aead_open(under, wrapped[:24], wrapped[24:72], aad)
    assert key and wrapped[72:] == commitment(key, scope, generation)
    return key


def keyring(data, root):
    assert blake(data[:-32], derive(root, 2, b"hisho.rk")) == data[-32:], "MAC"
    wrap = derive(root, 1, b"hisho.rk")
    r = Reader(data[:-32])
    assert r.take(8) == b"HishoKR\n" and r.number("I") == 1 and r.number("I") == 1
    r.take(16 + 8 + 8)
    assert r.take(32) == commitment(root, b"root", 0)
    epoch = r.number("I")
    named = lambda scope, generation: b"hisho-keyring:" + scope + b"\0" + struct.pack("<I", generation)
    master = unwrap(wrap, r.take(104), b"master", epoch, named(b"master", epoch))
    public = r.take(32)
    seed = unwrap(wrap, r.take(104), b"signing", 0, named(b"signing", 0))
    made, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
    sodium.crypto_sign_seed_keypair(made, secret, seed)
    assert made.raw == public
    tenants = []
    for _ in range(r.number("I")):
        ident, name, uuid, generation = r.take(30), r.text(), r.take(16), r.number("I")
        r.number("q")
        aad = named(ident, generation) + struct.pack("<I", epoch) + uuid
        tenants.append((name.decode(), ident.decode(), uuid, generation, unwrap(master, r.take(104), ident, generation, aad)))
    assert r.end()
    return epoch, tenants


def reserve(page, generation):
    assert struct.unpack("<II", page[4080:4088]) == (generation, 1) and page[4088:4096] == bytes(8)
    return page[4032:4056], page[4056:4072], page[4072:4080]


def open_page(key, uuid, generation, number, page):
    nonce, tag, zero = reserve(page, generation)
    assert zero == bytes(8)
    aad = b"P" + struct.pack("<I", 1) + uuid + struct.pack("<III", generation, 4096, number)
    clear = b""
    if number == 1:
        assert page[:16] == b"HishoDB\n" + struct.pack("<II", 1, generation)
        aad, clear = aad + page[:16], b"SQLite format 3\0"
    body = aead_open(key, nonce, page[len(clear):4032] + tag, aad)
    return body and clear + body + bytes(64)


def open_frame(key, uuid, generation, index, frame):
    header, page = frame[:24], frame[24:]
    nonce, tag, checksum = reserve(page, generation)
    assert header[16:] == bytes(8)
    aad = b"W" + struct.pack("<I", 1) + uuid + struct.pack("<I", generation) + header[:16] + struct.pack("<I", index)
    body = aead_open(key, nonce, page[:4032] + checksum + tag, aad)
    return header[:16], body[4032:], body[:4032] + bytes(64)


def sqlite_sum(data, s0, s1, order):
    words = struct.unpack(order + "%dI" % (len(data) // 4), data)
    for i in range(0, len(words), 2):
        s0 = (s0 + words[i] + s1) & 0xffffffff
        s1 = (s1 + words[i + 1] + s0) & 0xffffffff
    return s0, s1


def database(folder, key, uuid, generation):
    raw, log = (folder / "index.db").read_bytes(), (folder / "index.db-wal").read_bytes()
    pages = {}
    for n in range(1, len(raw) // 4096 + 1):
        page = raw[(n - 1) * 4096:n * 4096]
        pages[n] = open_page(key, uuid, generation, n, page)
        assert pages[n], f"page {n}"
        assert n == 1 or open_page(key, uuid, generation, n + 1, page) is None
    order = ">" if log[3] & 1 else "<"
    sums = sqlite_sum(log[:24], 0, 0, order)
    assert sums == struct.unpack(">II", log[24:32])
    pending, frames = {}, 0
    for i in range((len(log) - 32) // 4120):
        frame = log[32 + i * 4120:32 + (i + 1) * 4120]
        if frame[8:16] != log[16:24]:
            break
        head, checksum, page = open_frame(key, uuid, generation, i, frame)
        sums = sqlite_sum(page, *sqlite_sum(head[:8], *sums, order), order)
        assert sums == struct.unpack(">II", checksum), f"SQLite's checksum of frame {i}"
        number, size = struct.unpack(">II", head[:8])
        pending[number] = page
        frames += 1
        if size:
            pages.update(pending)
            pages = {n: p for n, p in pages.items() if n <= size}
            pending = {}
    plain = b"".join(pages[n] for n in sorted(pages))
    plain = plain[:18] + b"\1\1" + plain[20:]  # no log any more
    (folder / "plain.db").write_bytes(plain)
    db = sqlite3.connect(folder / "plain.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = db.execute("SELECT id, s FROM t ORDER BY id").fetchall()
    assert rows == [(i, f"旅費規程 第{i}条" + (" 改" if i % 2 == 0 else "") + ("訂" if i % 4 == 0 else "")) for i in range(1, 2001)]
    return len(pages), frames


def blob(folder, key, generation):
    raw, wrapped, name = (folder / "blb_sample").read_bytes(), (folder / "blb_sample.wrapped").read_bytes(), b"blb_sample"
    own = unwrap(key, wrapped, name, generation, b"hisho-blob:" + struct.pack("<I", generation) + name)
    header, out = raw[:24], b""
    assert header == b"HishoBL\n" + struct.pack("<IIII", 1, generation, 65536, 0)
    chunks = [raw[at:at + 65552] for at in range(24, len(raw), 65552)]
    for i, chunk in enumerate(chunks):
        last = i == len(chunks) - 1
        out += aead_open(own, struct.pack("<QB15x", i, last), chunk, header)
        assert aead_open(own, struct.pack("<QB15x", i, not last), chunk, header) is None
    assert out == bytes((i * 7 + i // 251) & 255 for i in range(150000))


def submission(folder, tenant_id):
    raw, sealed = (folder / "manifest").read_bytes(), (folder / "sealed.age").read_bytes()
    body, signature = raw[:-64], raw[-64:]
    assert sodium.crypto_sign_verify_detached(signature, body, ctypes.c_ulonglong(len(body)), body[-32:]) == 0
    r = Reader(body)
    assert r.take(8) == b"HSmanif1" and r.number("H") == 1 and r.number("H") == 1
    assert r.take(30).decode() == tenant_id and r.take(4) == b"sub_"
    r.take(26)
    assert r.text().decode() == "規程/1" and r.number("Q") == 3
    assert [r.text().decode() for _ in range(3)] == ["規程", "社外秘", "人事"]
    assert [r.number("q") for _ in range(3)] == [1000, 2000, 0]
    assert r.number("Q") == len(sealed) and r.take(32) == blake(sealed) and r.take(32) == bytes(32)
    r.take(32)
    assert r.end()
    if not shutil.which("age"):
        return "the age program is not installed, its part is left out"
    plain = subprocess.run(["age", "-d", "-i", folder / "identity", folder / "sealed.age"], capture_output=True, check=True).stdout
    r = Reader(plain)
    assert r.take(4) == b"HSpl" and r.number("H") == 1 and r.number("H") == 0
    assert [r.text().decode() for _ in range(3)] == ["規程.md", "規程", "text/markdown"]
    assert r.number("Q") == 5 and r.take(5) == b"hello" and r.end()
    return "opened by age"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([BUILD / "tests" / "system" / "format_samples", name], check=True)
        epoch, tenants = keyring((folder / "keyring").read_bytes(), (folder / "root").read_bytes())
        assert epoch == 2 and [t[0] for t in tenants] == ["shoji"]
        _, ident, uuid, generation, key = tenants[0]
        pages, frames = database(folder, derive(key, 1, b"hisho.tk"), uuid, generation)
        assert pages > 10 and frames > 10
        blob(folder, derive(key, 2, b"hisho.tk"), generation)
        opened = submission(folder, ident)
        print(f"keyring, {pages} pages and {frames} frames, blob, manifest decoded from their pages; {opened}")


if __name__ == "__main__":
    main()
