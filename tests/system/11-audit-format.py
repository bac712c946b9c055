#!/usr/bin/env python3
"""Decode an audit log, its mark and its signed head from docs/formats/audit.md alone, and compare with what was written.

audit_sample, a program of the build, writes one.

Nothing here calls Hisho's code: BLAKE2b and HMAC are Python's, XChaCha20-Poly1305 is libsodium's through ctypes.
"""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import struct
import subprocess
import tempfile
from pathlib import Path

from appliance import BUILD

sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
assert sodium.sodium_init() >= 0
AUDIT_KEY = bytes([3]) * 32


def aead_open(key, nonce, sealed, aad):
    out = ctypes.create_string_buffer(max(1, len(sealed)))
    n = ctypes.c_ulonglong()
    rc = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, ctypes.byref(n), None, sealed, ctypes.c_ulonglong(len(sealed)), aad,
                                                           ctypes.c_ulonglong(len(aad)), nonce, key)
    return out.raw[:n.value] if rc == 0 else None


def blake(data, key=b"", size=32):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def derived(use):
    return blake(use, AUDIT_KEY)


def text(data, at):
    n, = struct.unpack_from("<I", data, at)
    assert at + 4 + n <= len(data)
    return data[at + 4:at + 4 + n], at + 4 + n


def entry(plain):
    version, decision = struct.unpack_from("<HH", plain)
    assert version == 1 and len(plain) % 64 == 0
    principal, at = text(plain, 4)
    action, at = text(plain, at)
    obj, at = text(plain, at)
    fields = []
    while at < len(plain):
        tag, = struct.unpack_from("<H", plain, at)
        value, at = text(plain, at + 2)
        fields.append((tag, value))
    assert all(not any(value) for tag, value in fields if tag == 0)
    return principal.decode(), action.decode(), obj.decode(), decision, [f for f in fields if f[0]]


def signed_head(note, key):
    """(tenant, sequence, chain, time) of a note, verified with the key's text alone."""
    name, ident, marked = key.split("+", 2)
    marked = base64.b64decode(marked, validate=True)
    assert marked[0] == 1 and len(marked) == 33
    assert hashlib.sha256(name.encode() + b"\n" + marked).hexdigest()[:8] == ident
    body, signatures = note.split("\n\n", 1)
    dash, by, signature = signatures.rstrip("\n").split(" ")
    signature = base64.b64decode(signature, validate=True)
    assert (dash, by) == ("\u2014", name) and signature[:4].hex() == ident
    signed = body.encode() + b"\n"
    assert sodium.crypto_sign_verify_detached(signature[4:], signed, ctypes.c_ulonglong(len(signed)), marked[1:]) == 0
    assert sodium.crypto_sign_verify_detached(signature[4:], body.encode(), ctypes.c_ulonglong(len(body)), marked[1:]) != 0
    origin, seq, chain, time = body.split("\n")
    assert origin.startswith("hisho-audit-chain/") and time.startswith("time ")
    return origin.split("/")[1], int(seq), base64.b64decode(chain, validate=True), int(time[5:])


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([BUILD / "tests" / "system" / "audit_sample", folder], check=True)
        log, mark = (Path(folder) / "audit.log").read_bytes(), (Path(folder) / "audit.log.mark").read_bytes()
        note, key = (Path(folder) / "audit.log.head").read_text(), (Path(folder) / "key").read_text()
    assert log[:8] == b"HSaudit1" and struct.unpack_from("<II", log, 8) == (1, 128)
    created, tenant_len = struct.unpack_from("<qI", log, 32)
    assert created == 1799999990000 and log[44:44 + tenant_len] == b"ten_sample"
    assert not any(log[44 + tenant_len:128])
    genesis = chain = blake(b"hisho-audit" + bytes(32) + log[:128])
    records, at = [], 128
    while at < len(log):
        magic, length, version, kind, flags, seq, time, commit = struct.unpack_from("<IIHHIQqQ", log, at)
        assert magic == 0x72615348 and (version, kind) == (1, 1) and seq == len(records) + 1 and length <= 262144
        record = log[at:at + length]
        previous, chain = chain, blake(b"hisho-audit" + chain + record[:-32])
        assert record[-32:] == chain, f"chain of record {seq}"
        body = record[64:-32]
        plain = aead_open(derived(b"hisho-audit-seal"), record[40:64], body, record[:64] + previous)
        assert plain, f"record {seq} does not open"
        assert aead_open(derived(b"hisho-audit-seal"), record[40:64], body, record[:64] + bytes(32)) is None
        body = entry(plain)
        records.append((kind, flags, time, commit, body, chain))
        at += length
    assert at == len(log) and len(records) == 2

    question = "日当はいくらですか".encode()
    kind, flags, time, commit, body, asked = records[0]
    assert (kind, flags, time, commit) == (1, 0, 1800000000000, 12)
    assert body == ("usr_x", "ask", "", 1, [
        (2, b"req_1"), (4, hmac.new(derived(b"hisho-audit-query"), question, "sha256").digest()), (5, question),
        (6, struct.pack("<II", 10, 250) + b"ver_" + b"a" * 26), (6, struct.pack("<II", 0, 77) + b"ver_" + b"b" * 26)]), body
    kind, flags, time, commit, body, last = records[1]
    assert (kind, flags, commit) == (1, 1, 13)  # the clock was set back
    assert body == ("usr_x", "answer", "", 2, [(1, b"infer.gone"), (2, b"req_1"), (3, struct.pack("<Q", 1)),
                                               (7, bytes([9]) * 32), (8, b"sentences=2")]), body

    assert len(mark) == 1024
    slots = []
    for index in range(2):
        slot = mark[index * 512:index * 512 + 512]
        assert slot[:8] == b"HSamark1" and struct.unpack_from("<I", slot, 8) == (1,)
        assert blake(slot[:496], size=16) == slot[496:]
        assert blake(genesis + slot[:464], derived(b"hisho-audit-mark")) == slot[464:496]
        generation, seq, high = struct.unpack_from("<QQq", slot, 16)
        assert generation % 2 == index
        slots.append((generation, seq, high, slot[40:72]))
    assert max(slots)[1:] == (2, 1800000000000, last)
    assert signed_head(note, key) == ("ten_sample", 2, last, 1799999999000)
    print("audit log, mark and signed head decoded from the page")


if __name__ == "__main__":
    main()
