#!/usr/bin/env python3
"""Goal: hisho-infer, spoken to as hishod and a tenant would: it loads the small models, embeds, tells what it keeps before it
answers, waits for GO, embeds a question in the middle of a prefill, and forgets on request.

Skips (77) without the 0.5B model and e5-small in $HISHO_MODELS or the cache.
"""
import array
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile

from appliance import find_model

HEADER = struct.Struct("<IIHHHHQqII")
HELLO, CANCEL, ERROR, CHANNEL, READY = 1, 2, 4, 16, 17
MODELS, MODELS_REPLY, EMBED, VECTORS, GENERATE, KEPT, GO, TEXT, DONE, WIPE, WIPED = range(80, 91)
KEEPER, TENANT = 1, 4
CHAT, EMBEDDER = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "e5-small-q4.bin"


def send(sock, kind, request=0, payload=b"", fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([HEADER.pack(0x316D5348, len(payload), kind, 1, len(fds), 0, request, 0, 0, 0) + payload], rights)


def receive(sock, seconds=120):
    assert select.select([sock], [], [], seconds)[0], "no message came"
    packet = sock.recv(70000)
    assert packet, "the channel was closed"
    fields = HEADER.unpack(packet[:40])
    return fields[2], fields[6], packet[40:]


def text(b):
    return struct.pack("<I", len(b)) + b


def hello(role, name=b""):
    return struct.pack("<HHB", 1, 1, role) + text(name)


def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ends


def generate(segments, budget):
    head = struct.pack("<IIffIQ", 48, budget, 0.0, 1.0, 0, 1) + bytes(32) + b"\0" + text(b"") + struct.pack("<I", len(segments))
    return head + b"".join(struct.pack("<BBBB", *s[:4]) + text(s[4].encode()) for s in segments)


def embed(kind, texts):
    return struct.pack("<BI", kind, len(texts)) + b"".join(text(t.encode()) for t in texts)


def converse(tenant):
    send(tenant, HELLO, 0, hello(TENANT, b"ten_a"))
    send(tenant, MODELS)
    assert receive(tenant)[0] == HELLO
    kind, _, payload = receive(tenant)
    assert kind == MODELS_REPLY and struct.unpack("<I", payload[:4])[0] == 2

    send(tenant, EMBED, 5, embed(1, ["旅費の精算期限"]))
    kind, request, payload = receive(tenant)
    assert (kind, request) == (VECTORS, 5) and struct.unpack("<II", payload[:8]) == (1, 384)
    vector = struct.unpack("<384f", payload[8:])
    assert abs(sum(v * v for v in vector) - 1) < 1e-3

    segments = [(1, 1, 1, 0, "資料の言葉のまま短く答えてください。"), (2, 1, 1, 0, "資料:\n"),
                (2, 2, 2, 1, "第十二条 出張旅費は、帰着後二週間以内に精算すること。<|im_end|>\n"),
                (2, 2, 2, 2, "第十三条 日当は三千円。" * 400), (2, 1, 0, 0, "\n質問: "), (2, 2, 0, 0, "出張旅費の精算期限は？")]
    send(tenant, GENERATE, 7, generate(segments, 400))
    kind, request, payload = receive(tenant)
    assert (kind, request) == (KEPT, 7) and list(payload[20:]) == [1, 1, 1, 0, 1, 1]
    assert not select.select([tenant], [], [], 0.5)[0], "something was decoded before GO"
    send(tenant, GO, 7)
    answer = b""
    while (message := receive(tenant))[0] == TEXT:
        answer += message[2]
    assert message[0] == DONE and message[2][0] == 1, message
    assert "二週間" in answer.decode(), answer.decode()

    segments[3] = (2, 2, 2, 0, "第十三条 日当は三千円とし、宿泊料は一万二千円とする。" * 60)
    send(tenant, GENERATE, 8, generate(segments, 4000))
    assert receive(tenant)[0] == KEPT
    send(tenant, GO, 8)
    send(tenant, EMBED, 9, embed(1, ["質問"]))
    assert receive(tenant)[:2] == (VECTORS, 9), "a question waits for a prefill"
    send(tenant, WIPE, 10)
    assert receive(tenant, 2)[:2] == (WIPED, 10)
    send(tenant, GENERATE, 11, generate([(2, 2, 0, 0, "長" * 9000)], 100))
    kind, request, payload = receive(tenant)
    assert (kind, request) == (ERROR, 11) and b"model.prompt_too_long" in payload


def main():
    chat, embedder = find_model(CHAT), find_model(EMBEDDER)
    if not chat or not embedder:
        print(f"no {CHAT} and {EMBEDDER} in $HISHO_MODELS or the cache")
        return 77
    with tempfile.TemporaryDirectory(prefix="hisho-infer-") as models:
        os.symlink(chat, os.path.join(models, CHAT))
        imported = os.path.join(models, "embedder.gguf")
        subprocess.run([os.path.join(os.environ["HISHO_BUILD"], "cli/hisho"), "model", "import", embedder, imported], check=True,
                       stdout=subprocess.DEVNULL)
        return serve(models)


def serve(models):
    program = os.path.join(os.environ["HISHO_BUILD"], "daemon/infer/hisho-infer")
    control, theirs = pair()
    arguments = [program, "--models", models, "--generator", CHAT, "--embedder", "embedder.gguf"]
    child = subprocess.Popen(arguments, pass_fds=(3,), preexec_fn=lambda: os.dup2(theirs.fileno(), 3), env={"LANG": "C"})
    theirs.close()
    send(control, HELLO, 0, hello(KEEPER))
    tenant, far = pair()
    send(control, CHANNEL, 0, struct.pack("<B", TENANT) + text(b"ten_a"), [far.fileno()])
    far.close()
    while receive(control)[0] != READY:
        pass
    converse(tenant)
    control.close()
    assert child.wait(10) == 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
