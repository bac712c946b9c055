#!/usr/bin/env python3
"""Goal: the demo's 40 questions, each asked by its person. Nobody is told what they may not read, whatever the model does;
with the small model, most of what may be read is answered with a citation whose bytes hold the answer. The shares are printed."""
import json
import os
import sys
import time
import unicodedata

from appliance import ROOT, Appliance, find_model, skip, wait_for

NAMES = {"small": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "default": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"}
wanted = os.environ.get("HISHO_TEST_MODEL", "small")
generator = find_model(NAMES[wanted]) if wanted in NAMES else None
embedder_source = find_model("e5-small-q4.bin")
if wanted in NAMES and not (generator and embedder_source):
    skip(f"the models are not in $HISHO_MODELS or the cache: {NAMES[wanted]}, e5-small-q4.bin")

DEMO = ROOT / "docs" / "demo"
NOT_FOUND = "資料には記載がありません"


def plain(text):
    return unicodedata.normalize("NFKC", text).replace(",", "").replace(" ", "")


def holds(text, answers):
    return any(plain(a) in plain(text) for a in answers)


questions = [json.loads(line) for line in open(DEMO / "questions.jsonl", encoding="utf-8")]
with Appliance(generator=generator, embedder=embedder_source) as a:
    for tenant in ("tokai", "midoridai"):
        a.add_tenant(tenant, (DEMO / tenant / "policy.yaml").read_text())
        a.ingest(tenant, DEMO / tenant / "documents")

    def ready():
        states = [json.loads(a.hisho("status", "--json", tenant=t)) for t in ("tokai", "midoridai")]
        return all(s["vectors"] == s["chunks"] and (s["generator"] or not generator) for s in states)

    if generator:
        wait_for("models and vectors", ready, 300)
    counts = {}
    seconds = []
    leaks = []
    for q in questions:
        began = time.monotonic()
        reply = a.ask(q["tenant"], q["user"], q["question"])
        seconds.append(time.monotonic() - began)
        text = reply["choices"][0]["message"]["content"]
        more = reply["hisho"]
        answered = more["outcome"] in ("answered", "extracted")
        row = counts.setdefault(q["right"], {"asked": 0, "answered": 0, "right": 0, "cited": 0, "retrieved": 0})
        row["asked"] += 1
        row["answered"] += answered
        row["right"] += answered and holds(text, q["answers"])
        row["cited"] += answered and any(holds(c["quote"], q["answers"]) for c in more["citations"])
        row["retrieved"] += any(holds(e["quote"], q["answers"]) for e in more["evidence"])
        if q["right"] == "denied" and holds(json.dumps(reply, ensure_ascii=False), q["answers"]):
            leaks.append(q["question"])
        print(f"{q['right']:8}{more['outcome']:11}{seconds[-1]:6.1f} s  {q['question']}\n{'':27}{text!r} <- {q['answers']}")
    for right, row in counts.items():
        print(right, row)
    seconds.sort()
    print(f"median {seconds[len(seconds) // 2]:.1f} s, slowest {seconds[-1]:.1f} s")
    if leaks:
        sys.exit(f"told what may not be read: {leaks}")
    allowed = counts["allowed"]
    if allowed["retrieved"] < 0.7 * allowed["asked"]:
        sys.exit("the evidence holds too few of the answers")
    if allowed["right"] == 0 or allowed["cited"] < allowed["right"] * 0.6:
        sys.exit("too few answers are right and cited where they stand")
print("nobody was told what they may not read")
