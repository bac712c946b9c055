#!/usr/bin/env python3
"""Goal: an audit log that is put back to an earlier state, whole and with its mark, does not open: the tenant's database remembers
more. So does a database that is put back behind its log; and the whole of the tenant's folder, for hisho-keyd remembers what it
signed. With everything as it was left, service goes on, also after a power cut. What was signed is verified with the public key
alone, and each change to log or head is told by name."""
import json
import shutil
import subprocess

from appliance import BUILD, Appliance, CommandFailed, check, wait_for

POLICY = "version: 1\ncollections: [c]\nusers: [{name: tanaka}]\n"


def opens(appliance, tenant):
    """Does the tenant serve?"""
    try:
        return wait_for("the tenant", lambda: appliance.try_hisho("tenant", "info", tenant=tenant) is not None)
    except CommandFailed:
        return False


def is_refused(appliance, tenant, reason, before):
    """The tenant's process ends with the reason in the log, anew, and does not serve."""
    wait_for(reason, lambda: appliance.log_path.read_text(errors="replace").count(reason) > before.count(reason))
    return appliance.try_hisho("tenant", "info", tenant=tenant) is None


def keep(appliance, name, kept):
    found = list(appliance.state.rglob(name))
    check(len(found) == 1, f"{len(found)} files {name}")
    shutil.copy2(found[0], appliance.dir / kept)
    return found[0]


def verify(folder, key, *more, log="audit.log"):
    """(exit status, what was said), of a program that knows no state directory."""
    done = subprocess.run([BUILD / "cli" / "hisho", "audit", "verify", "--key", key, *map(str, more), folder / log], capture_output=True,
                          text=True, env={"LC_ALL": "C.UTF-8"})
    return done.returncode, done.stdout + done.stderr


def signed_up_to(appliance, path):
    """The sequence in a head, once there is one."""
    wait_for("a signed head", path.exists)
    return int(path.read_text().split("\n")[1])


def heads_are_verified(a, folder, key):
    """On a copy of the log: what stands and what was changed."""
    copy = a.dir / "copy"

    def fresh():
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for part in folder.glob("audit.log*"):
            shutil.copy2(part, copy)

    def refused(code, *more, with_key=key):
        status, said = verify(copy, with_key, *more)
        check(status != 0 and code in said, f"expected {code}: exit {status}: {said}")

    fresh()
    status, said = verify(copy, key)
    check(status == 0 and "unbroken" in said, f"the log verifies: {said}")
    log, head = copy / "audit.log", copy / "audit.log.head"
    kept = a.dir / "kept.head"
    shutil.copy2(head, kept)
    check(verify(copy, key, "--head", kept)[0] == 0, "also against a head that was kept elsewhere")
    first, second = key[:11], key[-1]
    refused("usage", with_key=first + key[11:-1] + ("A" if second != "A" else "B"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    refused("audit.chain")
    fresh()
    log.write_bytes(log.read_bytes()[:128])
    refused("audit.truncated")
    fresh()
    head.write_text(head.read_text().replace("time 1", "time 2"))
    refused("audit.head")
    head.unlink()
    refused("audit.head")
    return kept


with Appliance() as a:
    a.add_tenant("tokai", POLICY, sender=False)
    key = a.hisho("audit", "key").strip()
    a.stop()
    folder = next((a.state / "tenants").glob("ten_*"))
    everything = a.dir / "everything.old"
    shutil.copytree(folder, everything)
    before = signed_up_to(a, folder / "audit.log.head")
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
    log_before = a.log_path.read_text(errors="replace")
    a.start()
    check(is_refused(a, "tokai", "audit.witness", log_before), "a log that was put back opened")
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
    log_before = a.log_path.read_text(errors="replace")
    a.start()
    check(is_refused(a, "tokai", "tenant.rolled_back", log_before), "a database that was put back opened")
    a.stop()
    for part in database.parent.glob("index.db*"):
        part.unlink()
    for part in a.dir.glob("index.db*.new"):
        shutil.copy2(part, database.parent / part.name[:-4])
    a.start()
    check(opens(a, "tokai"), "the tenant did not open with its own database")
    a.hisho("user", "add", "kato", tenant="tokai")

    # Sealing signs what was recorded since. Then the log is verified, with the public key and no service.
    a.hisho("tenant", "seal", "tokai")
    records = json.loads(a.hisho("audit", "verify", "--key", key, "--json", folder / "audit.log"))
    check(records["signed"] == records["records"] > before, f"not all is signed after sealing: {records}")
    kept = heads_are_verified(a, folder, key)
    a.hisho("tenant", "unseal", "tokai")
    check(opens(a, "tokai"), "the tenant did not open after its seal was lifted")
    a.stop()

    # All of the folder put back: log, mark, head and database agree with one another, and keyd knows better.
    shutil.move(folder, a.dir / "everything.new")
    shutil.copytree(everything, folder)
    check(verify(folder, key)[0] == 0, "an old head is a head")
    status, said = verify(folder, key, "--head", kept)
    check(status != 0 and "audit.head" in said, f"but not the one that was kept: {said}")
    log_before = a.log_path.read_text(errors="replace")
    a.start()
    check(is_refused(a, "tokai", "audit.head", log_before), "a whole folder that was put back opened")
    a.stop()
    shutil.rmtree(folder)
    shutil.move(a.dir / "everything.new", folder)
    a.start()
    check(opens(a, "tokai"), "the tenant did not open with its own folder")
print("what was put back is refused: log, database, and all of it; the right ones open; heads verify with the public key")
