#!/usr/bin/env python3
"""Goal: documents are sealed, handed in and taken back from another host, with a scoped token over HTTPS and nothing of the state
directory; what is unsigned, wrongly signed, expired, replayed, for another tenant, or of a revoked sender is refused by name."""
import ctypes
import ctypes.util
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from appliance import BUILD, Appliance, check, wait_for

INSIDE = "HISHO_TEST_NAMESPACE"  # set where this script runs again in namespaces of its own
NAME, HERE, THERE = "hisho.test", "10.213.0.1", "10.213.0.2"
POLICY = """version: 1
collections: [規程]
users: [{name: tanaka}, {name: jouhou}]
rules:
  - {id: 規程, allow: [ask], who: {users: [tanaka]}, collections: [規程], level: {up_to: 社外秘}}
"""
sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
assert sodium.sodium_init() >= 0


class Other:
    """A host of its own: another network, and an empty folder where the state directory would lie."""

    def __init__(self, appliance, apart):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hisho-other-"))
        self.appliance, self.prefix, self.holder = appliance, [], None
        port = appliance.url.rsplit(":", 1)[1]
        self.url = f"https://{NAME if apart else 'localhost'}:{port}"
        shutil.copy(appliance.state / "tls" / "cert.pem", self.folder / "cert.pem")
        if apart:
            self.settle()

    def settle(self):
        hosts = self.folder / "hosts"
        hosts.write_text(f"{HERE} {NAME}\n")
        script = f"mount --bind {hosts} /etc/hosts && mount -t tmpfs none {self.appliance.dir} && echo ready && exec sleep 3600"
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        check(self.holder.stdout.readline() == "ready\n", "the other host has its own view")
        self.prefix = ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--"]
        link = ["ip", "link", "add", "hisho0", "type", "veth", "peer", "name", "hisho1", "netns", str(self.holder.pid)]
        for command in (link, ["ip", "address", "add", f"{HERE}/30", "dev", "hisho0"], ["ip", "link", "set", "hisho0", "up"],
                        [*self.prefix, "ip", "address", "add", f"{THERE}/30", "dev", "hisho1"],
                        [*self.prefix, "ip", "link", "set", "hisho1", "up"]):
            subprocess.run(command, check=True)
        seen = subprocess.run([*self.prefix, "ls", str(self.appliance.dir)], capture_output=True, text=True, check=True).stdout
        check(seen == "", f"the other host sees {seen}")

    def close(self):
        if self.holder:
            self.holder.kill()
            self.holder.wait()
        if not os.environ.get("HISHO_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *args, token=None, url=True, certificate=True):
        """(exit status, what was printed)"""
        command = [*self.prefix, str(BUILD / "cli" / "hisho"), *map(str, args), "--dir", str(self.folder / "nothing")]
        command += ["--url", self.url] if url else []
        command += ["--cacert", str(self.folder / "cert.pem")] if certificate else []
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        if token:
            env["HISHO_TOKEN"] = token
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=self.folder, timeout=300)
        return done.returncode, done.stdout + done.stderr

    def does(self, *args, **kwargs):
        status, said = self.run(*args, **kwargs)
        check(status == 0, f"{args}: exit {status}: {said}")
        return said

    def refused(self, code, *args, **kwargs):
        status, said = self.run(*args, **kwargs)
        check(status == 1 and code in said, f"{args}: expected {code}, got exit {status}: {said}")


class Signer:
    """A sender's key of our own making, and what it signs: docs/formats/manifest.md, not Hisho's code."""

    def __init__(self, seed):
        self.public, self.secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        sodium.crypto_sign_seed_keypair(self.public, self.secret, hashlib.sha256(seed).digest())

    def text(self):
        body = "hspk1_" + base32(self.public.raw)
        return body + "_" + base32(hashlib.blake2b(body.encode(), digest_size=16).digest())[:6]

    def sign(self, data):
        out = ctypes.create_string_buffer(64)
        sodium.crypto_sign_detached(out, None, data, ctypes.c_ulonglong(len(data)), self.secret)
        return out.raw


def base32(data):
    bits = "".join(f"{b:08b}" for b in data)
    bits += "0" * (-len(bits) % 5)
    return "".join("abcdefghijklmnopqrstuvwxyz234567"[int(bits[i:i + 5], 2)] for i in range(0, len(bits), 5))


