"""Stores that are indices of a real Elasticsearch node: the searches that every kind of store must answer, and what is
particular to this one. Skipped where there is no Java, or Maven can't fetch the node."""
import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import node
import test_search
from support import BIN, CommandTest, main, make_bert, png

SANITIZED = bool(os.environ.get("KINDRED_SANITIZE"))
server = None


def setUpModule():
    global server
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kindred-elastic-"))
    unittest.addModuleCleanup(shutil.rmtree, folder, True)
    try:
        server = node.Node(folder)
        server.start()
    except node.Missing as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.addModuleCleanup(server.stop)


def store_of(index):
    return f"elasticsearch://127.0.0.1:{server.port}/{index}"


@unittest.skipIf(SANITIZED, "takes long")
class Search(test_search.Search):
    @classmethod
    def make_store(cls):
        return store_of("search")


class ElasticTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.store = store_of(self.id().rsplit(".", 1)[-1])

    def index(self, *args, **options):
        return json.loads(self.run_kindred("index", "--json", "--store", self.store, *args, **options).out or "{}")

    def counts(self, *args):
        result = self.index(*args)
        return [result[key] for key in ("embedded", "unchanged", "removed", "failed")]

    def found(self, *args):
        hits = json.loads(self.run_kindred("search", "--json", "--store", self.store, *args).out)["results"]
        return [pathlib.Path(hit["path"]).name for hit in hits]


