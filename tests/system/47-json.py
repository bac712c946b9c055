#!/usr/bin/env python3
"""Goal: an answer in JSON is of the schema, its texts are the documents', and it is released whole or not at all; what cannot be
checked, and what is not understood, is refused by name; OpenAI's form of a refusal stands for what the documents do not say.

Skips (77) without the 0.5B model in $HISHO_MODELS or the cache."""
import json

from appliance import ROOT, Appliance, check, find_model, skip, wait_for

DEMO = ROOT / "docs" / "demo" / "tokai"
MODEL = find_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
QUESTION = "試用期間は何か月ですか。"
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string", "maxLength": 200}, "note": {"type": "null"}},
          "required": ["answer", "note"], "additionalProperties": False}


def wanted(schema):
    return {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}


def ask(a, question, form, **more):
    status, _, body = a.request("POST", "/v1/chat/completions", a.token("tokai", "tanaka"),
                                {"messages": [{"role": "user", "content": question}], "response_format": form, **more})
    return status, body.decode()


def check_message(message, outcome, citations):
    """As OpenAI's clients read it. What a small model writes is not ours to say; what may be released is."""
    if outcome == "answered":
        value = json.loads(message["content"])
        check(set(value) == {"answer", "note"} and value["note"] is None and isinstance(value["answer"], str), message)
        check("3" in value["answer"].translate(str.maketrans("３三", "33")) and citations, message)
    else:
        check(outcome == "not_found" and not message.get("content") and message["refusal"], message)


if not MODEL:
    skip("no qwen2.5-coder-0.5b-instruct-q4_k_m.gguf in $HISHO_MODELS or the cache")
with Appliance(generator=MODEL) as a:
    a.add_tenant("tokai", (DEMO / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))
    wait_for("the tenant to know the model", lambda: json.loads(a.hisho("status", "--json", tenant="tokai"))["generator"], 300)

    status, body = ask(a, QUESTION, wanted(SCHEMA))
    check(status == 200, body)
    answer = json.loads(body)
    print(answer["hisho"]["outcome"], answer["choices"][0]["message"])
    check_message(answer["choices"][0]["message"], answer["hisho"]["outcome"], answer["hisho"]["citations"])

    # Streamed: nothing before the whole, the same bytes.
    status, body = ask(a, QUESTION, wanted(SCHEMA), stream=True)
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    said = [e["choices"][0]["delta"] for e in events if e["choices"][0]["delta"].get("content") or e["choices"][0]["delta"].get("refusal")]
    check(len(said) == 1, events)
    check(said[0].get("content") == answer["choices"][0]["message"]["content"], (said, answer))

    # A text that may be nothing but a word of the client's own is no document's.
    status, body = ask(a, QUESTION, wanted({"type": "object", "properties": {"answer": {"const": "六百か月である。"}}, "required": ["answer"]}))
    check(status == 200 and json.loads(body)["hisho"]["outcome"] == "not_found" and "六百" not in body, body)
    # Cut off: nothing of it.
    status, body = ask(a, QUESTION, wanted(SCHEMA), max_tokens=2)
    check(status == 200 and json.loads(body)["choices"][0]["message"]["content"] is None, body)

    for form, code, object in [({"type": "json_object"}, "request.response_format", "json_object"),
                               (wanted({"type": "integer"}), "grammar.unsupported", "integer"),
                               (wanted({"type": "array", "items": {"type": "boolean"}}), "grammar.unsupported", "boolean"),
                               (wanted({"enum": ["a", 1]}), "grammar.unsupported", "no text"),
                               (wanted({"type": "string", "pattern": "a"}), "grammar.unsupported", "pattern"),
                               (wanted({"type": "array"}), "grammar.schema", "items")]:
        status, body = ask(a, QUESTION, form)
        error = json.loads(body)["error"]
        check(status == 400 and error["code"] == code and object in error["object"], (form, status, body))
print("of the schema, of the documents, or not at all")
