"""A real Elasticsearch node behind a proxy (haproxy) that speaks TLS and asks for a password or an API key. Skipped where
there is no node, no haproxy or no openssl."""
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import node
from support import CommandTest, main

CONFIG = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
userlist people
  user me insecure-password p@ss/word
frontend password
  bind 127.0.0.1:{password} ssl crt server.pem
  acl allowed http_auth(people)
  {refuse}
  default_backend node
frontend key
  bind 127.0.0.1:{key} ssl crt server.pem
  acl allowed req.hdr(Authorization) -m str "ApiKey abc=="
  {refuse}
  default_backend node
frontend elsewhere
  bind 127.0.0.1:{elsewhere} ssl crt elsewhere.pem
  default_backend node
backend node
  server node 127.0.0.1:{node}
"""
REFUSE = ('http-request return status 401 content-type application/json string '
          '"{\\"error\\":{\\"reason\\":\\"missing credentials\\"},\\"status\\":401}" unless allowed')
FRONTENDS = ("password", "key", "elsewhere")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=Proxy.shared_files, check=True, capture_output=True)


def make_authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def make_certificate(name, authority, subject):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (Proxy.shared_files / "extensions").write_text(f"subjectAltName={subject}\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.crt")
    files = Proxy.shared_files
    (files / f"{name}.pem").write_text((files / f"{name}.crt").read_text() + (files / f"{name}.key").read_text())


def setUpModule():
    Proxy.shared_files = pathlib.Path(tempfile.mkdtemp(prefix="kindred-proxy-"))
    unittest.addModuleCleanup(shutil.rmtree, Proxy.shared_files, True)
    haproxy = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if not haproxy or not shutil.which("openssl"):
        skip("there is no haproxy or no openssl")
    try:
        server = node.Node(Proxy.shared_files / "node")
        server.start()
    except node.Missing as reason:
        skip(reason)
    unittest.addModuleCleanup(server.stop)
    make_authority("authority")
    make_authority("stranger")
    make_certificate("server", "authority", "IP:127.0.0.1")
    make_certificate("elsewhere", "authority", "DNS:elsewhere.example")
    Proxy.ports = {name: node.free_port() for name in FRONTENDS}
    (Proxy.shared_files / "haproxy.cfg").write_text(CONFIG.format(refuse=REFUSE, node=server.port, **Proxy.ports))
    process = subprocess.Popen([haproxy, "-f", "haproxy.cfg", "-db"], cwd=Proxy.shared_files, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    unittest.addModuleCleanup(process.communicate)
    unittest.addModuleCleanup(process.terminate)
    for _ in range(300):
        if process.poll() is not None:
            skip(f"haproxy doesn't start: {process.stdout.read().decode()}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", Proxy.ports["elsewhere"])) == 0:
                return
        time.sleep(0.1)
    skip("haproxy doesn't listen")


class Proxy(CommandTest):
    def setUp(self):
        super().setUp()
        for name in ("authority", "stranger"):
            shutil.copy(self.shared_files / f"{name}.pem", self.folder)
        self.put("key", "abc==\n")
        self.index_name = self.id().rsplit(".", 1)[-1]

    def store(self, frontend, user=""):
        return f"elasticsearchs://{user}127.0.0.1:{self.ports[frontend]}/{self.index_name}"

    def run_all(self, store, *args, env=None):
        """Index, search, change, take out, drop."""
        self.put_pictures("p/a.png", "p/b.png", "p/c.png")
        def index(*more):
            out = self.run_kindred("index", "--json", "--store", store, *args, *more, "p", env=env).out
            return [json.loads(out)[key] for key in ("embedded", "unchanged", "removed", "failed")]
        self.assertEqual(index("-m", self.clip), [3, 0, 0, 0])
        (self.folder / "p/c.png").unlink()
        self.assertEqual(index(), [0, 2, 1, 0])
        hits = json.loads(self.run_kindred("search", "-i", "p/b.png", "--json", "--store", store, *args, env=env).out)
        self.assertEqual([pathlib.Path(hit["path"]).name for hit in hits["results"]], ["b.png", "a.png"])
        self.run_kindred("store", "export", "-q", "-o", "out.jsonl", "--store", store, *args, env=env)
        self.assertEqual(len((self.folder / "out.jsonl").read_text().splitlines()), 3)
        self.run_kindred("collections", "--store", store, "--drop", "1", *args, env=env)

    def error(self, store, *args, env=None):
        return self.run_kindred("search", "x", "--store", store, *args, status=1, env=env).err

    def test_password(self):
        self.run_all(self.store("password", "me:p%40ss%2Fword@"), "--es-ca", "authority.pem")
        self.run_all(self.store("password"), "--es-ca", "authority.pem",
                     env={"ES_USER": "me", "ES_PASSWORD": "p@ss/word"})

    def test_key(self):
        self.run_all(self.store("key"), "--es-ca", "authority.pem", "--es-api-key-file", "key")

    def test_without_access(self):
        for frontend, user in (("password", ""), ("password", "me:secret@"), ("key", "me:p%40ss%2Fword@")):
            error = self.error(self.store(frontend, user), "--es-ca", "authority.pem")
            self.assertIn("gives no access (HTTP 401): missing credentials; check --es-api-key-file", error)
            self.assertNotIn("secret", error)
        self.put("other", "xyz==\n")
        error = self.error(self.store("key"), "--es-ca", "authority.pem", "--es-api-key-file", "other")
        self.assertIn("HTTP 401", error)
        self.assertNotIn("xyz", error)

    def test_certificates(self):
        store = self.store("password", "me:p%40ss%2Fword@")
        for args in ([], ["--es-ca", "stranger.pem"]):
            error = self.error(store, *args)
            self.assertIn(f"https://127.0.0.1:{self.ports['password']} has a certificate that isn't trusted", error)
            self.assertIn("--es-ca FILE", error)
        self.assertIn("isn't trusted", self.error(self.store("elsewhere"), "--es-ca", "authority.pem")) # another's name
        self.put("broken.pem", "no certificate\n")
        self.assertIn("broken.pem", self.error(store, "--es-ca", "broken.pem"))
        self.assertRegex(self.error(f"elasticsearch://127.0.0.1:{self.ports['password']}/x"), "lost|can't reach|HTTP 400")


if __name__ == "__main__":
    main()
