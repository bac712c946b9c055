#!/usr/bin/env python3
"""Goal: clients that leave in the middle of an answer, 300 in a row, end no process; the next question is answered."""
import json

from appliance import ROOT, Appliance

DEMO = ROOT / "docs" / "demo" / "tokai"
BODY = json.dumps({"stream": True, "messages": [{"role": "user", "content": "試用期間は何か月ですか。"}]})

with Appliance() as a:
    a.add_tenant("tokai", (DEMO / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))
    token = a.token("tokai", "tanaka")
    before = sorted(a.pids())
    for i in range(300):
        c = a.connection()
        c.request("POST", "/v1/chat/completions", BODY, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        response = c.getresponse()
        assert response.status == 200, response.status
        if i % 3:
            response.readline()
        c.close()
    text = a.ask("tokai", "tanaka", "試用期間は何か月ですか。")["choices"][0]["message"]["content"]
    assert "3か月" in text, text
    assert sorted(a.pids()) == before, "a process was restarted"
print("300 clients left, nothing else did")
