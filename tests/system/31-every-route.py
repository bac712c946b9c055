#!/usr/bin/env python3
"""Goal: every route, for every kind of wrong credential, is denied; what is denied tells nothing of what is there. The routes
are read from the source of the route table, so that a new one cannot be forgotten."""
import json
import re

from appliance import ROOT, Appliance, check

DEMO = ROOT / "docs" / "demo"
OPEN = {("GET", "/v1/tenant"), ("POST", "/v1/session")}


def routes():
    table = (ROOT / "daemon" / "tenant" / "route.c").read_text()
    return re.findall(r'\{"(GET|POST|DELETE)", "(/v1/[^"]*)"', table)


with Appliance() as a:
    a.add_tenant("tokai", (DEMO / "tokai" / "policy.yaml").read_text())
    a.add_tenant("midoridai", (DEMO / "midoridai" / "policy.yaml").read_text())
    a.ingest("tokai", DEMO / "tokai" / "documents" / "規程" / "稟議規程.txt", args=("--collection", "規程", "--level", "社外秘"))
    good = a.token("tokai", "tanaka")
    document = a.search("tokai", "tanaka", "稟議")[0]
    other = a.token("midoridai", "yamada")
    revoked = json.loads(a.hisho("token", "add", "tanaka", "--json", tenant="tokai"))
    a.hisho("token", "revoke", revoked["id"], tenant="tokai")
    damaged = good[:-1] + ("a" if good[-1] != "a" else "b")
    unknown = "hsk_" + good.split("_")[1] + "_" + "a" * 26 + "_" + "b" * 52 + "_cccccc"

    # A person whose account ended, and a session that was signed out of.
    policy = (DEMO / "tokai" / "policy.yaml").read_text()
    expired = a.token("tokai", "ito")
    ended = a.dir / "ended.yaml"
    ended.write_text(policy.replace("groups: [派遣社員]}", "groups: [派遣社員], expires: 2020-01-01}", 1))
    a.hisho("policy", "apply", ended, tenant="tokai")
    status, headers, _ = a.request("POST", "/v1/session", good, {"token": good})
    check(status == 200, f"a token buys a session: {status}")
    cookie = headers["set-cookie"].split(";")[0]
    signed_out = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Origin": a.url}
    status, _, reply = a.request("DELETE", "/v1/session", headers=signed_out)
    check(status == 200, f"signing out: {status} {reply!r}")

    # What the routes are about: a document, a conversation of tanaka's and its answer.
    kept = a.ask("tokai", "tanaka", "稟議書の決裁はどのように行いますか。", hisho={"conversation": "new"})["hisho"]
    things = {"/v1/conversations/{}": kept["conversation"], "/v1/messages/{}/feedback": kept["message"]}
    colleague = a.token("tokai", "sato")
    of_a_person = ("/v1/conversations/", "/v1/messages/")

    listed = routes()
    check(len(listed) > 25, f"{len(listed)} routes were read from the table")
    asked = 0
    for method, path in listed:
        if (method, path) in OPEN:
            continue
        about_one = "{}" in path
        path = path.replace("{}", things.get(path, document["document"]))
        body = b"{}" if method == "POST" else None
        if path.endswith("/feedback") and method == "POST":
            body = b'{"value": 1}'
        answers = {}
        for name, token in (("none", None), ("revoked", revoked["token"]), ("damaged", damaged), ("unknown", unknown),
                            ("garbage", "x" * 40), ("expired", expired), ("signed out", None)):
            status, _, reply = a.request(method, path, token, body, signed_out if name == "signed out" else None)
            asked += 1
            check(status == 401, f"{method} {path} with {name}: {status} {reply!r}")
            check(document["document"].encode() not in reply.replace(path.encode(), b""), f"{method} {path} with {name} tells nothing")
            answers[name] = reply
        # a credential of another tenant reaches that tenant only, where there is no such document
        status, _, reply = a.request(method, path, other, body)
        asked += 1
        check(b"\xe7\xa8\x9f\xe8\xad\xb0" not in reply, f"{method} {path} with another tenant's credential: {reply!r}")
        if about_one and not path.startswith(("/v1/admin/", "/v1/jobs/")):
            check(status == 404, f"{method} {path} with another tenant's credential: {status}")
        # what is one person's is no one else's of the same tenant
        if path.startswith(of_a_person):
            status, _, reply = a.request(method, path, colleague, body)
            asked += 1
            check(status == 404, f"{method} {path} with a colleague's credential: {status} {reply!r}")
            status, _, reply = a.request(method, path, a.token("tokai", "kanri", "admin"), body)
            asked += 1
            check(status == 403, f"{method} {path} with an admin's credential: {status} {reply!r}")
        # one who may ask may not administer, file or audit
        if path.startswith("/v1/admin/") or (method, path) in {("POST", "/v1/documents")} or path.startswith("/v1/jobs"):
            status, _, reply = a.request(method, path, good, body)
            asked += 1
            check(status == 403, f"{method} {path} with a credential to ask: {status} {reply!r}")

    status, _, reply = a.request("GET", "/v1/conversations/" + kept["conversation"], good)
    check(status == 200, f"nothing of it changed the conversation: {status} {reply!r}")

    # an admin administers and does not read, over the network as on the socket
    admin = a.token("tokai", "kanri", "admin")
    status, _, reply = a.request("GET", "/v1/admin/users", admin)
    check(status == 200, f"an admin's token administers: {status} {reply!r}")
    status, _, reply = a.request("POST", "/v1/search", admin, {"query": "稟議"})
    check(status == 403, f"and does not search: {status} {reply!r}")
    status, _, reply = a.request("GET", "/v1/nothing", good)
    check(status == 404, f"what is not there is not there: {status}")
    status, _, reply = a.request("PUT", "/v1/search", good, b"{}")
    check(status in (404, 405), f"a method that no route has: {status}")

print(f"{asked} requests were denied over {len(listed)} routes")
