#!/usr/bin/env python3
"""Goal: the OpenAI Python client works against Hisho unchanged: models, whole and streamed answers, errors as its own classes."""
import os
import pathlib
import subprocess
import sys
import venv

from appliance import ROOT, Appliance, skip

FOLDER = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "hisho" / "test-openai"
PYTHON = FOLDER / "bin" / "python3"
DEMO = ROOT / "docs" / "demo"

CLIENT = r"""
import os, openai
client = openai.OpenAI(base_url=os.environ["URL"] + "/v1", api_key=os.environ["TOKEN"])
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "国内の日帰り出張とは、片道何km以上のものですか。"}]
whole = client.chat.completions.create(model=model, messages=messages)
assert "80km" in whole.choices[0].message.content, whole
assert whole.choices[0].finish_reason == "stop", whole
assert whole.model_extra["hisho"]["citations"], whole
text, evidence_first = "", None
for chunk in client.chat.completions.create(model=model, messages=messages, stream=True, stream_options={"include_usage": True}):
    more = (chunk.model_extra or {}).get("hisho") or {}
    if evidence_first is None:
        evidence_first = bool(more.get("evidence")) and not (chunk.choices[0].delta.content or "")
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
assert evidence_first, "the evidence comes first"
assert text == whole.choices[0].message.content, (text, whole)
kept = client.chat.completions.create(model=model, messages=messages, extra_body={"hisho": {"conversation": "new"}})
assert kept.model_extra["hisho"]["conversation"].startswith("cnv_"), kept
assert "conversation" not in whole.model_extra["hisho"], whole
try:
    client.chat.completions.create(model=model, messages=messages, n=2)
    raise SystemExit("n=2 was taken")
except openai.BadRequestError as e:
    assert e.code == "request.unsupported_parameter", e.code
try:
    client.chat.completions.create(model="gpt-4o", messages=messages)
    raise SystemExit("another model's name was taken")
except openai.NotFoundError as e:
    assert e.code == "model_not_found", e.code
client.chat.completions.create(model="hisho", messages=messages)
try:
    openai.OpenAI(base_url=os.environ["URL"] + "/v1", api_key="hsk_wrong", max_retries=0).models.list()
    raise SystemExit("a wrong key was taken")
except openai.AuthenticationError:
    pass
print("client", openai.__version__)
"""

if not PYTHON.exists():
    try:
        venv.create(FOLDER, with_pip=True, clear=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "openai>=1.40"], check=True, timeout=300, capture_output=True)
    except (subprocess.SubprocessError, OSError) as e:
        import shutil
        shutil.rmtree(FOLDER, ignore_errors=True)
        skip(f"the openai package cannot be installed here: {e}")

with Appliance() as a:
    a.add_tenant("tokai", (DEMO / "tokai" / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "tokai" / "documents")
    done = subprocess.run([PYTHON, "-c", CLIENT], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "URL": a.url, "TOKEN": a.token("tokai", "tanaka"),
                               "SSL_CERT_FILE": str(a.state / "tls" / "cert.pem")})
    print(done.stdout, done.stderr)
    if done.returncode != 0:
        sys.exit("the client failed")
