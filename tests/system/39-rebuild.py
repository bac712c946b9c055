#!/usr/bin/env python3
"""Goal: another dictionary is no dead end. A tenant whose index was made with another one does not open, and says what to do; hisho
tenant rebuild indexes it anew, and it is searched as before. What serves is not rebuilt, and the act is recorded."""
import json

from appliance import ROOT, Appliance, CommandFailed, check, wait_for

DEMO = ROOT / "docs" / "demo" / "tokai"
QUESTION = "試用期間は何か月ですか。"


with Appliance() as a:
    a.add_tenant("tokai", (DEMO / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "documents" / "規程" / "就業規則.txt", args=("--collection", "規程", "--level", "社外秘"))
    before = a.ask("tokai", "tanaka", QUESTION)["choices"][0]["message"]["content"]
    check("3" in before, before)
    try:
        a.hisho("tenant", "rebuild", "tokai")
        raise AssertionError("a tenant that serves was rebuilt")
    except CommandFailed as e:
        check("tenant.whole" in str(e), e)

    # Another dictionary, which cuts words the same way: its bytes tell.
    a.stop()
    found = sorted(p for p in (a.state / "dict").rglob("dicrc"))
    check(len(found) == 1, f"{found} below {a.state / 'dict'}")
    found[0].chmod(0o600)
    with open(found[0], "a") as f:
        f.write("\n; changed\n")
    a.start()
    wait_for("the refusal", lambda: "index.generation" in a.log_path.read_text(errors="replace"))
    check(a.try_hisho("tenant", "info", tenant="tokai") is None, "the tenant serves an index of another dictionary")
    check("hisho tenant rebuild" in a.log_path.read_text(errors="replace"), "the log does not say what to do")

    a.hisho("tenant", "rebuild", "tokai")
    wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="tokai") is not None)
    check(a.ask("tokai", "tanaka", QUESTION)["choices"][0]["message"]["content"] == before, "another answer than before")
    shown = json.loads(a.hisho("audit", "show", "--json", "--action", "tenant.", tenant="tokai"))
    check([r["action"] for r in shown] == ["tenant.added", "tenant.rebuilt"], shown)

    # Once is enough.
    a.stop()
    a.start()
    wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="tokai") is not None)
print("refused, rebuilt, answered as before")
