"""The same items in the three kinds of search, exact, FAISS and Elasticsearch: 10,000 real sentences by MiniLM, and as
many seeded vectors in clusters, changed in the same ways, asked the same. Skipped where the materials, FAISS, or Java and
Maven for a node are missing."""
import collections
import json
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import node
from support import BIN, main

CACHE = pathlib.Path(os.environ["KINDRED_CACHE"])
DRIVER = pathlib.Path(os.environ["KINDRED_DRIVERS"]) / "driver_queries"
ITEMS, IN_A_FILE, K = 10_000, 50, 10
QUERIES = 30
LEAST_RECALL = 0.95

Hit = collections.namedtuple("Hit", "id score vector_rank bm25_rank place")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(*args):
    return subprocess.run([str(a) for a in args], cwd=Stores.folder, check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=600, env=os.environ | {"KINDRED_MODEL": ""}).stdout


def kindred(*args):
    return run(BIN, *args)


class Stores:
    """The folder of texts and the three stores of it."""

    @classmethod
    def write(cls, name, sentences):
        text = "".join(json.dumps({"text": sentence}) + "\n" for sentence in sentences)
        (cls.folder / "texts" / name).write_text(text, encoding="utf-8")

    @classmethod
    def make(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kindred-conformance-"))
        unittest.addModuleCleanup(shutil.rmtree, cls.folder, True)
        probe = subprocess.run([BIN, "bench", "recall", "-q", "--count", "100", "--dim", "8", "--ann", "HNSW8"],
                               capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if "no FAISS" in probe.stderr:
            skip("this build has no FAISS")
        try:
            cls.server = node.Node(cls.folder / "node")
            cls.server.start()
        except node.Missing as reason:
            skip(reason)
        unittest.addModuleCleanup(cls.server.stop)
        # Shuffled, so that no file has a subject of its own.
        cls.sentences = (CACHE / "sentences/sentences.txt").read_text().splitlines()
        random.Random(1).shuffle(cls.sentences)
        (cls.folder / "texts").mkdir()
        for i in range(0, ITEMS, IN_A_FILE):
            cls.write(f"{i // IN_A_FILE:03}.jsonl", cls.sentences[i:i + IN_A_FILE])
        (cls.folder / "m.csv").write_text("path,n\n" + "".join(f"texts/{i:03}.jsonl,{i % 7}\n" for i in range(200)))
        model = ("-m", CACHE / "minilm", "--precision", "int8")
        (cls.folder / "queries.txt").write_text("\n".join(cls.sentences[ITEMS:ITEMS + QUERIES]) + "\n")
        kindred("embed", "-q", *model, "--texts", "queries.txt", "-o", "queries.npy")
        kindred("index", "-q", *model, "--text-column", "text", "texts", "--metadata", "m.csv", "-s", "exact.db")
        kindred("store", "export", "-q", "-s", "exact.db", "-o", "all.jsonl")
        for path in cls.folder.glob("exact.db*"):
            shutil.copy(path, cls.folder / path.name.replace("exact", "faiss"))
        kindred("index", "optimize", "-q", "--ann", "HNSW32", "-s", "faiss.db")
        cls.elastic = f"elasticsearch://127.0.0.1:{cls.server.port}/all"
        kindred("store", "import", "-q", "all.jsonl", "-s", cls.elastic)
        cls.stores = {"exact": ("exact.db",), "FAISS": ("faiss.db", "ann=auto"), "Elasticsearch": (cls.elastic,)}


def setUpModule():
    if os.environ.get("KINDRED_SANITIZE"):
        skip("takes long; test_node.py runs the same parts")
    for material in ("minilm", "sentences"):
        if not (CACHE / material).exists():
            skip(f"there is no material {material}")
    Stores.make()


def ask(which, *settings, stores=None, queries="queries.npy"):
    """For each query its hits; an item's place is its file and the offset in it."""
    store, *own = (stores or Stores.stores)[which]
    hits = [[] for _ in range(QUERIES)]
    for line in run(DRIVER, store, queries, K, *own, *settings).splitlines():
        query, item, score, near, worded, _, offset, path = line.split("\t")
        place = (pathlib.Path(path).name, int(offset))
        hits[int(query)].append(Hit(int(item), float(score), int(near), int(worded), place))
    return hits


def recall(got, wanted):
    return statistics.mean(len({hit.place for hit in a} & {hit.place for hit in b}) / len(b)
                           for a, b in zip(got, wanted) if b)


class Conformance(unittest.TestCase):
    def by_place(self, hits):
        return [[(hit.place, hit.score) for hit in one] for one in hits]

    def assert_near(self, which, exact):
        """Most of the exact hits, each with the exact score."""
        got = ask(which)
        found = recall(got, exact)
        print(f"{which}: recall@{K} {found:.4f}")
        self.assertGreaterEqual(found, LEAST_RECALL, which)
        scores = [{hit.place: hit.score for hit in one} for one in exact]
        for one, known in zip(got, scores):
            self.assertEqual(len(one), K)
            for hit in one:
                self.assertEqual(hit.score, known.get(hit.place, hit.score), which)

    def assert_alike(self):
        exact = ask("exact")
        self.assertEqual(ask("FAISS", "ann=off"), exact) # ids, too
        for which in ("FAISS", "Elasticsearch"):
            self.assert_near(which, exact)
        # As many candidates as it takes: the hits of the exact scan, their scores the same floats.
        got = ask("Elasticsearch", "candidates=10000")
        self.assertGreaterEqual(recall(got, exact), 0.999)
        same = sum(a == b for a, b in zip(self.by_place(got), self.by_place(exact)))
        self.assertGreaterEqual(same, QUERIES - 1)

    def test_1_nearest(self):
        self.assert_alike()

    def test_2_filters(self):
        cases = {"name = '007.jsonl'": K, "name glob '01*'": K, "meta.n = 3": K, "meta.n = 3 and name < '05'": K,
                 "not (meta.n < 6 or name like '1%')": K, "meta.n > 6": 0}
        for where, least in cases.items():
            exact = ask("exact", f"where={where}")
            self.assertEqual({len(one) for one in exact}, {least}, where)
            for which in ("FAISS", "Elasticsearch"):
                got = ask(which, f"where={where}")
                self.assertEqual([len(one) for one in got], [least] * QUERIES, where)
                if least:
                    self.assertGreaterEqual(recall(got, exact), LEAST_RECALL, (which, where))

    def test_3_hybrid(self):
        exact = ask("exact", "words=queries.txt")
        for which in Stores.stores:
            got = ask(which, "words=queries.txt")
            for one in got:
                for hit in one:
                    fused = sum(1 / (60 + rank) for rank in (hit.vector_rank, hit.bm25_rank) if rank)
                    self.assertAlmostEqual(hit.score, fused, places=6)
            # Lucene's BM25 weighs frequent words otherwise: words rank much alike, not the same.
            found = recall(got, exact)
            print(f"{which}: hybrid, {found:.4f} of the exact scan's")
            self.assertGreaterEqual(found, 0.9 if which == "Elasticsearch" else LEAST_RECALL, which)

    def test_4_changes(self):
        Stores.write("000.jsonl", Stores.sentences[ITEMS + 100:ITEMS + 140])
        Stores.write("new.jsonl", Stores.sentences[ITEMS:ITEMS + QUERIES]) # the queries themselves
        for name in ("001.jsonl", "002.jsonl"):
            (Stores.folder / "texts" / name).unlink()
        for store, *_ in Stores.stores.values():
            counts = json.loads(kindred("index", "-q", "--json", "--text-column", "text", "texts", "-s", store))
            counts = [counts[key] for key in ("embedded", "unchanged", "removed", "failed")]
            self.assertEqual(counts, [2, 197, 2, 0], store)
        self.assert_alike()
        for which in Stores.stores:
            got = ask(which)
            for one in got:
                self.assertEqual(one[0].place[0], "new.jsonl", which)
            self.assertFalse({"001.jsonl", "002.jsonl"} & {hit.place[0] for one in got for hit in one})

    def test_5_all_that_is_there(self):
        """Once more after the changes: every passage, its place and its vector to the bit."""
        def export(store):
            lines = kindred("store", "export", "-s", store).splitlines()
            return [{key: value for key, value in json.loads(line).items() if key != "id"} for line in lines]
        exact = export("exact.db")
        self.assertEqual(len(exact) - 1, ITEMS - IN_A_FILE * 3 + 40 + QUERIES)
        for store in ("faiss.db", Stores.elastic):
            self.assertTrue(export(store) == exact, store) # a difference would be too long to print


class Seeded(unittest.TestCase):
    """Vectors of no model of ours, in 200 clusters; items are named a0, a1, ..., those that come later b0, b1, ..."""
    DIM, CLUSTERS, SPREAD = 64, 200, 0.5

    @classmethod
    def setUpClass(cls):
        cls.random = random.Random(8)
        cls.centres = [[cls.random.gauss(0, 1) for _ in range(cls.DIM)] for _ in range(cls.CLUSTERS)]
        cls.stores = {"exact": ("seeded.db",), "FAISS": ("seeded-faiss.db", "ann=auto"),
                      "Elasticsearch": (Stores.elastic.replace("/all", "/seeded"),)}
        cls.put("first.jsonl", [f"a{i}" for i in range(ITEMS)])
        kindred("index", "optimize", "-q", "--ann", "HNSW32", "-s", "seeded-faiss.db")
        rows = [struct.pack(f"<{cls.DIM}f", *cls.vector()) for _ in range(QUERIES)]
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({QUERIES}, {cls.DIM}), }}".ljust(117) + "\n"
        (Stores.folder / "seeded.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + head.encode() + b"".join(rows))

    @classmethod
    def vector(cls):
        centre = cls.random.choice(cls.centres)
        row = [x + cls.SPREAD * cls.random.gauss(0, 1) for x in centre]
        length = sum(x * x for x in row) ** 0.5
        return [x / length for x in row]

    @classmethod
    def put(cls, file, names):
        """New vectors for these items into all stores."""
        head = {"model_id": "5eed" * 16, "dim": cls.DIM, "image": True, "text": True, "model": "seeded"}
        lines = [head] + [{"path": f"/seeded/{name}", "vector": cls.vector()} for name in names]
        (Stores.folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
        for store, *_ in cls.stores.values():
            kindred("store", "import", "-q", file, "-s", store)

    def assert_alike(self, *settings):
        exact, without, near, elastic = (
            [[(hit.place[0], hit.score) for hit in one]
             for one in ask(which, *settings, *more, stores=self.stores, queries="seeded.npy")]
            for which, *more in (("exact",), ("FAISS", "ann=off"), ("FAISS",), ("Elasticsearch",)))
        self.assertEqual(without, exact)
        for which, got in (("FAISS", near), ("Elasticsearch", elastic)):
            found = statistics.mean(len(set(a) & set(b)) / K for a, b in zip(got, exact)) # the scores, too
            print(f"seeded, {which}: recall@{K} {found:.4f}")
            self.assertGreaterEqual(found, LEAST_RECALL, which)
        return exact

    def test_1_nearest(self):
        self.assert_alike()
        self.assert_alike("where=name glob 'a*7'")

    def test_2_updates_and_additions(self):
        before = self.assert_alike()
        self.put("later.jsonl", [f"a{i}" for i in range(500)] + [f"b{i}" for i in range(500)])
        after = self.assert_alike()
        self.assertNotEqual(before, after)
        self.assertTrue(any(name.startswith("b") for one in after for name, _ in one))
        self.assert_alike("where=name glob 'b*'")


if __name__ == "__main__":
    main()
