"""A model hub on loopback, speaking the protocol: the API's listing, resolve with redirects (small files within
the host, large ones to a second server that stands for the CDN), ranges, and faults on demand."""

import gzip
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, files, revisions=("main",), gated=False, private=False):
        self.files = dict(files)
        self.commit = hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()
        self.revisions = set(revisions)
        self.gated, self.private = gated, private
        self.proposals = {}  # revision -> Repo, where it holds other files than main

    @staticmethod
    def is_lfs(name):
        return name.endswith((".safetensors", ".bin", ".h5", ".onnx", ".msgpack"))

    def listing(self, blobs):
        siblings = []
        for name, data in sorted(self.files.items()):
            entry = {"rfilename": name}
            if blobs:
                entry.update(size=len(data), blobId=git_sha1(data))
                if self.is_lfs(name):
                    digest = hashlib.sha256(data).hexdigest()
                    entry["blobId"] = git_sha1(digest.encode())
                    entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {"id": "x", "sha": self.commit, "private": self.private, "gated": self.gated, "siblings": siblings}

    def tree(self):
        entries = []
        for sibling in self.listing(True)["siblings"]:
            entry = {"type": "file", "path": sibling["rfilename"], "size": sibling["size"], "oid": sibling["blobId"]}
            if "lfs" in sibling:
                entry["lfs"] = {"oid": sibling["lfs"]["sha256"], "size": sibling["size"], "pointerSize": 134}
            entries.append(entry)
        return entries


class Hub:
    """`faults` maps (method, end of the path) to a list of faults, one taken by each request:
    ("status", code, {header: value}), ("location", url), ("drop", bytes), ("stall", seconds), ("body", bytes),
    ("slow", seconds a piece), ("no-range",), ("gzip",), None."""

    def __init__(self, repos, token="hf_secret"):
        self.repos, self.token = repos, token
        self.faults, self.log, self.lock = {}, [], threading.Lock()
        self.metadata = {}  # name -> headers that replace the true ones
        self.listing = None  # replaces the API's answer
        self.sizes = True  # whether the listing tells sizes and hashes
        self.hub = self._serve("hub")
        self.cdn = self._serve("cdn")

    def _serve(self, role):
        handler = type("Handler", (_Handler,), {"world": self, "role": role})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    @property
    def endpoint(self):
        return "http://127.0.0.1:%d" % self.hub.server_port

    @property
    def cdn_url(self):
        return "http://127.0.0.1:%d" % self.cdn.server_port

    def take_fault(self, method, path):
        with self.lock:
            for (m, end), faults in self.faults.items():
                if m == method and path.endswith(end) and faults:
                    return faults.pop(0)
        return None

    def requests(self, role, method="GET", end=""):
        with self.lock:
            return [r for r in self.log if r["role"] == role and r["method"] == method and r["path"].endswith(end)]

    def close(self):
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer("GET")

    def do_HEAD(self):
        self.answer("HEAD")

    def answer(self, method):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        with self.world.lock:
            self.world.log.append({"role": self.role, "method": method, "path": path,
                                   "token": self.headers.get("Authorization"), "range": self.headers.get("Range")})
        fault = self.world.take_fault(method, path)
        try:
            if fault and fault[0] == "status":
                self.reply(fault[1], fault[2], b"no")
            elif fault and fault[0] == "location":
                self.reply(302, {"Location": fault[1]})
            elif self.role == "cdn":
                self.serve_blob(path, fault)
            else:
                self.serve_hub(url, path, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status, headers, body=b"", length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve_hub(self, url, path, fault):
        world = self.world
        api = re.fullmatch(r"/api/models/(.+?)/(revision|tree)/(.+)", path)
        file = re.fullmatch(r"/(api/resolve-cache/models/)?(.+?)(?:/resolve)?/([0-9a-f]{40}|main)/(.+)", path)
        repo = world.repos.get(api[1] if api else file[2] if file else None)
        authorized = self.headers.get("Authorization") == "Bearer " + world.token
        if repo is None or (repo.private and not authorized):
            code = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            return self.reply(404 if authorized else 401, code)
        revision = api[3] if api else file[3]
        repo = repo.proposals.get(revision, repo)
        if revision not in repo.revisions and revision != repo.commit:
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"})
        if api:
            listing = repo.tree() if api[2] == "tree" else repo.listing(world.sizes and "blobs=true" in url.query)
            return self.reply(200, {"Content-Type": "application/json"},
                              world.listing or json.dumps(listing).encode())
        if repo.gated and not authorized:
            return self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        return self.serve_file(repo, file, fault)

    def serve_file(self, repo, file, fault):
        name = file[4]
        if name not in repo.files:
            return self.reply(404, {"X-Error-Code": "EntryNotFound"})
        data = repo.files[name]
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if repo.is_lfs(name):
            digest = hashlib.sha256(data).hexdigest()
            headers.update({"X-Linked-Etag": '"%s"' % digest, "X-Linked-Size": str(len(data)), "ETag": '"pointer"',
                            "Location": "%s/%s/%s?signature=1" % (self.world.cdn_url, digest, name)})
            headers.update(self.world.metadata.get(name, {}))
            return self.reply(302, headers, b"moved")
        headers["ETag"] = '"%s"' % git_sha1(data)
        headers.update(self.world.metadata.get(name, {}))
        if not file[1]:
            target = "/api/resolve-cache/models/%s/%s/%s" % (file[2], repo.commit, name)
            return self.reply(307, {"X-Repo-Commit": repo.commit, "Location": urllib.parse.quote(target)}, b"moved")
        return self.send_data(data, headers, fault)

    def serve_blob(self, path, fault):
        digest, name = path.lstrip("/").split("/", 1)
        for repo in self.world.repos.values():
            data = repo.files.get(name)
            if data is not None and hashlib.sha256(data).hexdigest() == digest:
                return self.send_data(data, {"ETag": '"multipart-7"'}, fault)
        return self.reply(404, {})

    def send_data(self, data, headers, fault):
        kind = fault[0] if fault else None
        if kind == "body":
            data = fault[1]
        if kind == "gzip":
            return self.reply(200, dict(headers, **{"Content-Encoding": "gzip"}), gzip.compress(data))
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and kind != "no-range":
            start = int(asked[1])
            if start >= len(data):
                return self.reply(416, {"Content-Range": "bytes */%d" % len(data)})
            status = 206
            headers = dict(headers, **{"Content-Range": "bytes %d-%d/%d" % (start, len(data) - 1, len(data))})
        part = data[start:]
        if self.command == "HEAD" or kind not in ("drop", "stall", "slow"):
            return self.reply(status, headers, part)
        self.reply(status, headers, b"", len(part))
        if kind == "slow":
            piece = max(1, len(part) // 20)
            for i in range(0, len(part), piece):
                self.wfile.write(part[i:i + piece])
                time.sleep(fault[1])
            return None
        self.wfile.write(part[:1000 if kind == "stall" else fault[1]])
        if kind == "stall":
            time.sleep(fault[1])
        self.close_connection = True
        return None
