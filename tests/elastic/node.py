"""A real Elasticsearch node on the loopback address, from the artifacts that Maven Central has.

    python3 tests/elastic/node.py FOLDER [PORT]     run one until Ctrl-C; its data stays in FOLDER

Needs a JDK 17 or newer and Maven; about 50 MB of jars are fetched once, into $KINDRED_CACHE (or ~/.cache/kindred).
Unlike a distribution the node has no painless, no rrf retriever, no security and no TLS: their modules are not published.
Nor are those of the analysers beyond the server's own; with `analyzers` a node has Lucene's "cjk" and "nori" by a plugin of
ours."""
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
HEAP = "512m"


class Missing(Exception):
    """What there is no node without."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, what):
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise Missing(f"{what}: {(result.stdout + result.stderr).strip()[-600:]}")


def copy_jars(profile, folder):
    run("mvn", "-q", "-B", "-f", HERE / "pom.xml", "-P", profile, "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={folder}", what="Maven can't fetch Elasticsearch")


def prepare_plugin(home, folder, name, class_name, profile):
    """A module or plugin, which holds only what the class path lacks."""
    copy_jars(profile, folder)
    for jar in folder.glob("*.jar"):
        if (home / "lib" / jar.name).exists():
            jar.unlink()
    version = next(home.glob("lib/elasticsearch-8*.jar")).stem.removeprefix("elasticsearch-")
    (folder / "plugin-descriptor.properties").write_text(
        f"name={name}\ndescription={name}\nversion={version}\nelasticsearch.version={version}\njava.version=17\n"
        f"classname={class_name}\nextended.plugins=\nhas.native.controller=false\n")


def prepare(home):
    """lib, the module that speaks HTTP, the plugin with analysers, and our class."""
    copy_jars("server", home / "lib")
    prepare_plugin(home, home / "modules/transport-netty4", "transport-netty4",
                   "org.elasticsearch.transport.netty4.Netty4Plugin", "http")
    run("javac", "-cp", f"{home}/lib/*", "-d", home / "classes", HERE / "TestNode.java", what="javac failed")
    plugin = home / "plugins/analyzers"
    prepare_plugin(home, plugin, "analyzers", "Analyzers", "analyzers")
    run("javac", "-cp", f"{home}/lib/*:{plugin}/*", "-d", home / "analyzers", HERE / "Analyzers.java", what="javac failed")
    run("jar", "cf", plugin / "analyzers.jar", "-C", home / "analyzers", ".", what="jar failed")


def find_home():
    """The prepared folder, made now if need be."""
    for tool in ("java", "javac", "mvn"):
        if not shutil.which(tool):
            raise Missing(f"there is no {tool}; install default-jdk-headless and maven")
    recipe = b"".join((HERE / name).read_bytes() for name in ("pom.xml", "TestNode.java", "Analyzers.java"))
    cache = pathlib.Path(os.environ.get("KINDRED_CACHE") or pathlib.Path.home() / ".cache/kindred")
    home = cache / f"elasticsearch-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = pathlib.Path(tempfile.mkdtemp(prefix="elasticsearch-", dir=cache))
        try:
            prepare(made)
            made.rename(home)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return home


class Node:
    def __init__(self, folder, port=None, heap=HEAP, analyzers=False):
        self.folder = pathlib.Path(folder).resolve()
        self.port = port or free_port()
        self.heap = heap
        self.analyzers = analyzers
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.home = find_home()

    def start(self, seconds=300):
        config = self.folder / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "elasticsearch.yml").write_text(
            "cluster.name: kindred-test\nnode.name: test\ndiscovery.type: single-node\nnetwork.host: 127.0.0.1\n"
            f"http.port: {self.port}\ntransport.port: {free_port()}\npath.data: {self.folder}/data\n"
            f"path.logs: {self.folder}/logs\ncluster.routing.allocation.disk.threshold_enabled: false\n")
        (config / "log4j2.properties").write_text(
            "status = error\nappender.c.type = Console\nappender.c.name = c\nappender.c.layout.type = PatternLayout\n"
            "appender.c.layout.pattern = [%d{ISO8601}][%p] %m%n\nrootLogger.level = warn\n"
            "rootLogger.appenderRef.c.ref = c\n")
        with open(self.folder / "node.log", "ab") as log:
            self.process = subprocess.Popen(
                ["java", f"-Xms{self.heap}", f"-Xmx{self.heap}", "-Djava.security.manager=allow",
                 "-cp", f"{self.home}/classes:{self.home}/lib/*", "TestNode", self.home, config,
                 *([self.home / "plugins"] if self.analyzers else [])],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + seconds
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                log = (self.folder / "node.log").read_text(errors="replace")[-600:]
                self.stop()
                raise Missing(f"Elasticsearch doesn't start: {log}")
            time.sleep(0.2)

    def answers(self):
        try:
            return self.call("GET", "_cluster/health", seconds=10)["status"] in ("green", "yellow")
        except (OSError, ValueError):
            return False

    def has(self, index):
        try:
            return bool(self.call("GET", f"{index}/_mapping"))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def call(self, method, path, body=None, seconds=300):
        request = urllib.request.Request(f"{self.url}/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)


if __name__ == "__main__":
    node = Node(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
    node.start()
    print(node.url, flush=True)
    try:
        node.process.wait()
    except KeyboardInterrupt:
        node.stop()