def text(s):
    return struct.pack("<I", len(s.encode())) + s.encode()


def manifest(signer, tenant, ciphertext, *, sequence, source="src", collection="規程", level="社外秘", created=None, life=3600,
             operation=1, submission=None):
    created = int(time.time() * 1000) if created is None else created
    body = b"HSmanif1" + struct.pack("<HH", 1, operation) + tenant.encode()
    body += (submission or "sub_" + base32(os.urandom(17))[:26]).encode() + text(source) + struct.pack("<Q", sequence)
    for label in (collection, level, ""):
        body += text(label if operation == 1 else "")
    body += struct.pack("<qqqQ", created, created + life * 1000, 0, len(ciphertext))
    body += hashlib.blake2b(ciphertext, digest_size=32).digest() + bytes(32) + signer.public.raw
    return body + signer.sign(body)


def handed_in(other, name, signed, ciphertext):
    (other.folder / f"{name}.manifest").write_bytes(signed)
    (other.folder / f"{name}.age").write_bytes(ciphertext)
    return "seal", "--send", other.folder / name


def files_and_withdraws(a, other, token, tenant):
    folder = other.folder / "規程"
    folder.mkdir()
    (folder / "旅費.txt").write_text("日帰り出張の日当は二千五百円とする。\n")
    (folder / "慶弔.txt").write_text("結婚祝金は三万円とする。\n")
    key = other.folder / "sender.key"
    public = other.does("sender", "keygen", key, url=False, certificate=False).strip()
    a.hisho("sender", "add", "another-host", public, "--collection", "規程", tenant="tokai")
    labels = ("--sender", key, "--collection", "規程", "--level", "社外秘")

    # Sealed without a network, handed in later; sealing tells nothing of names.
    (other.folder / "tenant.json").write_text(json.dumps(tenant))
    (other.folder / "稟議.txt").write_text("稟議の決裁は部長が行う。\n")
    other.does("seal", *labels, "--to", other.folder / "tenant.json", other.folder / "稟議.txt", url=False, certificate=False)
    sealed = (other.folder / "稟議.txt.age").read_bytes() + (other.folder / "稟議.txt.manifest").read_bytes()
    check("稟議".encode() not in sealed and "決裁".encode() not in sealed, "what is sealed tells nothing")
    other.does("seal", "--send", other.folder / "稟議.txt", token=token)
    wait_for("the sealed document", lambda: a.search("tokai", "tanaka", "稟議の決裁"))

    # A folder; then nothing new; then one document is taken back, and what it was filed with brings nothing back.
    said = other.does("ingest", *labels, folder, token=token)
    check("2 filed, 0 unchanged, 0 failed" in said, said)
    check("2 unchanged" in other.does("ingest", *labels, folder, token=token), "what is unchanged is not filed again")
    check("二千五百円" in json.dumps(a.search("tokai", "tanaka", "日当"), ensure_ascii=False), "the folder is found")
    other.does("seal", *labels, "--out", other.folder / "kept", folder / "旅費.txt", token=token)
    other.does("docs", "rm", "--sender", key, folder / "旅費.txt", token=token)
    wait_for("the document to be gone", lambda: "二千五百円" not in json.dumps(a.search("tokai", "tanaka", "日当"), ensure_ascii=False))
    other.refused("submission.replayed", "seal", "--send", other.folder / "kept", token=token)
    check("known" in other.does("seal", "--send", other.folder / "稟議.txt", token=token), "the same manifest twice is said to be known")
    check("二千五百円" not in json.dumps(a.search("tokai", "tanaka", "日当"), ensure_ascii=False), "what was deleted stays away")
    found = other.does("search", "稟議の決裁", token=a.token("tokai", "tanaka"))
    check("部長" in found, f"a person asks from there: {found}")
    return labels, folder


