#!/usr/bin/env python3
"""Goal: what is done to a tenant from outside of it (added, sealed, unsealed) stands in its audit log with who asked; so do
refusals, bounded; and the newest records are shown, however long the log is."""
import json
import os

from appliance import Appliance, check, wait_for

POLICY = "version: 1\ncollections: [c]\nusers: [{name: tanaka}]\n"


def shown(a, *args):
    return json.loads(a.hisho("audit", "show", "--json", *args, tenant="soumu"))


def main():
    me = f"local_{os.getuid()}"
    with Appliance() as a:
        a.add_tenant("soumu", POLICY, sender=False)
        added = shown(a, "--action", "tenant.")
        check([(r["action"], r["principal"]) for r in added] == [("tenant.added", me)], added)

        a.hisho("tenant", "seal", "soumu")
        a.hisho("tenant", "unseal", "soumu")
        wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="soumu") is not None)
        wait_for("the record", lambda: len(shown(a, "--action", "tenant.")) == 3)
        acts = [(r["action"], r["principal"]) for r in shown(a, "--action", "tenant.")]
        check(acts == [("tenant.added", me), ("tenant.sealed", me), ("tenant.unsealed", me)], acts)

        # A restart is nobody's act.
        a.stop()
        a.start()
        wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="soumu") is not None)
        check(len(shown(a, "--action", "tenant.")) == 3, "a restart was recorded as an act")

        # Refusals: a credential that is not valid, a document that is not there, a flood of them.
        token = a.token("soumu", "tanaka")
        revoked = json.loads(a.hisho("token", "add", "tanaka", "--scope", "ask", "--json", tenant="soumu"))
        a.hisho("token", "revoke", revoked["id"], tenant="soumu")
        document = "doc_" + "a" * 26
        check(a.request("GET", "/v1/me", revoked["token"])[0] == 401, "a revoked token")
        check(a.request("GET", f"/v1/documents/{document}/source", token)[0] == 404, "an unknown document")
        wait_for("both", lambda: len(shown(a, "--action", "denied")) == 2, 20)
        first, second = shown(a, "--action", "denied")
        check((first["decision"], first["reason"], first["principal"]) == ("denied", "auth.refused", "unknown"), first)
        check(first["object"] == revoked["id"], first)
        check((second["reason"], second["object"]) == ("doc.unknown", document), second)
        check(second["principal"].startswith("usr_"), second)
        for _ in range(60):
            a.request("GET", f"/v1/documents/{document}/source", token)
        written = len(shown(a, "--action", "denied"))
        check(10 < written < 60, f"{written} refusals of 62 were written")

        # A person is kept out and let in again: at once, their token with them.
        a.hisho("user", "suspend", "tanaka", tenant="soumu")
        check(a.request("GET", "/v1/me", token)[0] == 401, "a suspended person's token")
        check(a.try_hisho("user", "suspend", "nobody", tenant="soumu") is None, "nobody was suspended")
        a.hisho("user", "restore", "tanaka", tenant="soumu")
        check(a.request("GET", "/v1/me", token)[0] == 200, "a restored person's token")
        acts = [(r["action"], r["principal"], r["decision"]) for r in shown(a, "--action", "user.")]
        check(acts == [("user.suspend", me, "allowed"), ("user.restore", me, "allowed")], acts)

        # The newest, in order, and no more than were asked for.
        newest = shown(a, "--limit", "3")
        check(len(newest) == 3, newest)
        seqs = [r["seq"] for r in newest]
        check(seqs == list(range(seqs[0], seqs[0] + 3)), seqs)
        check(newest[-1]["action"] == "audit.show", newest[-1])
        check(a.try_hisho("audit", "show", "--limit", "100000", tenant="soumu") is None, "a limit over the limit")
    print("acts and refusals are recorded, the newest are shown")


main()