class Indexing(ElasticTest):
    def test_new_changed_moved_and_gone(self):
        self.put_pictures(*[f"p/{i}.png" for i in range(20)])
        self.put("p/bad.png", "no picture")
        self.assertEqual(self.index("-m", self.clip, "p", status=3)["failed"], 1)
        (self.folder / "p/bad.png").unlink()
        self.assertEqual(self.counts("p"), [0, 20, 0, 0])
        self.put("p/1.png", png("new"))
        (self.folder / "p/2.png").rename(self.folder / "p/moved.png")
        (self.folder / "p/3.png").unlink()
        os.utime(self.folder / "p/4.png")
        self.put("p/twin.png", png("p/5.png"))
        self.assertEqual(self.counts("p"), [1, 19, 2, 0])
        self.assertEqual(self.counts("p"), [0, 20, 0, 0])
        names = self.found("-i", "p/twin.png", "-n", "2")
        self.assertEqual(sorted(names), ["5.png", "twin.png"])
        self.assertNotIn("3.png", self.found("-i", "p/0.png", "-n", "50"))
        self.assertEqual(self.counts("p", "-x", "1?.png"), [0, 10, 10, 0])

    def test_roots_that_overlap(self):
        self.put_pictures("p/a.png", "p/q/b.png", "p/q/c.png")
        self.assertEqual(self.counts("-m", self.clip, "p/q", "p", "p/q/b.png", "p"), [3, 0, 0, 0])
        self.assertEqual(self.counts("p", "p/q"), [0, 3, 0, 0])

    def test_options_of_approximate_indexes_in_files(self):
        self.put_pictures("p/a.png")
        self.index("-m", self.clip, "p")
        for args in (["--ann", "HNSW32"], ["--ann", "off"], ["--ef", 100], ["--probes", 3]):
            self.assertIn("give it --candidates N", self.run_kindred("search", "x", *args, "--store", self.store, status=1).err)
        self.assertEqual(self.found("x", "--ann", "auto"), ["a.png"])
        self.assertIn("looks after its own", self.run_kindred("index", "optimize", "--store", self.store, status=1).err)

    def test_names_that_are_no_text(self):
        path = os.fsencode(self.folder) + b"/p/\xff.png"
        os.mkdir(self.folder / "p")
        with open(path, "wb") as f:
            f.write(png("x"))
        self.assertEqual(self.counts("-m", self.clip, "p"), [1, 0, 0, 0])
        self.assertEqual(self.counts("p"), [0, 1, 0, 0])
        hit, = json.loads(self.run_kindred("search", "x", "--json", "--store", self.store).out)["results"]
        self.assertEqual(bytes.fromhex(hit["path_hex"]), path)
        os.unlink(path)
        self.assertEqual(self.counts("p"), [0, 0, 1, 0])

    def test_documents(self):
        bert = make_bert(self.folder / "bert")
        text = "The cat . The dog .\n\n" * 12 + "The road .\n"
        self.put("n/a.txt", text)
        self.put("n/b.txt", "The dog .\n")
        self.assertEqual(self.counts("-m", bert, "n"), [2, 0, 0, 0])
        shutil.copy(self.folder / "n/a.txt", self.folder / "n/twin.txt")
        self.assertEqual(self.counts("n"), [0, 3, 0, 0])
        hits = json.loads(self.run_kindred("search", "the road", "-n", 50, "--json", "--store", self.store).out)
        paths = [pathlib.Path(hit["path"]).name for hit in hits["results"]]
        self.assertEqual(paths.count("a.txt"), paths.count("twin.txt"))
        self.assertGreater(paths.count("a.txt"), 4)
        self.assertEqual(self.found("--bm25", "road", "--group", "file"), self.found("--bm25", "road"))
        self.put("n/a.txt", "The cat .\n") # shorter: the passages behind it go
        self.assertEqual(self.counts("n"), [1, 2, 0, 0])
        self.assertEqual(self.found("x", "-n", 50).count("a.txt"), 1)
        (self.folder / "n/twin.txt").unlink()
        self.assertEqual(self.counts("n"), [0, 2, 1, 0])
        self.assertEqual(sorted(self.found("x", "-n", 50)), ["a.txt", "b.txt"])
        self.assertEqual(self.found("x", "--where", "kind = picture"), [])

    def test_words(self):
        self.put_pictures("p/snowy_road.png", "p/b.png", "p/c.png")
        self.put("p/b.txt", "사람이 없는 도로에서")
        self.put("p/c.png.txt", "a red lorry without people")
        self.index("-m", self.clip, "p")
        self.assertEqual(self.found("--bm25", "도로"), ["b.png"])
        self.assertEqual(self.found("--bm25", "서"), ["b.png"])
        self.assertEqual(self.found("--bm25", "road"), ["snowy_road.png"])
        self.assertEqual(self.found("--bm25", '"red lorry"'), ["c.png"])
        self.assertEqual(self.found("--bm25", '"lorry red"'), [])
        self.assertEqual(self.found("--hybrid", "lorry", "-n", 1), ["c.png"])
        self.assertEqual(self.found("--hybrid", "lorry", "--group", "folder"), ["c.png"])
        self.assertEqual(self.found("--hybrid", "lorry", "--weight", 0, "--diversity", 0.3)[0], "c.png")
        self.put("p/b.txt", "바다")
        self.assertEqual(self.counts("p"), [0, 3, 0, 0])
        self.assertEqual(self.found("--bm25", "도로"), [])
        self.assertEqual(self.found("--bm25", "바다"), ["b.png"])
        self.put("p/b.png", png("another"))
        self.index("p")
        self.assertEqual(self.found("--bm25", "바다"), ["b.png"])


