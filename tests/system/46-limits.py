#!/usr/bin/env python3
"""Goal: a tenant's named limits hold: the day's tokens also over a restart, the minute's with a time to come back, the queue, the
context and the computing time; they are told in OpenAI's form, in Japanese too, and another tenant does not feel them.

Skips (77) without the 0.5B model in $HISHO_MODELS or the cache."""
import json
import threading

from appliance import ROOT, Appliance, check, find_model, skip, wait_for

DEMO = ROOT / "docs" / "demo" / "tokai"
MODEL = find_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
QUESTION = "試用期間は何か月ですか。"


def configure(a, limits):
    """Restart with these limits of tokai."""
    a.stop()
    path = a.state / "hisho.yaml"
    text = path.read_text().split("tenants:")[0]
    path.write_text(text + (f"tenants:\n  - name: tokai\n" + "".join(f"    {k}: {v}\n" for k, v in limits.items()) if limits else ""))
    a.start()
    wait_for("the tenant to know the model", lambda: status(a)["generator"], 300)


def status(a, tenant="tokai"):
    return json.loads(a.try_hisho("status", "--json", tenant=tenant) or '{"generator": ""}')


def ask(a, tenant="tokai", language="en", **more):
    code, headers, body = a.request("POST", "/v1/chat/completions", a.token(tenant, "tanaka"),
                                    {"messages": [{"role": "user", "content": QUESTION}], **more}, {"Accept-Language": language})
    return code, headers, json.loads(body)


def refused(answer, code, limit, number):
    status, headers, body = answer
    check(status == code and body["error"]["code"] == f"limit.{limit}", answer)
    check(f"{limit}: {number}" in body["error"]["message"], answer)
    check((int(headers.get("retry-after", 0)) > 0) == (code == 429), answer)
    return body["error"]["message"], int(headers.get("retry-after", 0))


if not MODEL:
    skip("no qwen2.5-coder-0.5b-instruct-q4_k_m.gguf in $HISHO_MODELS or the cache")
with Appliance(generator=MODEL) as a:
    for tenant in ("tokai", "other"):
        a.add_tenant(tenant, (DEMO / "policy.yaml").read_text())
        a.ingest(tenant, DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))

    # What is not limited is counted all the same.
    configure(a, {})
    code, _, answer = ask(a)
    check(code == 200 and answer["usage"]["prompt_tokens"] > 0, answer)
    used = answer["usage"]["total_tokens"]
    check(status(a)["tokens_today"] == used, (status(a), used))

    # The day: it is used up to what one prompt takes at most (256 of a context of 512), and a restart forgets nothing.
    day = 700
    limits = {"tokens_per_day": day, "context": 512}
    configure(a, limits)
    code, _, answer = ask(a)
    check(code == 200, answer)
    used = answer["usage"]["total_tokens"]
    for _ in range(10):
        one = ask(a, max_tokens=1)
        if one[0] != 200:
            break
        used += one[2]["usage"]["total_tokens"]
    refused(one, 429, "tokens_per_day", day)
    message, retry = refused(ask(a), 429, "tokens_per_day", day)
    check(retry <= 86400 and "hisho.yaml" in message, message)
    message, _ = refused(ask(a, language="ja"), 429, "tokens_per_day", day)
    check("本日" in message, message)
    check(used <= day and status(a)["tokens_today"] == used and status(a)["limit_refused"] == 3, (used, status(a)))
    configure(a, {**limits, "queue": 8})
    check(status(a)["tokens_today"] == used and status(a)["limit_tokens_per_day"] == day, status(a))
    refused(ask(a), 429, "tokens_per_day", day)
    code, _, answer = ask(a, "other")
    check(code == 200, answer)
    a.kill()  # nor does a power cut
    a.start()
    wait_for("the tenant to know the model", lambda: status(a)["generator"], 300)
    refused(ask(a), 429, "tokens_per_day", day)

    # The minute: what was asked for beyond it waits.
    configure(a, {"tokens_per_minute": 10})
    check(ask(a)[0] == 200, "the first is owed")
    _, retry = refused(ask(a), 429, "tokens_per_minute", 10)
    check(retry > 60, retry)

    # The context: the longest answer is half of it, and a question that does not fit is told so.
    configure(a, {"context": 256})
    code, headers, body = a.request("POST", "/v1/chat/completions", a.token("tokai", "tanaka"),
                                    {"messages": [{"role": "user", "content": QUESTION + "くわしく。" * 200}]})
    refused((code, headers, json.loads(body)), 413, "context", 256)

    # The computing time: a machine that answers within a second passes.
    configure(a, {"generation_seconds": 1})
    answer = ask(a)
    if answer[0] != 200:
        refused(answer, 422, "generation_seconds", 1)

    # The queue: one is answered, one waits, the third is refused while they do.
    configure(a, {"generations": 1, "queue": 1})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(a))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    codes = sorted(code for code, _, _ in answers)
    check(codes == [200, 200, 429, 429], answers)
    for one in answers:
        if one[0] == 429:
            refused(one, 429, "queue", 1)
    wait_for("all to be over", lambda: status(a)["answers_open"] == 0)
print("day, minute, context, queue; over restarts; in two languages")
