#!/usr/bin/env python3
"""Goal: `hisho model info` tells what a file of each family is and why it would be refused, and `hisho model perplexity` measures.

The files are the tiny random models of tests/unit/inference/test_golden.c, one a row of the table. Needs HISHO_BUILD, as ./check
sets it. With llama.cpp's llama-perplexity in HISHO_LLAMA_PERPLEXITY and model files in HISHO_PERPLEXITY_MODELS (a list with
colons) and a text in HISHO_PERPLEXITY_TEXT, both programs must agree on these within 0.5%.
"""
import json
import math
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

if "HISHO_BUILD" not in os.environ:
    print("no $HISHO_BUILD")
    sys.exit(77)
BUILD = pathlib.Path(os.environ["HISHO_BUILD"]).resolve()


def hisho(*arguments):
    done = subprocess.run([BUILD / "cli" / "hisho", "model", *arguments], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def check(what, fine):
    if not fine:
        sys.exit(f"not so: {what}")


def describe_each(folder, text):
    files = sorted(folder.glob("*.gguf"))
    check("a file a row and more", len(files) >= 12)
    for path in files:
        code, out, err = hisho("info", "--json", str(path))
        info = json.loads(out)
        check(f"{path.name} runs: {err}", code == 0 and info["computes"] == "yes" and info["reads_text"] == "yes")
        check(f"{path.name} has features", "norm" in info["features"] and info["parameters"] > 0)
        check(f"{path.name} has F32 tensors", info["types"][0]["type"] == "F32")
        code, out, err = hisho("perplexity", "--json", "--context", "16", "--pieces", "2", str(path), str(text))
        if info["pooling"] != "none":
            check(f"{path.name} foresees nothing", code == 1 and "model.perplexity" in err)
            continue
        got = json.loads(out)
        check(f"{path.name}: {got}", code == 0 and got["tokens_scored"] == 14 and math.isfinite(got["perplexity"]))
    experts = json.loads(hisho("info", "--json", str(folder / "gpt-oss.gguf"))[1])
    check("gpt-oss's experts and window", (experts["experts"], experts["experts_used"], experts["window"]) == (6, 3, 8))


def refuse_broken(folder):
    data = (folder / "qwen3.gguf").read_bytes()
    broken = folder / "broken.gguf"
    broken.write_bytes(data.replace(b"qwen3.block_count", b"qwen3.block_coun_"))
    code, out, _ = hisho("info", "--json", str(broken))
    check("a missing field is named", code == 1 and "qwen3.block_count" in json.loads(out)["computes"])
    broken.write_bytes(data.replace(b"blk.1.attn_q_norm", b"blk.1.attn_x_norm"))
    code, out, _ = hisho("info", "--json", str(broken))
    check("a missing tensor is named", code == 1 and "blk.1.attn_q_norm.weight" in json.loads(out)["computes"])
    broken.write_bytes(data[: len(data) // 2])
    check("half a file is refused", hisho("info", str(broken))[0] == 1)


def agree_with_llama():
    peer, models, text = (os.environ.get(f"HISHO_{n}", "") for n in ("LLAMA_PERPLEXITY", "PERPLEXITY_MODELS", "PERPLEXITY_TEXT"))
    if not (peer and models and text):
        print("llama-perplexity was not given: only the tiny models were tried")
        return
    for model in models.split(":"):
        ours = json.loads(hisho("perplexity", "--json", "--pieces", "2", model, text)[1])["perplexity"]
        done = subprocess.run([peer, "-m", model, "-f", text, "-c", "512", "-b", "512", "--chunks", "2", "--no-repack"],
                              capture_output=True, text=True)
        theirs = float(re.search(r"PPL = ([0-9.]+)", done.stdout + done.stderr).group(1))
        print(f"{pathlib.Path(model).name}: {ours:.4f}, llama.cpp {theirs:.4f}")
        check("within 0.5%", abs(ours / theirs - 1) < 0.005)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    subprocess.run([BUILD / "tests" / "unit" / "inference_test_golden"], env={**os.environ, "HISHO_GOLDEN_OUT": name},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
    text = folder / "letters.txt"
    random.seed(27)
    text.write_text("".join(random.choice("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG") for _ in range(80)))
    describe_each(folder, text)
    refuse_broken(folder)
    agree_with_llama()
