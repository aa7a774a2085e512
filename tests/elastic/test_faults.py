"""What the client of Elasticsearch makes of busy, dying and odd servers, of certificates, keys and addresses."""
import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from fake_elastic import FakeElastic
from support import BIN, CommandTest, main, make_bert

BUSY = b'{"error": {"reason": "too many requests"}}'


class FaultTest(CommandTest):
    def serve(self, **options):
        server = FakeElastic(**options)
        self.addCleanup(server.close)
        self.put_pictures("p/a.png", "p/b.png", "p/c.png")
        return server

    def store(self, server, user=""):
        return f"elasticsearch://{user}127.0.0.1:{server.port}/photos"

    def index(self, store, *args, status=0, **options):
        result = self.run_kindred("index", "--json", "-m", self.clip, "--store", store, *args, "p", status=status,
                                  **options)
        return json.loads(result.out) if result.out else result


class Faults(FaultTest):
    def test_busy_server(self):
        server = self.serve()

        def on_request(method, path, before):
            if path.endswith("_bulk") and before < 2:
                return (503, {}, b"<html>") if before else (429, {"Retry-After": "1"}, BUSY)
        server.on_request = on_request
        start = time.monotonic()
        self.assertEqual(self.index(self.store(server))["embedded"], 3)
        self.assertGreater(time.monotonic() - start, 1)
        self.assertEqual((server.count("_bulk"), len(server.documents)), (3, 3))
        self.assertEqual(self.index(self.store(server))["unchanged"], 3)

    def test_lost_connection(self):
        server = self.serve()
        server.on_request = lambda method, path, before: "drop" if path.endswith("_bulk") and not before else None
        self.assertEqual(self.index(self.store(server))["embedded"], 3)
        self.assertEqual((server.count("_bulk"), len(server.documents)), (2, 3))

    def test_busy_when_the_run_is_over(self):
        server = self.serve()
        self.put("c.csv", "path,caption\np/a.png,a red lorry\n")
        server.on_request = lambda method, path, before: (503, {}, BUSY) if "_bulk" in path and before == 1 else None
        self.assertEqual(self.index(self.store(server), "--captions", "c.csv")["captions"], 1)
        self.assertEqual([d["caption_given"] for d in server.documents.values() if "caption_given" in d],
                         ["a red lorry"])

    def test_index_whose_making_was_not_answered(self):
        server = self.serve()
        exists = b'{"error": {"reason": "index [photos-000001] already exists"}}'

        def on_request(method, path, before):
            if method == "PUT" and before:
                server.mapping = server.made
                return 400, {}, exists
            return "drop" if method == "PUT" else None
        server.on_request = on_request
        made = self.serve()
        self.index(self.store(made))
        server.made = made.mapping
        self.assertEqual(self.index(self.store(server))["embedded"], 3)

    def test_documents_that_are_refused(self):
        server = self.serve()
        attempts = {}

        def reject(name):
            attempts[name] = attempts.get(name, 0) + 1
            first, second = sorted(attempts)[0], sorted(attempts)[-1]
            if len(attempts) == 1:
                return 400, "a bad field"
            if len(attempts) == 2 and attempts[name] == 1:
                return 429, "rejected execution"
        server.reject = reject
        result = self.run_kindred("index", "--json", "-m", self.clip, "--store", self.store(server), "p", status=3)
        self.assertIn("a.png: Elasticsearch didn't take it: a bad field", result.err)
        counts = json.loads(result.out)
        self.assertEqual((counts["embedded"], counts["failed"]), (2, 1))
        self.assertEqual(len(server.documents), 2)
        self.assertEqual(sorted(attempts.values()), [1, 1, 2])
        server.reject = None
        counts = self.index(self.store(server))
        self.assertEqual((counts["embedded"], counts["unchanged"]), (1, 2))

    def test_import_of_what_is_refused(self):
        server = self.serve()
        self.run_kindred("index", "-q", "-m", self.clip, "p")
        self.run_kindred("store", "export", "-q", "-o", "a.jsonl")
        server.reject = lambda name: (400, "a bad field")
        result = self.run_kindred("store", "import", "a.jsonl", "-s", self.store(server), status=1)
        self.assertIn("a.png: Elasticsearch didn't take it: a bad field; refused in all: 3, import again", result.err)
        self.assertIsNone(server.mapping) # that was made for it
        server.reject = None
        self.run_kindred("store", "import", "a.jsonl", "-s", self.store(server))
        self.assertEqual(len(server.documents), 3)

    def test_answers_that_are_none(self):
        server = self.serve()
        server.on_request = lambda method, path, before: (200, {}, b"hello")
        for args in (("search", "x"), ("index", "-m", self.clip, "p")):
            self.assertIn("is it Elasticsearch?", self.run_kindred(*args, "--store", self.store(server), status=1).err)
        server.on_request = None
        self.index(self.store(server))
        for call, data in (("_bulk", b"{}"), ("_bulk", b'{"items": [{"index": {"status": 200}}]}'), ("_mget", b"{}")):
            self.put("p/new.png", self.put_pictures("p/a.png") and b"not yet")
            self.put_pictures("p/new.png")
            server.on_request = lambda method, path, before: (200, {}, data) if call in path else None
            self.assertIn("answer", self.run_kindred("index", "--store", self.store(server), "p", status=1).err)
        server.on_request = None
        server.mapping["_meta"]["kindred"]["dim"] = 0
        self.assertIn("is damaged", self.run_kindred("search", "x", "--store", self.store(server), status=1).err)
        server.mapping["_meta"]["kindred"]["format"] = 9
        self.assertIn("has format 9", self.run_kindred("search", "x", "--store", self.store(server), status=1).err)

    def test_results_beyond_what_the_server_gives(self):
        server = self.serve()
        self.index(self.store(server))
        many = json.dumps({"count": 10001}).encode()
        server.on_request = lambda method, path, before: (200, {}, many) if path.endswith("_count") else None
        for page in (["-n", 10001], ["-n", 1, "--offset", 10000]):
            failed = self.run_kindred("search", "road", *page, "--store", self.store(server), status=1)
            self.assertIn("beyond the first 10000 of 10001", failed.err)
        self.run_kindred("search", "road", "-n", 1, "--offset", 9999, "--store", self.store(server))

    def test_hosts_in_turn(self):
        server, gone = self.serve(), FakeElastic()
        gone.close()
        hosts = f"elasticsearch://127.0.0.1:{gone.port},127.0.0.1:{server.port}/photos"
        self.assertEqual(self.index(hosts)["embedded"], 3)
        result = self.run_kindred("search", "x", "--store", f"elasticsearch://127.0.0.1:{gone.port}/photos", status=1)
        self.assertIn(f"can't reach http://127.0.0.1:{gone.port}", result.err)

    def test_slow_answers_and_hosts_that_take_no_connection(self):
        """A host has ten seconds to accept a connection, and much longer to answer."""
        server = self.serve()
        self.index(self.store(server))
        server.on_request = lambda method, path, before: time.sleep(11) if path.endswith("_count") and not before else None
        with socket.socket() as full, socket.socket() as waiting, socket.socket() as another:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for s in (waiting, another): # one fills the queue
                s.setblocking(False)
                s.connect_ex(full.getsockname())
            hosts = f"elasticsearch://127.0.0.1:{full.getsockname()[1]},127.0.0.1:{server.port}/photos"
            searches = [subprocess.Popen([BIN, "search", "x", "--store", store], cwd=self.folder, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                        for store in (self.store(server), hosts)]
            for search in searches:
                out, err = search.communicate(timeout=100)
                self.assertEqual((search.returncode, out.decode().count(".png")), (0, 3), err)

    def test_interrupt_while_waiting(self):
        server = self.serve()
        server.on_request = lambda method, path, before: (503, {"Retry-After": "60"}, BUSY) if "_bulk" in path else None
        process = subprocess.Popen([BIN, "index", "-m", self.clip, "--store", self.store(server), "p"], cwd=self.folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not server.count("_bulk"):
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 130, err)

    def test_passwords_and_keys(self):
        server = self.serve()
        server.authorization = "Basic " + base64.b64encode(b"me:p@ss/word").decode()
        self.assertEqual(self.index(self.store(server, "me:p%40ss%2Fword@"))["embedded"], 3)
        env = {"ES_USER": "me", "ES_PASSWORD": "p@ss/word"}
        self.assertEqual(self.index(self.store(server), env=env)["unchanged"], 3)
        for user in ("", "me:secret@"):
            result = self.run_kindred("search", "x", "--store", self.store(server, user), status=1)
            self.assertIn("gives no access (HTTP 401)", result.err)
            self.assertNotIn("secret", result.err + result.out)
        result = self.run_kindred("index", "--store", self.store(server, "me:p%40ss%2Fword@"), "p")
        self.assertNotIn("p%40", result.err + result.out)
        self.run_kindred("index", "-q", "-m", self.clip, "p")
        self.run_kindred("store", "export", "-q", "-o", "all.jsonl")
        result = self.run_kindred("store", "import", "all.jsonl", "--store", self.store(server, "me:p%40ss%2Fword@"))
        self.assertIn("3 vectors of 3 files taken", result.out)
        self.assertNotIn("p%40", result.err + result.out)
        for command in ("stats", "check", "compact"):
            result = self.run_kindred("store", command, "--store", self.store(server, "me:p%40ss%2Fword@"), status=1)
            self.assertIn("no files here", result.err)
            self.assertNotIn("p%40", result.err + result.out)
        server.authorization = "ApiKey abc=="
        self.put("key", "abc==\n")
        self.assertEqual(self.index(self.store(server), "--es-api-key-file", "key", env=env)["unchanged"], 3)
        self.put("key", "abc def\n")
        self.assertIn("expected an API key alone", self.run_kindred(
            "search", "x", "--store", self.store(server), "--es-api-key-file", "key", status=1).err)

    @unittest.skipUnless(shutil.which("openssl"), "there is no openssl to make a certificate")
    def test_tls(self):
        pem = self.folder / "server.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "key.pem", "-out", "cert.pem"],
                       cwd=self.folder, check=True, capture_output=True)
        pem.write_text((self.folder / "key.pem").read_text() + (self.folder / "cert.pem").read_text())
        server = self.serve(certificate=pem)
        for scheme in ("elasticsearchs", "elasticsearch+https"):
            store = f"{scheme}://127.0.0.1:{server.port}/photos"
            self.index(store, "--es-ca", "cert.pem")
            self.assertEqual(len(server.documents), 3)
            self.assertIn("certificate", self.run_kindred("search", "x", "--store", store, status=1).err)
        self.assertIn("no such file of certificates", self.run_kindred(
            "search", "x", "--store", store, "--es-ca", "none.pem", status=1).err)

    def test_analysers(self):
        bert = make_bert(self.folder / "bert")
        cases = {(): "whitespace", ("cjk",): "cjk", ("cjk", "nori"): "nori", ("nori",): "whitespace"}
        for analyzers, chosen in cases.items():
            server = self.serve(analyzers=analyzers)
            self.put("p/a.txt", "사람이 없는 도로에서")
            self.run_kindred("index", "-q", "-m", bert, "--store", self.store(server), "p")
            document, = server.documents.values()
            self.assertEqual(document["passage"], "사람이 없는 도로에서")
            self.assertEqual(document.get("passage_words"), None if "cjk" in analyzers else "사람 람이 없는 도로 로에 에서")
            field = server.mapping["properties"]["passage" if "cjk" in analyzers else "passage_words"]
            self.assertEqual(field["analyzer"], chosen)
            self.assertEqual("cjk" in field.get("fields", {}), chosen == "nori")

    def test_addresses(self):
        cases = {"elasticsearch://": "a host's name is missing", "elasticsearch://host": "HOST:PORT/INDEX",
                 "elasticsearch://host/": "HOST:PORT/INDEX", "elasticsearch://host/Photos": "the index's name of a-z",
                 "elasticsearch://host/a b": "the index's name of a-z", "elasticsearch://a,,b/x": "a host's name",
                 "elasticsearch:///x": "a host's name is missing"}
        for store, message in cases.items():
            self.assertIn(message, self.run_kindred("search", "x", "--store", store, status=1).err)
        result = self.run_kindred("search", "x", "--store", "elasticsearch://u:hidden@host/No", status=1)
        self.assertNotIn("hidden", result.err)


