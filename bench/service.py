#!/usr/bin/env python3
"""What a real appliance costs and how soon it speaks: memory of five open tenants before models, files filed a second, the
first event of an answer. Prints figures, judges nothing.

usage: HISHO_BUILD=build bench/service.py      (HISHO_DEMO_GENERATOR, HISHO_DEMO_EMBEDDER: model files, for the answer's part)
"""
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "system"))
from appliance import ROOT, Appliance, wait_for  # noqa: E402

DEMO = ROOT / "docs" / "demo" / "tokai"
QUESTION = "試用期間は何か月ですか。"
FILES = 600


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


def spread(values):
    values = sorted(values)
    return f"median {values[len(values) // 2]:.1f}, slowest {values[-1]:.1f}"


named = {kind: os.environ.get(f"HISHO_DEMO_{kind.upper()}") for kind in ("generator", "embedder")}
policy = (DEMO / "policy.yaml").read_text()
with Appliance() as a:
    for i in range(5):
        a.add_tenant(f"t{i}", policy)
        a.ingest(f"t{i}", DEMO / "documents")
        a.search(f"t{i}", "tanaka", QUESTION)
    total = sum(map(proportional_kilobytes, [a.process.pid, *a.pids()]))
    print(f"memory, 5 open tenants, no models: {total / 1024:.0f} MiB (sum of Pss)")
    folder = a.dir / "many"
    folder.mkdir()
    for i in range(FILES):
        (folder / f"{i}.txt").write_text(f"文書{i}番。" + "旅費規程に基づき、出張の宿泊料は一泊につき一万二千円を上限とする。" * 9)
    began = time.monotonic()
    a.ingest("t0", folder, args=("--collection", "規程", "--level", "社外秘"))
    print(f"ingest, {FILES} files of 1 kB, sealed, filed and found by words: {FILES / (time.monotonic() - began):.0f} files/s")
    token = a.token("t0", "tanaka")
    print("first event, no models, ms:", spread([first_event_ms(a, token) for _ in range(20)]))

if all(named.values()):
    with Appliance(**{kind: pathlib.Path(file) for kind, file in named.items()}) as a:
        a.add_tenant("t0", policy)
        a.ingest("t0", DEMO / "documents")
        wait_for("models and vectors", lambda: (lambda s: s["generator"] and s["vectors"] == s["chunks"])(
            json.loads(a.hisho("status", "--json", tenant="t0"))), 300)
        token = a.token("t0", "tanaka")
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
