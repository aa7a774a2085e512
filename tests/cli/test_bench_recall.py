"""kindred bench recall."""
import json
import os
import pathlib
import random
import unittest
import xml.etree.ElementTree

from support import CommandTest, main, make_bert


CACHE = pathlib.Path(os.environ["KINDRED_CACHE"])


class BenchRecall(CommandTest):
    def bench(self, *args, status=0):
        env = {"TMPDIR": str(self.folder)}
        result = self.run_kindred("bench", "recall", "--rounds", "1", *args, env=env, status=None)
        if "no FAISS" in result.err:
            self.skipTest("this build has no FAISS")
        self.assertEqual(result.returncode, status, result.err)
        self.assertFalse([name for name in self.files() if name.startswith("kindred-bench")])
        return result

    def check(self, indexes):
        """The exact scan, then an IVF index of 16 lists: all of them are the exact scan again."""
        exact, ivf = indexes
        names = ("recall_at_1", "recall_at_10", "recall_at_100")
        self.assertEqual(exact["ann"], "off")
        self.assertEqual([exact["points"][0][name] for name in names], [1, 1, 1])
        self.assertEqual(ivf["ann"], "IVF16,Flat")
        self.assertEqual([p.get("probes") for p in ivf["points"]], [1, 2, 4, 8, 16, None])
        self.assertEqual([ivf["points"][-2][name] for name in names], [1, 1, 1])
        self.assertGreaterEqual(ivf["points"][-1]["recall_at_10"], 0.95)
        self.assertGreater(ivf["bytes"], 0)
        for point in exact["points"] + ivf["points"]:
            self.assertGreater(point["queries_per_second"], 0)
            self.assertGreater(point["queries_per_second_one_thread"], 0)
        return [p["recall_at_10"] for p in ivf["points"][:-1]]

    def test_synthetic(self):
        out = self.bench("-n", "3000", "--dim", "32", "--queries", "40", "--ann", "IVF16,Flat", "--json", "--svg",
                         "r.svg").out
        result = json.loads(out)
        self.assertEqual((result["count"], result["dim"], result["queries"], result["k"]), (3000, 32, 40, 10))
        recall = self.check(result["indexes"])
        self.assertEqual(recall, sorted(recall))
        self.assertLess(recall[0], 0.95)
        svg = xml.etree.ElementTree.parse(self.folder / "r.svg")
        ns = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len([p for p in svg.iter(ns + "path") if "line" in p.get("class")]), 2)
        self.assertEqual(len(list(svg.iter(ns + "circle"))), 6)
        self.assertIn("IVF16,Flat", [t.text for t in svg.iter(ns + "text")])

    def test_table(self):
        out = self.bench("-n", "1000", "--dim", "16", "--queries", "20", "--ann", "HNSW8").out
        self.assertRegex(out, r"1,000 vectors of 16 floats, 20 queries in one call, k = 10")
        self.assertRegex(out, r"\nexact scan +1\.0000  1\.0000  1\.0000 ")
        self.assertRegex(out, r"\nHNSW8: built in [\d.]+ s, 0\.[01] MB on disk")
        self.assertRegex(out, r"\n  ef 1024 +1\.0000 ")
        self.assertRegex(out, r"\n  default +(0\.9[5-9]|1\.0)")

    @unittest.skipIf(os.environ.get("KINDRED_SANITIZE"), "takes long")
    @unittest.skipUnless((CACHE / "minilm").exists() and (CACHE / "sentences").exists(), "needs materials")
    def test_default_effort_for_real_sentences(self):
        """Found by searching for sentences that are in the index, it holds for 300 that aren't."""
        sentences = (CACHE / "sentences/sentences.txt").read_text(encoding="utf-8").splitlines()
        random.Random(1).shuffle(sentences)
        self.put("t/all.jsonl", "".join(json.dumps({"text": sentence}) + "\n" for sentence in sentences[:1500]))
        self.run_kindred("index", "-q", "-m", CACHE / "minilm", "--precision", "int8", "--text-column", "text", "t")
        indexes = json.loads(self.bench("--store", "kindred.db", "--queries", "300", "--ann", "HNSW32", "--ann",
                                        "IVF32,SQ8", "--json").out)["indexes"]
        for index in indexes[1:]:
            self.assertGreaterEqual(index["points"][-1]["recall_at_10"], 0.95, index)

    def test_store(self):
        r = random.Random(2)
        texts = [" ".join(r.choice(["the", "cat", "dog", "road", "x"]) for _ in range(10)) + "." for _ in range(1000)]
        self.put("t/texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
        self.run_kindred("index", "-q", "-m", make_bert(self.folder / "bert"), "t")
        before = (self.folder / "kindred.db.vectors").read_bytes()
        result = json.loads(self.bench("--store", "kindred.db", "--queries", "30", "--ann", "IVF16,Flat", "--json").out)
        self.assertEqual((result["queries"], result["dim"]), (30, 64))
        self.assertEqual(result["count"] + 30, 1000)
        self.check(result["indexes"])
        self.assertEqual((self.folder / "kindred.db.vectors").read_bytes(), before)
        self.assertFalse((self.folder / "kindred.db.vectors.ann").exists())

    def test_mistakes(self):
        self.assertIn("nonsense", self.bench("-n", "100", "--dim", "8", "--ann", "nonsense", status=1).err)
        self.assertIn("no such store", self.bench("--store", "none.db", status=1).err)
        self.bench("--rounds", "0", status=2)
        self.bench("--collection", "1", status=2)
        self.bench("more", status=2)


if __name__ == "__main__":
    main()
