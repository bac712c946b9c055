#!/usr/bin/env python3
"""Goal: /metrics is well-formed Prometheus text, of every tenant, and its numbers follow what happens."""
import http.client
import re
import socket

from appliance import ROOT, Appliance, check, wait_for

DEMO = ROOT / "docs" / "demo" / "tokai"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SAMPLE = re.compile(r'^([a-z_]+)\{((?:[a-z]+="[a-z0-9-]*",?)*)\} (-?[0-9]+)$')


class Admin(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("hisho", timeout=30)
        self.socket_path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.socket_path)


def metrics(a):
    """{(name, tenant): value}, each line checked: HELP and TYPE come once, before their samples."""
    c = Admin(a.state / "run" / "admin.sock")
    c.request("GET", "/metrics")
    response = c.getresponse()
    check(response.status == 200 and response.getheader("content-type").startswith("text/plain"), response.status)
    text = response.read().decode()
    c.close()
    check(text.endswith("\n"), text[-80:])
    helped, typed, values = set(), {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            check(name not in helped, line)
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            check(name in helped and name not in typed and kind in ("gauge", "counter"), line)
            check((kind == "counter") == name.endswith("_total"), line)
            typed[name] = kind
        else:
            m = SAMPLE.match(line)
            check(m and m[1] in typed, line)
            labels = dict(part.split("=") for part in m[2].split(","))
            key = m[1], labels["tenant"].strip('"'), labels.get("program", "")
            check(key not in values, line)
            values[key] = int(m[3])
    for name in typed:
        check(f"`{name}`" in OPERATIONS, f"docs/operations.md does not tell of {name}")
    return {(name, tenant): value for (name, tenant, program), value in values.items() if not program}


with Appliance() as a:
    a.add_tenant("tokai", (DEMO / "policy.yaml").read_text())
    a.add_tenant("other", "version: 1\ncollections: [c]\nusers: [{name: tanaka}]\n", sender=False)
    first = metrics(a)
    check(first["hisho_documents", "tokai"] == 0 and first["hisho_questions_total", "tokai"] == 0, first)
    check(first["hisho_disk_free_bytes", "tokai"] > 0, first)
    a.ingest("tokai", DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))
    a.ask("tokai", "tanaka", "試用期間は何か月ですか。")
    a.ask("tokai", "tanaka", "火星の首都はどこですか。")
    check(a.request("GET", "/v1/documents/doc_" + "a" * 26 + "/source", a.token("tokai", "tanaka"))[0] == 404, "an unknown document")
    now = wait_for("the counters", lambda: (lambda m: m if m["hisho_questions_total", "tokai"] == 2 else None)(metrics(a)))
    check(now["hisho_documents", "tokai"] == 1 and now["hisho_passages", "tokai"] > 0, now)
    check(now["hisho_denied_total", "tokai"] == 1 and now["hisho_not_found_total", "tokai"] == 1, now)
    check(now["hisho_jobs_waiting", "tokai"] == 0 and now["hisho_vectors_behind", "tokai"] == 0, now)
    check(now["hisho_questions_total", "other"] == 0, now)
print(f"{len(now)} series of two tenants")