def refusals(a, other, token, tenant, foreign):
    known, stranger = Signer(b"known"), Signer(b"stranger")
    a.hisho("sender", "add", "crafted", known.text(), tenant="tokai")
    ident, age = tenant["id"], b"not really age"
    count = len(json.loads(a.hisho("docs", "list", "--json", tenant="tokai")))

    def send(name, signed, ciphertext=age):
        return handed_in(other, name, signed, ciphertext)

    good = manifest(known, ident, age, sequence=10)
    for code, name, signed, ciphertext in (
            ("manifest.", "unsigned", good[:-64], age),
            ("manifest.signature", "zeros", good[:-64] + bytes(64), age),
            ("manifest.signature", "wrong", good[:-64] + stranger.sign(good[:-64]), age),
            ("manifest.signature", "changed", good.replace("社外秘".encode(), "極秘秘".encode()), age),
            ("sender.unknown", "stranger", manifest(stranger, ident, age, sequence=10), age),
            ("submission.foreign", "foreign", manifest(known, foreign, age, sequence=10), age),
            ("submission.expired", "expired", manifest(known, ident, age, sequence=10, created=1700000000000), age),
            ("submission.ciphertext", "exchanged", good, b"something else"),
            ("class.collection", "collection", manifest(known, ident, age, sequence=10, collection="無い"), age)):
        other.refused(code, *send(name, signed, ciphertext), token=token)
    # Accepted: it holds no age file, which its job says. Then the same sequence and a lower one are replays.
    other.does(*send("taken", good), token=token)
    other.refused("submission.replayed", *send("equal", manifest(known, ident, age, sequence=10)), token=token)
    other.refused("submission.replayed", *send("older", manifest(known, ident, age, sequence=9)), token=token)
    other.does(*send("newer", manifest(known, ident, age, sequence=11)), token=token)
    a.hisho("sender", "revoke", "crafted", tenant="tokai")
    other.refused("sender.revoked", *send("revoked", manifest(known, ident, age, sequence=12)), token=token)
    other.refused("sender.revoked", *send("withdrawn", manifest(known, ident, b"", sequence=13, operation=2), b""), token=token)
    check(len(json.loads(a.hisho("docs", "list", "--json", tenant="tokai"))) == count, "nothing of it became a document")


def credentials(a, other, labels, folder):
    (folder / "新規.txt").write_text("新しい規程。\n")
    ingest = ("ingest", *labels, folder / "新規.txt")
    other.refused("cli.token", *ingest)
    other.refused("cli.certificate", *ingest, token="hsk_x", certificate=False)
    other.refused("auth.scope", *ingest, token=a.token("tokai", "tanaka"))
    other.refused("auth.", *ingest, token="hsk_" + "a" * 40)
    revoked = json.loads(a.hisho("token", "add", "jouhou", "--scopes", "ingest", "--json", tenant="tokai"))
    a.hisho("token", "revoke", revoked["id"], tenant="tokai")
    other.refused("auth.", *ingest, token=revoked["token"])
    filing = json.loads(a.hisho("token", "add", "jouhou", "--scopes", "ingest", "--json", tenant="tokai"))["token"]
    for verb in (("search", "規程"), ("docs", "list"), ("audit", "show"), ("user", "list")):  # to file is not to read or rule
        other.refused("auth.scope", *verb, token=filing)
    other.refused("cli.host_only", "tenant", "list", token=filing)
    a.hisho("sender", "revoke", "another-host", tenant="tokai")
    other.refused("sender.revoked", *ingest, token=filing)


def main(apart):
    with Appliance(listen="0.0.0.0:0", hosts=[NAME]) as a:
        a.add_tenant("tokai", POLICY, sender=False)
        a.add_tenant("fuji", POLICY, sender=False)
        tenant, foreign = (json.loads(a.hisho("tenant", "info", "--json", tenant=name)) for name in ("tokai", "fuji"))
        token = json.loads(a.hisho("token", "add", "jouhou", "--scopes", "ingest", "--json", tenant="tokai"))["token"]
        other = Other(a, apart)
        try:
            labels, folder = files_and_withdraws(a, other, token, tenant)
            refusals(a, other, token, tenant, foreign["id"])
            credentials(a, other, labels, folder)
        finally:
            other.close()
    print("filed, withdrawn and refused from another " + ("network" if apart else "folder (no namespaces here)"))


def can_unshare():
    tools = all(map(shutil.which, ("unshare", "nsenter", "ip", "mount")))
    return tools and subprocess.run(["unshare", "-Urnm", "ip", "link", "add", "h0", "type", "veth"], capture_output=True).returncode == 0


if INSIDE not in os.environ and can_unshare():
    sys.exit(subprocess.run(["unshare", "-Urnm", "--fork", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, __file__],
                            env={**os.environ, INSIDE: "1"}).returncode)
main(INSIDE in os.environ)
