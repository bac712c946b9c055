#!/usr/bin/env python3
"""Goal: hisho.yaml chooses the device, through hishod to the models' process and its jail; hisho status tells what computes, and
in Japanese why it is not the GPU. The GPU is a plug-in that computes on the CPU.

Skips (77) without e5-small in $HISHO_MODELS or the cache.
"""
import http.client
import os
import socket
import subprocess

from appliance import BUILD, Appliance, check, find_model, skip, wait_for

FAKE = BUILD / "tests" / "unit" / "inference" / "fake-cuda.so"
JAPANESE = {"LC_ALL": "C.UTF-8", "LANGUAGE": "ja", "LANG": "ja_JP.UTF-8", "HISHO_LOCALEDIR": str(BUILD / "po")}


def restart(a, lines):
    a.stop()
    config = a.state / "hisho.yaml"
    kept = config.read_text().split("infer:")[0]
    config.write_text(kept + lines)
    a.start()


def embedder_line(a, env=None):
    text = a.hisho("status", env=env)
    return next((line for line in text.splitlines() if line.startswith("embedder ")), None)


def devices(a, lines, env=None):
    restart(a, lines)
    return wait_for("the embedder", lambda: embedder_line(a, env))


def metrics(a):
    connection = http.client.HTTPConnection("hisho", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(a.state / "run" / "admin.sock"))
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


embedder = find_model("e5-small-q4.bin")
if not embedder:
    skip("no e5-small-q4.bin in $HISHO_MODELS or the cache")
os.chmod(FAKE, 0o755)
with Appliance(embedder=embedder) as a:
    line = devices(a, "")
    check(line.split(maxsplit=1)[1].startswith("cpu ("), line)
    text = metrics(a)
    check('hisho_embedded_texts_total{program="hisho-infer",tenant=""} 0\n' in text and "hisho_gpu" not in text, text)
    line = devices(a, f"infer:\n  device: cuda:0\n  plugin: {FAKE}\n")
    check(line.split(maxsplit=1)[1] == 'cuda:0 Fake "one"', line)
    check('\nhisho_gpu_embedder_bytes{program="hisho-infer",tenant=""} 1050\n' in metrics(a), metrics(a))
    line = devices(a, f"infer: {{device: cuda:7, plugin: {FAKE}}}\n")
    check("cpu (cuda:7: there are two)" in line, line)
    line = devices(a, "infer: {device: cuda:0, plugin: /nonexistent/hisho-cuda.so}\n", JAPANESE)
    check("/nonexistent/hisho-cuda.so: CUDAプラグインがインストールされていません" in line, line)
    line = devices(a, "infer: {device: cpu}\n")
    check("the configuration says so" in line, line)
    a.stop()
    config = a.state / "hisho.yaml"
    config.write_text(config.read_text().split("infer:")[0] + "infer: {device: gpu}\n")
    done = subprocess.run([BUILD / "daemon" / "hishod", "--state", a.state], capture_output=True, text=True, timeout=30)
    check(done.returncode != 0 and "config.device" in done.stderr, done)
print("chosen, refused and told")
