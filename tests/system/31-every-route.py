#!/usr/bin/env python3
"""Goal: every route, for every kind of wrong credential, is denied; what is denied tells nothing of what is there. The routes
are read from the source of the route table, so that a new one cannot be forgotten."""
import json
import re

from appliance import ROOT, Appliance

DEMO = ROOT / "docs" / "demo"
OPEN = {("GET", "/v1/tenant"), ("POST", "/v1/session")}


def routes():
    table = (ROOT / "daemon" / "tenant" / "route.c").read_text()
    return re.findall(r'\{"(GET|POST|DELETE)", "(/v1/[^"]*)"', table)


def check(condition, what):
    if not condition:
        raise AssertionError(what)


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

    listed = routes()
    check(len(listed) > 25, f"{len(listed)} routes were read from the table")
    asked = 0
    for method, path in listed:
        if (method, path) in OPEN:
            continue
        path = path.replace("{}", document["document"])
        body = b"{}" if method == "POST" else None
        answers = {}
        for name, token in (("none", None), ("revoked", revoked["token"]), ("damaged", damaged), ("unknown", unknown),
                            ("garbage", "x" * 40)):
            status, _, reply = a.request(method, path, token, body)
            asked += 1
            check(status == 401, f"{method} {path} with {name}: {status} {reply!r}")
            check(document["document"].encode() not in reply.replace(path.encode(), b""), f"{method} {path} with {name} tells nothing")
            answers[name] = reply
        # a credential of another tenant reaches that tenant only, where there is no such document
        status, _, reply = a.request(method, path, other, body)
        asked += 1
        check(b"\xe7\xa8\x9f\xe8\xad\xb0" not in reply, f"{method} {path} with another tenant's credential: {reply!r}")
        if "{}" in path or "source" in path:
            check(status == 404, f"{method} {path} with another tenant's credential: {status}")
        # one who may ask may not administer, file or audit
        if path.startswith("/v1/admin/") or (method, path) in {("POST", "/v1/documents")} or path.startswith("/v1/jobs"):
            status, _, reply = a.request(method, path, good, body)
            asked += 1
            check(status == 403, f"{method} {path} with a credential to ask: {status} {reply!r}")

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