class Fusion(FaultTest):
    """What tests/data/elastic/record_fusion.py recorded of a real server."""
    def setUp(self):
        super().setUp()
        data = pathlib.Path(os.environ["KINDRED_SOURCE"], "tests/data/elastic/fusion.json")
        self.recorded = json.loads(data.read_text())
        self.server = self.serve()
        self.put_pictures("p/d.png", "p/e.png")
        self.index(self.store(self.server))

    def ask(self):
        return json.loads(self.run_kindred("search", "--hybrid", "road", "-n", 4, "--where", "kind = picture", "--json",
                                           "--store", self.store(self.server)).out)["results"]

    def ask_three_times(self):
        """Of one opening of the store; how often it tried the retriever."""
        self.run_kindred("embed", "-q", "-m", self.clip, "-o", "q.npy", "p/a.png", "p/b.png", "p/c.png")
        self.put("words.txt", "road\n" * 3)
        driver = pathlib.Path(os.environ["KINDRED_DRIVERS"]) / "driver_queries"
        self.server.fused.clear()
        out = subprocess.run([driver, self.store(self.server), "q.npy", "3", "words=words.txt"], cwd=self.folder,
                             check=True, capture_output=True, text=True, timeout=100).stdout
        self.assertEqual(len(out.splitlines()), 9)
        return len(self.server.fused)

    def test_by_the_server(self):
        self.server.fusion = self.recorded["licensed"]["code"], self.recorded["licensed"]["answer"]
        recorded = self.recorded["licensed"]["answer"]["hits"]["hits"]
        self.server.requests.clear()
        hits = self.ask()
        asked, = self.server.fused
        near, worded = asked["retriever"]["rrf"]["retrievers"]
        del near["knn"]["query_vector"], worded["standard"]["query"]["bool"]["must"]
        self.assertEqual(asked, self.recorded["licensed"]["request"])
        self.assertEqual([hit["path"] for hit in hits], [hit["_source"]["path"] for hit in recorded])
        for hit, known in zip(hits, recorded):
            self.assertAlmostEqual(hit["score"], known["_score"], places=7)
            fused = sum(1 / (60 + rank) for rank in (hit["vector_rank"], hit["bm25_rank"]) if rank)
            self.assertAlmostEqual(hit["score"], fused, places=7)
        self.assertIn(None, [hit["bm25_rank"] for hit in hits])
        self.assertEqual(self.server.count("_search"), 1)

    def test_without_licence_or_retriever(self):
        for why in ("unlicensed", "unknown"):
            self.server.fusion = self.recorded[why]["code"], self.recorded[why]["answer"]
            hits = self.ask()
            self.assertEqual(len(hits), 4)
            for hit in hits:
                self.assertAlmostEqual(hit["score"], 1 / (60 + hit["vector_rank"]) + 1 / (60 + hit["bm25_rank"]), places=7)
            self.assertEqual(self.ask_three_times(), 1) # once refused it isn't asked again

    def test_explanations_that_explain_nothing(self):
        answer = json.loads(json.dumps(self.recorded["licensed"]["answer"]))
        for explanation in ({}, {"description": "initial ranks [1, 1]", "details": [{"value": 1}, {"value": 9}]}):
            for hit in answer["hits"]["hits"]:
                hit["_explanation"] = explanation
            self.server.fusion = 200, answer
            self.assertEqual(len(self.ask()), 4)
            self.assertEqual(self.ask_three_times(), 1)

    def test_server_that_cannot_rescore(self):
        self.server.no_rescoring = True
        hits = self.ask()
        self.assertEqual(len(hits), 4)
        self.assertEqual(len({hit["vector_rank"] for hit in hits} - {None}), 4)


if __name__ == "__main__":
    main()
