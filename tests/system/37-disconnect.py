#!/usr/bin/env python3
"""Goal: a client that leaves in the middle of an answer frees the model: what it asked for is cancelled in hisho-infer, and is not
computed to its end. Told by hisho-infer's own counters."""
import json

from appliance import ROOT, Appliance, check, find_model, skip, wait_for

DEMO = ROOT / "docs" / "demo" / "tokai"
MODEL = find_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
QUESTION = "試用期間は何か月ですか。"


def counters(a):
    processes = json.loads(a.hisho("status", "--json"))["processes"]
    return next(p.get("detail", {}) for p in processes if p["name"] == "hisho-infer")


def ask_and_leave(a, token):
    """Ask, and go as soon as the model works on it."""
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": QUESTION}]})
    c = a.connection()
    c.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    response = c.getresponse()
    check(response.status == 200, response.status)
    wait_for("the model to be busy", lambda: counters(a)["requests"] == 1)
    response.close()
    c.close()


def freed(a, before, what):
    after = wait_for(what, lambda: (lambda now: now if now["requests"] == 0 else None)(counters(a)))
    check(after["cancelled"] == before["cancelled"] + 1, f"{what}: {before} became {after}")
    check(after["generated"] == before["generated"], f"{what}: computed to its end: {before} became {after}")
    return after


if not MODEL:
    skip("no qwen2.5-coder-0.5b-instruct-q4_k_m.gguf in $HISHO_MODELS or the cache")
with Appliance(generator=MODEL) as a:
    a.add_tenant("tokai", (DEMO / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))
    wait_for("the model", lambda: counters(a).get("loaded"), 300)
    wait_for("the tenant to know it", lambda: json.loads(a.hisho("status", "--json", tenant="tokai"))["generator"], 300)
    token = a.token("tokai", "tanaka")
    now = counters(a)
    for _ in range(3):
        ask_and_leave(a, token)
        now = freed(a, now, "the model after a client left")
    # The log says how each ended, and the next question is answered to its end.
    shown = json.loads(a.hisho("audit", "show", "--action", "answer", "--json", tenant="tokai"))
    check(len(shown) == 3 and all(row["decision"] == "failed" for row in shown), f"the closing records: {shown}")
    a.ask("tokai", "tanaka", QUESTION)
    check(counters(a)["generated"] == now["generated"] + 1, "an answer that nobody left is computed to its end")
print("3 clients left, and the model stopped for each")