@unittest.skipIf(SANITIZED, "takes long")
class Korean(ElasticTest):
    """A node that has the analyser nori."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="kindred-elastic-"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.server = node.Node(folder, analyzers=True)
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)

    def test_words_are_found_by_their_stems(self):
        self.store = f"elasticsearch://127.0.0.1:{self.server.port}/korean"
        bert = make_bert(self.folder / "bert")
        self.put("n/a.txt", "사람이 없는 도로에서 걸었다")
        self.put("n/b.txt", "바다에 갔다")
        self.put("n/c.txt", "東京タワーの夜景を見た")
        self.put("n/d.txt", "没有人的海边下着雪")
        self.put("c.csv", "path,caption\nn/b.txt,눈이 온 산\n")
        self.index("-m", bert, "n", "--captions", "c.csv")
        mapping = self.server.call("GET", "korean/_mapping")["korean-000001"]["mappings"]
        self.assertEqual({mapping["properties"][name]["analyzer"] for name in ("passage", "caption_given")}, {"nori"})
        self.assertEqual(mapping["_meta"]["kindred"]["words"], "nori")
        for words, names in {"도로": ["a.txt"], "사람": ["a.txt"], "걷다": ["a.txt"], "바다": ["b.txt"], "산": ["b.txt"],
                             "바다로": ["b.txt"], "서": ["a.txt"], "다": ["a.txt", "b.txt"], "夜": ["c.txt"], "雪": ["d.txt"], "夜景": ["c.txt"], "タワー": ["c.txt"], "東京": ["c.txt"], "海边": ["d.txt"],
                             "没有人": ["d.txt"], "下着雪": ["d.txt"], '"の夜景"': ["c.txt"], '"人的海边"': ["d.txt"], '"사람이 없는"': ["a.txt"], "하늘": []}.items():
            self.assertEqual(sorted(self.found("--bm25", words)), names, words)
        self.run_kindred("index", "--rebuild", "--store", self.store)
        self.assertEqual(self.found("--bm25", "도로"), ["a.txt"])
        exported = self.run_kindred("store", "export", "--store", self.store).out
        self.assertIn("눈이 온 산", [json.loads(line).get("captions", {}).get("given") for line in exported.splitlines()])


@unittest.skipIf(SANITIZED, "takes long")
class Metadata(test_search.Metadata):
    def run_kindred(self, *args, **options):
        return super().run_kindred(*args, "--store", store_of(f"metadata_{self.id().rsplit('.', 1)[-1]}"), **options)

    def assert_found(self, cases):
        """Texts of more than 8,191 characters are kept, but not compared."""
        super().assert_found({where: "" if "장소 glob" in where else names for where, names in cases.items()})


class Given(ElasticTest):
    def test_exif_in_an_index_made_before(self):
        exif = pathlib.Path(os.environ["KINDRED_SOURCE"], "tests/data/exif")
        for name in ("all", "digitized", "changed", "none"):
            self.put(f"p/{name}.jpg", (exif / f"{name}.jpg").read_bytes())
        name = self.store.rsplit("/", 1)[1]
        mapping = {"exif": {"properties": {"date": {"type": "keyword"}, "camera": {"type": "keyword"}}}}
        self.index("-m", self.clip, "p")
        made = server.call("GET", f"{name}/_mapping")[f"{name}-000001"]["mappings"]
        self.assertEqual({"exif": made["properties"].pop("exif")}, mapping)
        documents = [hit["_source"] for hit in server.call("GET", f"{name}/_search")["hits"]["hits"]]
        server.call("DELETE", f"{name}-000001")
        server.call("PUT", f"{name}-000001", {"mappings": made, "aliases": {name: {}}})
        for document in documents:
            del document["exif"], document["exif_read"]
            server.call("PUT", f"{name}/_doc/{document['item']:016x}?refresh=true", document | {"described": True})
        self.assertEqual(len(self.found("x", "-w", "meta.date is null")), 4)
        self.assertEqual(self.counts("p"), [0, 4, 0, 0])
        self.assertEqual(self.found("x", "-w", "meta.date >= '2024'"), ["changed.jpg"])
        self.assertEqual(self.found("x", "-w", "meta.date is null"), ["none.jpg"])
        # Analyses know the dates, too: as given, else as the photos tell them.
        self.put("m.csv", "path,date\np/none.jpg,2000-01-01\np/changed.jpg,2001-01-01\n")
        self.index("p", "--metadata", "m.csv")
        self.run_kindred("anomalies", "recent", "--store", self.store, "--window", "12h", "--csv", "o.csv")
        with open(self.folder / "o.csv", newline="") as rows:
            order = [pathlib.Path(row["name"]).stem for row in csv.DictReader(rows)]
        self.assertEqual(order, ["none", "changed", "digitized", "all"])

    def test_captions_and_metadata(self):
        bert = make_bert(self.folder / "bert")
        self.put("n/a.txt", "The cat . The dog .\n\n" * 12)
        self.put("n/b.txt", "The road .\n")
        self.put("m.jsonl", '{"path": "n/a.txt", "tags": ["sea", 7], "n": 1.5}\n{"path": "n/b.txt", "n": -2000}\n'
                            '{"path": "n/none.txt", "n": 1}\n')
        self.put("c.csv", "path,caption\nn/b.txt,a red lorry\n")
        result = self.index("-m", bert, "n", "--metadata", "m.jsonl", "--captions", "c.csv")
        self.assertEqual((result["metadata"], result["captions"]), (2, 1))
        passages = len(self.found("x", "-n", 50, "-w", "name = 'a.txt'"))
        self.assertGreater(passages, 4)
        cases = {"meta.tags = 'sea'": ["a.txt"] * passages, "meta.tags = 7": ["a.txt"] * passages, "meta.n < 0": ["b.txt"],
                 "meta.n between 1 and 2": ["a.txt"] * passages, "meta.none is null and meta.n = -2000": ["b.txt"],
                 "meta.tags in ('sky', 7) or meta.n = 3": ["a.txt"] * passages, "meta.n is null": [],
                 "not meta.tags = 'sea'": ["b.txt"], "meta.tags glob 's*'": ["a.txt"] * passages}
        for where, names in cases.items():
            self.assertEqual(self.found("x", "-n", 50, "-w", where), names, where)
        self.assertEqual(self.found("--bm25", "lorry"), ["b.txt"])
        # They stay when the file changes, and a bad list changes nothing.
        self.put("n/a.txt", "The cat . The road .\n\n" * 12)
        self.index("n")
        self.assertEqual(self.found("x", "-n", 50, "-w", "meta.tags = 7"), ["a.txt"] * passages)
        self.put("m.jsonl", '{"path": "n/a.txt", "tags": null, "n": 9}\n{"path": "n/b.txt", "n": {}}\n')
        self.index("n", "--metadata", "m.jsonl", status=1)
        self.assertEqual(self.found("x", "-w", "meta.n = 9"), [])
        self.put("m.jsonl", '{"path": "n/a.txt", "tags": null, "n": 9}\n')
        self.index("n", "--metadata", "m.jsonl")
        self.assertEqual(len(self.found("x", "-n", 50, "-w", "meta.n = 9 and meta.tags is null")), passages)


class Transfer(ElasticTest):
    def export(self, store):
        lines = [json.loads(line) for line in self.run_kindred("store", "export", "-s", store).out.splitlines()]
        return lines[0], [{key: value for key, value in line.items() if key != "id"} for line in lines[1:]]

    def transfer(self, name, store, *args, **options):
        return self.run_kindred("store", "import", name, "-s", store, "--json", *args, **options)

    def fill(self):
        """A store in a file with all that an export tells."""
        bert = make_bert(self.folder / "bert")
        self.put("n/a.txt", "The cat . The dog .\n\n" * 12)
        self.put("n/b.txt", "The road .\n")
        self.put("m.jsonl", '{"path": "n/a.txt", "tags": ["sea", 7], "n": 1.5}\n')
        self.put("c.csv", "path,caption\nn/b.txt,A red lorry: without people\n")
        self.run_kindred("index", "-q", "-m", bert, "n", "--metadata", "m.jsonl", "--captions", "c.csv")
        self.run_kindred("store", "export", "-q", "-o", "a.jsonl")

    def test_there_and_back(self):
        self.fill()
        counts = json.loads(self.transfer("a.jsonl", self.store).out)
        header, lines = self.export("kindred.db")
        self.assertEqual((counts["vectors"], counts["items"], counts["replaced"]), (len(lines), 2, 0))
        self.assertEqual(self.export(self.store), (header, lines))
        self.assertEqual(self.found("--bm25", "lorry"), ["b.txt"])
        self.assertEqual(set(self.found("the road", "-w", "meta.tags = 7 and meta.n < 2")), {"a.txt"})
        self.assertEqual(self.counts("n"), [0, 2, 0, 0])
        # Out of the index to the bit, and its ids are kept.
        self.run_kindred("store", "export", "-q", "-s", self.store, "-o", "b.jsonl")
        self.transfer("b.jsonl", "back.db")
        self.assertEqual(self.run_kindred("store", "export", "-s", "back.db").out, (self.folder / "b.jsonl").read_text())
        self.run_kindred("store", "export", "-q", "-s", self.store, "-o", "b.npy", "--paths", "b.paths")
        self.run_kindred("store", "export", "-q", "-o", "a.npy", "--paths", "a.paths")
        for ending in ("npy", "paths"):
            self.assertEqual((self.folder / f"a.{ending}").read_bytes(), (self.folder / f"b.{ending}").read_bytes())

    def test_what_is_there_is_replaced(self):
        self.fill()
        self.transfer("a.jsonl", self.store)
        self.put("n/a.txt", "The dog .\n")
        self.put("n/c.txt", "The cat .\n")
        self.run_kindred("index", "-q", "n")
        self.run_kindred("store", "export", "-q", "-o", "c.jsonl")
        counts = json.loads(self.transfer("c.jsonl", self.store).out)
        self.assertEqual((counts["items"], counts["replaced"]), (3, 2))
        self.assertEqual(self.export(self.store), self.export("kindred.db"))
        # What a line doesn't tell stays as it is.
        self.put("d.jsonl", json.dumps({"path": "n/a.txt", "vector": [1] + [0] * 63, "metadata": {"n": 2}}) + "\n")
        self.transfer("d.jsonl", self.store)
        self.assertEqual(self.found("x", "-w", "meta.n = 2 and meta.tags = 'sea'"), ["a.txt"])
        self.assertEqual(self.found("--bm25", "lorry"), ["b.txt"])

    def test_mistakes_take_nothing(self):
        self.fill()
        good = (self.folder / "a.jsonl").read_text()
        bad = {'{"path": "n/z.txt"}': "vector", good.splitlines()[-1]: "is there twice",
               '{"path": "n/z.txt", "vector": [1, 2]}': "floats",
               json.dumps({"path": "n/z.txt", "vector": [0] * 64}): "a vector of zeros",
               json.dumps({"path": "n/z.txt", "vector": [1] * 64, "metadata": {"x": {}}}): "a value must be"}
        for line, message in bad.items():
            self.put("bad.jsonl", good + json.dumps({"path": "n/y.txt", "vector": [1] * 64}) + "\n" + line + "\n")
            self.assertIn(message, self.transfer("bad.jsonl", self.store, status=1).err)
            self.assertFalse(server.has(self.store.rsplit("/", 1)[1]))
        self.transfer("a.jsonl", self.store)
        self.transfer("bad.jsonl", self.store, status=1)
        self.assertEqual(self.export(self.store), self.export("kindred.db"))


@unittest.skipIf(SANITIZED, "takes long")
class MoreThanAPage(ElasticTest):
    def test_all_is_read_and_copied(self):
        self.put_pictures(*[f"p/{i:04}.png" for i in range(510)])
        self.put("m.csv", "path,rating\np/0003.png,5\n")
        self.index("-m", self.clip, "p", "--metadata", "m.csv")
        self.run_kindred("index", "-q", "-m", self.clip, "--store", "kindred.db", "p")
        there, here = (json.loads(self.run_kindred("sample", "-n", 20, "--json", "--store", store).out)["picks"]
                       for store in (self.store, "kindred.db"))
        self.assertEqual(there, here)
        before = self.found("x", "-n", 100, "--candidates", 1000)
        name = self.store.rsplit("/", 1)[1]
        self.run_kindred("index", "--rebuild", "--store", self.store)
        self.assertEqual(list(server.call("GET", f"{name}/_mapping")), [f"{name}-000002"])
        self.assertEqual(self.found("x", "-n", 100, "--candidates", 1000), before)
        self.assertEqual(self.found("x", "-w", "meta.rating = 5"), ["0003.png"])
        self.assertEqual(self.counts("--rebuild", "p"), [0, 510, 0, 0])
        self.assertEqual(list(server.call("GET", f"{name}/_mapping")), [f"{name}-000003"])
        self.assertIn("only an index of Elasticsearch", self.run_kindred("index", "--rebuild", status=1).err)


@unittest.skipIf(SANITIZED, "takes long")
class Restarts(ElasticTest):
    def test_node_killed_while_indexing(self):
        self.put_pictures(*[f"p/{i:04}.png" for i in range(600)])
        name = self.store.rsplit("/", 1)[1]
        arguments = [BIN, "index", "--json", "-m", self.clip, "--store", self.store, "p"]
        process = subprocess.Popen(arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        while process.poll() is None and not server.has(name):
            time.sleep(0.01)
        server.kill()
        server.start()
        out, err = process.communicate(timeout=200)
        # It went on, or it ended with a message and the next run goes on.
        if process.returncode:
            self.assertRegex(err.decode(), "lost|can't reach|HTTP 503")
        else:
            self.assertEqual(json.loads(out)["embedded"], 600)
        result = self.index("-m", self.clip, "p")
        self.assertEqual(result["embedded"] + result["unchanged"], 600)
        self.assertEqual(self.counts("p"), [0, 600, 0, 0])
        self.assertEqual(server.call("GET", f"{name}/_count")["count"], 600)


class Filters(ElasticTest):
    def test_as_in_sqlite(self):
        names = ["p/a.png", "p/B.png", "p/x[1].png", "q/2023/c.png", "q/2023/새.png", "q/+.-{}~@&<>#.png"]
        for i, name in enumerate(names):
            self.put(name, png(name, 40 + i, 36))
            os.utime(self.folder / name, (1.7e9 + 86400 * i, 1.7e9 + 86400 * i))
        self.index("-m", self.clip, "p", "q")
        self.run_kindred("index", "-q", "-m", self.clip, "--store", "kindred.db", "p", "q")
        filters = ["name glob '*.png'", "name glob '[A-Z]*'", "name glob '[^a]*'", "name like 'b.%'", "name = 'a.png'",
                   "name glob 'x[[]1]*'", "path glob '2023/*'", "path glob 'p/?.png'", "folder glob '2023'",
                   "name glob '새.*'", "name glob '+.-{}~@&<>#.png'", "name like '_.png'", "width > 42", "width = 41.5",
                   "width in (40, 43)", "width between 41 and 43 or name = 'a.png'", "not width > 42", "width is null",
                   "mtime >= '2023-11-16Z' and mtime < '2023-11-18Z'", "kind = picture and not name like '%c%'",
                   "meta.x is null", "meta.x = 3", "size > 1", "name >= 'c'", "name glob '[a'", "width > 40.5"]
        for where in filters:
            there = self.run_kindred("search", "x", "--json", "--store", "kindred.db", "-n", 50, "-w", where).out
            wanted = [pathlib.Path(hit["path"]).name for hit in json.loads(there)["results"]]
            self.assertEqual(sorted(self.found("x", "-n", 50, "-w", where)), sorted(wanted), where)


class Models(ElasticTest):
    def test_another_model_is_refused(self):
        self.put_pictures("p/a.png")
        self.index("-m", self.clip, "p")
        self.assertIn("give another model another index", self.run_kindred(
            "index", "-m", self.dino, "--store", self.store, "p", status=1).err)
        self.assertIn("nothing in it was made with that model", self.run_kindred(
            "search", "-m", self.dino, "-i", "p/a.png", "--store", self.store, status=1).err)
        self.assertIn("no such index", self.run_kindred("search", "x", "--store", store_of("missing"), status=1).err)
        self.run_kindred("collections", "--store", self.store, "--drop", "1")
        self.assertIn("no such index", self.run_kindred("search", "x", "--store", self.store, status=1).err)


    def test_how_a_model_was_opened_is_remembered(self):
        self.put_pictures("p/a.png")
        self.index("-m", self.dino, "--pooling", "mean", "p")
        self.assertEqual(self.counts("p"), [0, 1, 0, 0])
        self.assertEqual(self.found("-i", "p/a.png"), ["a.png"])


class OthersIndices(ElasticTest):
    def test_search(self):
        server.call("PUT", "shop", {"mappings": {"properties": {
            "embedding": {"type": "dense_vector", "dims": 32, "similarity": "cosine"}, "colour": {"type": "keyword"},
            "info": {"properties": {"title": {"type": "text"}, "sku": {"type": "keyword"}}}}}})
        self.put_pictures("a.png", "b.png", "c.png")
        rows = self.embed("a.png", "b.png", "c.png")
        for name, row in zip("abc", rows):
            server.call("PUT", f"shop/_doc/{name}?refresh=true",
                        {"embedding": row, "colour": "red" if name == "a" else "blue",
                         "info": {"title": f"The {name} thing", "sku": f"sku-{name}"}})
        self.store = store_of("shop")
        fields = ("--vector-field", "embedding", "--text-field", "info.title", "--id-field", "info.sku")
        got = self.found("-m", self.clip, "-i", "b.png", "-n", 1, *fields)
        self.assertEqual(got, ["sku-b"])
        self.assertEqual(self.found("-m", self.clip, "-i", "b.png", "-n", 1, "--vector-field", "embedding"), ["b"])
        self.assertEqual(self.found("-m", self.clip, "-i", "b.png", "-w", "meta.colour = 'red'", *fields), ["sku-a"])
        self.assertEqual(self.found("--bm25", "c", *fields), ["sku-c"])
        both = self.run_kindred("search", "-m", self.clip, "--hybrid", "c", "--json", "--store", self.store, *fields).out
        both = json.loads(both)["results"]
        self.assertEqual([hit["path"] for hit in both if hit["bm25_rank"]], ["sku-c"])
        self.assertEqual(sorted(hit["vector_rank"] for hit in both), [1, 2, 3])
        near = self.run_kindred("similar", "sku-a", "--store", self.store, "--json", *fields).out
        self.assertEqual(sorted(hit["path"] for hit in json.loads(near)["results"]), ["sku-b", "sku-c"])
        refused = {("search", "-m", self.clip, "-i", "b.png", "--vector-field", "colour"): "no dense_vector",
                   ("search", "-m", self.clip, "-i", "b.png", *fields, "-w", "width > 3"): "width isn't known",
                   ("search", "-m", self.clip, "-i", "b.png"): "wasn't made by kindred"}
        of_field = ("search", "-m", self.clip, "c", "--vector-field", "embedding")
        refused[(*of_field, "--text-field", "info.name")] = "no field info.name"
        refused[(*of_field, "--id-field", "sku")] = "no field sku"
        for args, message in refused.items():
            self.assertIn(message, self.run_kindred(*args, "--store", self.store, status=1).err)
        lost = self.run_kindred("search", "c", "--vector-field", "embedding", "--store", self.store, status=2)
        self.assertIn("which model?", lost.err)
        line = self.run_kindred("search", "--bm25", "c", "--store", self.store, *fields).out
        self.assertTrue(line.endswith("  sku-c: The c thing\n"), line)


if __name__ == "__main__":
    main()
