#!/usr/bin/env python3
"""Goal: an adapter belongs to the tenant that hisho.yaml names. That tenant's model is called MODEL+ADAPTER, another's is the bare one; a
tenant whose adapter is missing or made for another model is served without a generator, never with the bare model, and is told why.

Skips (77) without the 0.5B model in $HISHO_MODELS or the cache."""
import json
import struct

from appliance import ROOT, Appliance, check, find_model, skip, wait_for

MODEL = find_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
EMBD, LAYERS, RANK = 896, 24, 4
DEMO = ROOT / "docs" / "demo" / "tokai"
CONFIG = """tenants:
  - {name: adapted, adapter: models/own.gguf}
  - {name: missing, adapter: models/none.gguf}
  - {name: wrong, adapter: models/wrong.gguf}
"""


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def write_adapter(path, architecture):
    """Queries of every layer, a little, always the same."""
    shapes = [(f"blk.{layer}.attn_q.weight.lora_{part}", dims) for layer in range(LAYERS)
              for part, dims in (("a", (EMBD, RANK)), ("b", (RANK, EMBD)))]
    fields = [text(key) + struct.pack("<I", 8) + text(value) for key, value in (
        ("general.type", "adapter"), ("general.architecture", architecture), ("adapter.type", "lora"))]
    fields.append(text("adapter.lora.alpha") + struct.pack("<If", 6, 8.0))
    out, offset, data = struct.pack("<IIQQ", 0x46554747, 3, len(shapes), len(fields)) + b"".join(fields), 0, b""
    for name, (columns, rows) in shapes:
        out += text(name) + struct.pack("<IQQIQ", 2, columns, rows, 0, offset)
        values = [((i * 7919) % 13 - 6) / 200 for i in range(columns * rows)]
        data += struct.pack(f"<{len(values)}f", *values)
        offset += 4 * len(values)
    out += b"\0" * (-len(out) % 32)
    path.write_bytes(out + data)


def infer(a):
    processes = json.loads(a.hisho("status", "--json"))["processes"]
    return next(p.get("detail") or {} for p in processes if p["name"] == "hisho-infer")


def generator(a, tenant):
    return json.loads(a.hisho("status", "--json", tenant=tenant))["generator"]


if not MODEL:
    skip("no qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
with Appliance(generator=MODEL) as a:
    for name in ("adapted", "bare", "missing", "wrong"):
        a.add_tenant(name, (DEMO / "policy.yaml").read_text())
    a.stop()
    write_adapter(a.state / "models" / "own.gguf", "qwen2")
    write_adapter(a.state / "models" / "wrong.gguf", "llama")
    config = a.state / "hisho.yaml"
    config.write_text(config.read_text() + CONFIG)
    a.start()
    wait_for("the models", lambda: infer(a).get("loaded"), 300)
    own, none, wrong = infer(a)["adapters"]
    check(own["id"] == "own" and own["rank"] == RANK and own["device"] == "cpu", own)
    check("none.gguf" in none["why"]["object"] and "device" not in none, none)
    check(wrong["why"]["object"] == "general.architecture", wrong)
    wait_for("the tenant to know its model", lambda: generator(a, "adapted"), 60)
    check(generator(a, "adapted") == MODEL.stem + "+own", generator(a, "adapted"))
    wait_for("the other one, too", lambda: generator(a, "bare") == MODEL.stem, 60)
    check(generator(a, "missing") == "" and generator(a, "wrong") == "", "no generator where the adapter cannot be used")
    lines = a.hisho("status")
    check("own cpu" in lines and "general.architecture" in lines, lines)
    info = json.loads(a.hisho("model", "info", a.state / "models" / "own.gguf", MODEL, "--json"))
    check(info["adapter"] and info["rank"] == RANK and info["alpha"] == 8, info)
    check(a.try_hisho("model", "info", a.state / "models" / "wrong.gguf", MODEL) is None, "an adapter of another model fits")
print("named, refused, told")
