#!/usr/bin/env python3
"""What a real appliance costs and how soon it speaks: memory of five open tenants before models, files filed a second, ingest
against `mecab -Owakati` over the same files, the first event of an answer, and how soon a disconnect frees the model. Prints figures, judges nothing.

usage: HISHO_BUILD=build bench/service.py [PART...]      memory, files, mecab, answers (all)
HISHO_DEMO_GENERATOR, HISHO_DEMO_EMBEDDER: model files, for the answer's part. HISHO_BENCH_CORPUS: a BEIR folder whose texts make the
files of 20 kB; without it those of the demo do, again and again.
"""
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "system"))
from appliance import ROOT, Appliance, wait_for  # noqa: E402

DEMO = ROOT / "docs" / "demo" / "tokai"
QUESTION = "試用期間は何か月ですか。"
FILES = 600
LARGE_FILES, LARGE_BYTES = 150, 20000


def proportional_kilobytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def first_event_ms(a, token, hold=0):
    """Milliseconds from the request to the first server-sent event; then stay connected for `hold` seconds."""
    c = a.connection()
    c.connect()
    began = time.monotonic()
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": QUESTION}]})
    c.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    response = c.getresponse()
    line = b""
    while not line.startswith(b"data:"):
        line = response.readline()
    ms = (time.monotonic() - began) * 1000
    assert b'"evidence"' in line
    time.sleep(hold)
    c.close()
    return ms


def sentences():
    """Real sentences, in an order that is the same each time."""
    corpus = os.environ.get("HISHO_BENCH_CORPUS")
    if corpus:
        with open(pathlib.Path(corpus) / "corpus.jsonl", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
    else:
        texts = [path.read_text() for path in sorted((ROOT / "docs" / "demo").rglob("*")) if path.suffix in (".txt", ".md")]
    found = [sentence.strip() + "。" for text in texts for sentence in text.replace("\n", "").split("。") if sentence.strip()]
    random.Random(1).shuffle(found)
    return found


def write_large(folder):
    pool, at, paths = sentences(), 0, []
    folder.mkdir()
    for i in range(LARGE_FILES):
        lines, size = [], 0
        while size < LARGE_BYTES:
            lines.append(pool[at % len(pool)])
            size += len(lines[-1].encode()) + 1
            at += 1
        paths.append(folder / f"{i}.txt")
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths


def against_mecab(a):
    """mecab, ingest, mecab: what else the machine does weighs on both. mecab reads one file only, so it gets all in one."""
    paths = write_large(a.dir / "large")
    joined = a.dir / "joined.txt"
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    megabytes = sum(path.stat().st_size for path in paths) / 1e6

    def mecab():
        began = time.monotonic()
        subprocess.run(["mecab", "-Owakati", "-o", "/dev/null", joined], check=True)
        return time.monotonic() - began

    before = mecab()
    began = time.monotonic()
    a.ingest("t0", a.dir / "large", args=("--collection", "規程", "--level", "社外秘"))
    ours = time.monotonic() - began
    peer = (before + mecab()) / 2
    print(f"ingest, {len(paths)} files of 20 kB, sealed, filed and found by words: {megabytes / ours:.2f} MB/s; "
          f"mecab -Owakati: {megabytes / peer:.2f} MB/s; ratio {peer / ours:.2f}")


class AdminSocket(http.client.HTTPConnection):
    """The admin API, without a program to start for each look."""

    def __init__(self, path):
        super().__init__("hisho")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def requests_in_infer(admin):
    admin.request("GET", "/v1/status")
    processes = json.loads(admin.getresponse().read())["processes"]
    return next(p["detail"]["requests"] for p in processes if p["name"] == "hisho-infer")


def freed_ms(a, token, after):
    """Milliseconds from a client's leaving, so many seconds into its answer, until the model has nothing to do. A look costs some."""
    admin = AdminSocket(a.state / "run" / "admin.sock")
    c = a.connection()
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": QUESTION}]})
    c.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    response = c.getresponse()
    while requests_in_infer(admin) == 0:
        pass
    time.sleep(after)
    assert requests_in_infer(admin) == 1, "the answer was over too soon"
    began = time.monotonic()
    response.close()
    c.close()
    while requests_in_infer(admin):
        pass
    ms = (time.monotonic() - began) * 1000
    admin.close()
    return ms


def spread(values):
    values = sorted(values)
    return f"median {values[len(values) // 2]:.1f}, slowest {values[-1]:.1f}"


def without_models(parts):
    with Appliance() as a:
        policy = (DEMO / "policy.yaml").read_text()
        for i in range(5 if "memory" in parts else 1):
            a.add_tenant(f"t{i}", policy)
            a.ingest(f"t{i}", DEMO / "documents")
            a.search(f"t{i}", "tanaka", QUESTION)
        if "memory" in parts:
            total = sum(map(proportional_kilobytes, [a.process.pid, *a.pids()]))
            print(f"memory, 5 open tenants, no models: {total / 1024:.0f} MiB (sum of Pss)")
        if "files" in parts:
            folder = a.dir / "many"
            folder.mkdir()
            for i in range(FILES):
                (folder / f"{i}.txt").write_text(f"文書{i}番。" + "旅費規程に基づき、出張の宿泊料は一泊につき一万二千円を上限とする。" * 9)
            began = time.monotonic()
            a.ingest("t0", folder, args=("--collection", "規程", "--level", "社外秘"))
            print(f"ingest, {FILES} files of 1 kB, sealed, filed and found by words: {FILES / (time.monotonic() - began):.0f} files/s")
        if "mecab" in parts:
            against_mecab(a)
        if "answers" in parts:
            token = a.token("t0", "tanaka")
            print("first event, no models, ms:", spread([first_event_ms(a, token) for _ in range(20)]))


def with_models(named):
    with Appliance(**{kind: pathlib.Path(file) for kind, file in named.items()}) as a:
        a.add_tenant("t0", (DEMO / "policy.yaml").read_text())
        a.ingest("t0", DEMO / "documents")
        wait_for("models and vectors", lambda: (lambda s: s["generator"] and s["vectors"] == s["chunks"])(
            json.loads(a.hisho("status", "--json", tenant="t0"))), 300)
        token = a.token("t0", "tanaka")
        for when in (0, 0.3, 1):
            print(f"model freed after a disconnect {when} s into an answer, ms:", spread([freed_ms(a, token, when) for _ in range(10)]))
        idle = []
        for _ in range(10):
            idle.append(first_event_ms(a, token))
            time.sleep(1)
        print("first event, idle, ms:", spread(idle))
        beside = []
        for _ in range(5):
            other = threading.Thread(target=first_event_ms, args=(a, token, 6))
            other.start()
            time.sleep(1)
            beside.append(first_event_ms(a, token))
            other.join()
        print("first event, beside a running generation, ms:", spread(beside))


PARTS = sys.argv[1:] or ["memory", "files", "mecab", "answers"]
MODELS = {kind: os.environ.get(f"HISHO_DEMO_{kind.upper()}") for kind in ("generator", "embedder")}
without_models(PARTS)
if "answers" in PARTS and all(MODELS.values()):
    with_models(MODELS)
