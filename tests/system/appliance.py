"""A real appliance in a temporary folder, for the numbered system tests: every process, over its real sockets.

    with Appliance() as a:
        a.add_tenant("tokai", policy_text)
        a.ingest("tokai", folder)
        a.search("tokai", "tanaka", "旅費")

Nothing here reaches into the product: it runs the programs as a person would, and talks HTTP over TLS.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(os.environ.get("HISHO_SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("HISHO_BUILD", ROOT / "build"))


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def skip(reason):
    print(reason)
    sys.exit(77)


def find_model(name):
    """The path of a model file that set-up fetched, or None."""
    folders = [os.environ.get("HISHO_MODELS"),
               os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hisho", "models")]
    for folder in filter(None, folders):
        path = pathlib.Path(folder) / name
        if path.is_file():
            return path
    return None


class CommandFailed(Exception):
    pass


class Appliance:
    def __init__(self, generator=None, embedder=None, listen="127.0.0.1:0", hosts=()):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="hisho-system-"))
        self.state = self.dir / "state"
        self.generator, self.embedder = generator, embedder
        self.init = ["--listen", listen, *(part for name in hosts for part in ("--host", name))]
        self.process = None
        self.tokens = {}
        self.log_path = self.dir / "log"

    def __enter__(self):
        try:
            self.hisho("init", *self.init)
            if self.embedder and self.embedder.suffix == ".bin":
                imported = self.state / "models" / "embedder.gguf"
                self.hisho("model", "import", self.embedder, imported)
                self.embedder = imported
            self.start()
        except BaseException:
            self.print_log()
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.print_log()
        self.stop()
        if not os.environ.get("HISHO_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def _models(self):
        options = []
        if self.generator:
            options += ["--generator", str(self.generator)]
        if self.embedder:
            options += ["--embedder", str(self.embedder)]
        return options

    def print_log(self):
        if self.log_path.exists():
            print("--- log of the appliance")
            print(self.log_path.read_text(errors="replace")[-6000:])

    # --- the service

    def start(self):
        (self.state / "run" / "url").unlink(missing_ok=True)  # of the run before: this one writes its own
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BUILD / "daemon" / "hishod", "--state", self.state, *self._models()], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise CommandFailed(f"hishod ended with {self.process.returncode}")
            if self.try_hisho("status", "--json") is not None:
                try:
                    self.url = (self.state / "run" / "url").read_text().strip()
                    return
                except FileNotFoundError:
                    pass  # the page is not served yet
            time.sleep(0.05)
        raise CommandFailed("hishod did not serve within 60 s")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self.process = None

    def kill(self):
        """Power cut: every process of the appliance ends at once."""
        pids = self.pids()
        self.process.kill()
        self.process.wait()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process = None
        time.sleep(0.3)

    def pids(self, name=None):
        """The process ids below hishod, of one program or of all."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            except OSError:
                continue
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            if parent == self.process.pid and (name is None or pathlib.Path(command).name == name):
                found.append(int(entry.name))
        return found

    # --- the command line

    def hisho(self, *args, tenant=None, env=None, stdin=None):
        command = [str(BUILD / "cli" / "hisho"), *map(str, args), "--dir", str(self.state)]
        if tenant:
            command += ["--tenant", tenant]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
                              input=stdin, timeout=900)
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def try_hisho(self, *args, **kwargs):
        try:
            return self.hisho(*args, **kwargs)
        except CommandFailed:
            return None

    def add_tenant(self, name, policy, sender=True):
        self.hisho("tenant", "add", name)
        deadline = time.monotonic() + 30
        while self.try_hisho("tenant", "info", tenant=name) is None:
            if time.monotonic() > deadline:
                raise CommandFailed(f"tenant {name} did not open")
            time.sleep(0.05)
        file = self.dir / f"{name}.policy.yaml"
        file.write_text(policy)
        self.hisho("policy", "apply", file, tenant=name)
        if sender:
            key = self.sender_key(name)
            public = self.hisho("sender", "keygen", key).strip().split()[-1]
            self.hisho("sender", "add", "importer", public, tenant=name)

    def sender_key(self, tenant):
        return self.dir / f"{tenant}.sender"

    def ingest(self, tenant, *paths, args=()):
        return self.hisho("ingest", "--sender", self.sender_key(tenant), *args, *paths, tenant=tenant)

    # --- HTTP

    def token(self, tenant, user, scopes="ask"):
        key = (tenant, user, scopes)
        if key not in self.tokens:
            out = self.hisho("token", "add", user, "--scope", scopes, "--json", tenant=tenant)
            self.tokens[key] = json.loads(out)["token"]
        return self.tokens[key]

    def connection(self, timeout=60):
        host, port = self.url.split("//")[1].rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.state / "tls" / "cert.pem")
        return http.client.HTTPSConnection(host, int(port), context=context, timeout=timeout)

    def request(self, method, path, token=None, body=None, headers=None):
        """(status, headers, bytes)"""
        c = self.connection(timeout=300)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            c.request(method, path, body=body, headers=headers)
            response = c.getresponse()
            return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()
        finally:
            c.close()

    def search(self, tenant, user, query, **more):
        status, _, body = self.request("POST", "/v1/search", self.token(tenant, user), {"query": query, **more})
        if status != 200:
            raise CommandFailed(f"search: {status} {body.decode()}")
        return json.loads(body)["data"]

    def ask(self, tenant, user, question, **more):
        status, _, body = self.request("POST", "/v1/chat/completions", self.token(tenant, user),
                                       {"messages": [{"role": "user", "content": question}], **more})
        if status != 200:
            raise CommandFailed(f"ask: {status} {body.decode()}")
        return json.loads(body)


def wait_for(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise CommandFailed(f"{what}: not within {seconds} s")
