#!/usr/bin/env python3
"""Goal: an audit log that is put back to an earlier state, whole and with its mark, does not open: the tenant's database remembers
more. So does a database that is put back behind its log. With both as they were left, service goes on, also after a power cut."""
import shutil

from appliance import Appliance, CommandFailed

POLICY = "version: 1\ncollections: [c]\nusers: [{name: tanaka}]\n"


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def opens(appliance, tenant):
    """Does the tenant serve within a few tries?"""
    for _ in range(20):
        if appliance.try_hisho("tenant", "info", tenant=tenant) is not None:
            return True
    return False


def keep(appliance, name, kept):
    found = list(appliance.state.rglob(name))
    check(len(found) == 1, f"{len(found)} files {name}")
    shutil.copy2(found[0], appliance.dir / kept)
    return found[0]


with Appliance() as a:
    a.add_tenant("tokai", POLICY, sender=False)
    a.stop()
    log = keep(a, "audit.log", "log.old")
    mark = keep(a, "audit.log.mark", "mark.old")
    database = keep(a, "index.db", "db.old")
    a.start()
    check(opens(a, "tokai"), "the tenant did not open again")
    a.hisho("user", "add", "sato", tenant="tokai")
    a.hisho("user", "add", "suzuki", tenant="tokai")  # its record has seen the commit of the first
    a.kill()
    a.start()
    check(opens(a, "tokai"), "the tenant did not open after a power cut")
    check("user.add" in a.hisho("audit", "show", tenant="tokai"), "the record of the act is gone")
    a.stop()

    shutil.copy2(log, a.dir / "log.new")
    shutil.copy2(mark, a.dir / "mark.new")
    shutil.copy2(a.dir / "log.old", log)
    shutil.copy2(a.dir / "mark.old", mark)
    a.start()
    check(not opens(a, "tokai"), "a log that was put back opened")
    check("audit.witness" in a.log_path.read_text(errors="replace"), "the refusal names no reason")
    a.stop()

    shutil.copy2(a.dir / "log.new", log)
    shutil.copy2(a.dir / "mark.new", mark)
    a.start()
    check(opens(a, "tokai"), "the tenant did not open with its own log")
    a.stop()

    for part in database.parent.glob("index.db*"):
        shutil.copy2(part, a.dir / (part.name + ".new"))
        part.unlink()
    shutil.copy2(a.dir / "db.old", database)
    a.start()
    check(not opens(a, "tokai"), "a database that was put back opened")
    check("tenant.rolled_back" in a.log_path.read_text(errors="replace"), "the refusal names no reason")
print("what was put back is refused, log and database; the right ones open")
