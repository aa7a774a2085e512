"""kindred index optimize, and searching by what it makes."""
import json
import os
import pathlib
import random
import signal
import subprocess
import time
from unittest import mock

from support import BIN, CommandTest, main, make_bert

WORDS = ["the", "cat", "dog", "road", "other"]


class Optimize(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bert = make_bert(cls.shared / "bert")

    def setUp(self):
        super().setUp()
        r = random.Random(1)
        texts = [" ".join(r.choice(WORDS) for _ in range(10)) + "." for _ in range(1500)]
        self.put("t/texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
        self.index()
        probe = self.run_kindred("index", "optimize", "--ann", "HNSW8", status=None)
        if "no FAISS" in probe.err:
            self.assertEqual(probe.returncode, 1)
            self.assertIn("libfaiss-dev", probe.err)
            self.skipTest("this build has no FAISS")
        self.assertRegex(probe.out, r"^HNSW8 of 1,5\d\d vectors, .* of the nearest ten with ef \d+;")

    def index(self):
        self.run_kindred("index", "-q", "-m", self.bert, "t")

    def results(self, *args):
        return json.loads(self.run_kindred("search", "--json", *args).out)["results"]

    def ann(self):
        return json.loads(self.run_kindred("collections", "--json").out)["collections"][0].get("ann")

    def test_finds_what_the_scan_finds(self):
        made = json.loads(self.run_kindred("index", "optimize", "--ann", "IVF16,Flat", "--json").out)
        self.assertEqual(made["ann"], "IVF16,Flat")
        measured = {"recall": made["recall"], "probes": made["probes"]}
        self.assertEqual(made["tried"], [{"ann": "IVF16,Flat", "kept": True} | measured])
        self.assertEqual(self.ann(), {"factory": made["ann"], "vectors": made["vectors"], "bytes": made["bytes"]} | measured)
        self.assertTrue(0.98 <= made["recall"] <= 1 <= made["probes"] <= 16, measured)
        self.assertRegex(self.run_kindred("collections").out,
                         r"index +IVF16,Flat of 1,5\d\d vectors, .*, finds (0\.9\d+|1) of the nearest ten with \d+ probe")
        exact = self.results("the cat the cat road", "--ann", "off")
        self.assertEqual(self.results("the cat the cat road", "--probes", "16"), exact)
        self.assertEqual(self.results("the cat the cat road", "--ann", "IVF16,Flat", "--probes", "16"), exact)
        few = self.results("the cat the cat road", "--probes", "1", "--where", "path glob '*.jsonl'")
        self.assertEqual(len(few), 10)
        self.assertEqual(self.results("cat", "--where", "path glob '*.txt'"), [])
        error = self.run_kindred("search", "cat", "--ann", "HNSW32", status=1).err
        self.assertIn("is IVF16,Flat, not HNSW32", error)

    def test_candidates_of_an_index_of_codes(self):
        def scores(*args):
            return [r["score"] for r in self.results("the cat the cat road", *args)]

        self.run_kindred("index", "optimize", "-q", "--ann", "SQ4")
        exact = scores("--ann", "off", "-n", "2000")
        few = scores("--candidates", "1")
        self.assertEqual(len(few), 10)
        self.assertLessEqual(set(few), set(exact))
        self.assertEqual(scores("--candidates", "500"), exact[:10])
        self.assertIn("not for --ann off", self.run_kindred("search", "cat", "--ann", "off", "--candidates", "9", status=2).err)

    def test_what_comes_and_goes(self):
        self.put("t/new.txt", "dog dog dog dog dog dog road.")
        self.index()
        self.assertTrue(self.results("dog dog dog dog dog dog road.")[0]["path"].endswith("new.txt"))
        (self.folder / "t/new.txt").unlink()
        self.index()
        self.assertFalse(any(r["path"].endswith("new.txt") for r in self.results("dog dog dog dog dog dog road.")))

    def test_refusals(self):
        before = (self.folder / "kindred.db.vectors.ann").read_bytes()
        for factory, part in (("nonsense", "nonsense"), ("IVF9000,Flat", "IVF9000,Flat")):
            self.assertIn(part, self.run_kindred("index", "optimize", "--ann", factory, status=1).err)
        self.assertIn("no such store", self.run_kindred("index", "optimize", "-s", "none.db", status=1).err)
        self.assertIn("no collection", self.run_kindred("index", "optimize", "-c", "7", status=1).err)
        self.run_kindred("index", "optimize", "more", status=2)
        self.run_kindred("search", "cat", "--ann", "off", "--ef", "9", status=2)
        self.assertEqual((self.folder / "kindred.db.vectors.ann").read_bytes(), before)
        self.assertFalse((self.folder / "none.db").exists())

    def test_store_check_names_a_damaged_index(self):
        self.assertTrue(json.loads(self.run_kindred("store", "check", "--json").out)["ok"])
        path = self.folder / "kindred.db.vectors.ann"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        found = json.loads(self.run_kindred("store", "check", "--json", status=1).out)
        problem, = found["problems"]
        self.assertIn("wrong checksum", problem["problem"])
        self.assertEqual(len(self.results("cat")), 10)
        self.run_kindred("index", "optimize", "--ann", "off")
        self.assertTrue(json.loads(self.run_kindred("store", "check", "--json").out)["ok"])

    def test_loads_faiss_when_needed_only(self):
        self.assertNotRegex(subprocess.run([BIN], env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True,
                                           text=True).stdout, "blas|gomp|faiss")
        with mock.patch.dict(os.environ, {"KINDRED_FAISS": str(self.folder / "none.so")}):
            self.assertEqual(len(self.results("cat")), 10)
            self.assertTrue(json.loads(self.run_kindred("store", "check", "--json").out)["ok"])
            for command in (["search", "cat", "--ann", "HNSW8"], ["index", "optimize", "--ann", "HNSW8"]):
                error = self.run_kindred(*command, status=1).err
                self.assertRegex(error, "FAISS can't be loaded: .*none.so.*install libfaiss-dev")
            self.run_kindred("index", "optimize", "--ann", "off")
        self.assertIsNone(self.ann())
        other = str(pathlib.Path(BIN).with_name("libkindred.so"))
        with mock.patch.dict(os.environ, {"KINDRED_FAISS": other}):
            error = self.run_kindred("index", "optimize", "--ann", "HNSW8", status=1).err
            self.assertIn("of another version of Kindred", error)

    def test_found_where_it_is_installed(self):
        build = pathlib.Path(BIN).parent
        installed = self.folder / "usr"
        environment = {name: value for name, value in os.environ.items() if name != "KINDRED_FAISS"}
        subprocess.run(["cmake", "--install", build, "--prefix", installed], check=True, stdout=subprocess.DEVNULL)
        (self.folder / "bin").mkdir()
        (self.folder / "bin/link").symlink_to(installed / "bin/kindred")
        for command in (installed / "bin/kindred", "bin/link"):
            made = subprocess.run([command, "index", "optimize", "--ann", "HNSW8", "--json"], cwd=self.folder, check=True,
                                  env=environment, capture_output=True, text=True)
            self.assertEqual(json.loads(made.stdout)["ann"], "HNSW8")
        next(installed.rglob("libkindred_faiss.so")).unlink()
        self.assertIn("no FAISS", subprocess.run([installed / "bin/kindred", "index", "optimize", "--ann", "HNSW8"],
                                                 cwd=self.folder, env=environment, capture_output=True,
                                                 text=True).stderr)

    def test_few_vectors_are_searched_exactly(self):
        self.assertIn("searched exactly", self.run_kindred("index", "optimize").out)
        self.assertIsNone(self.ann())
        self.assertFalse((self.folder / "kindred.db.vectors.ann").exists())
        self.assertIn("no approximate index", self.run_kindred("search", "cat", "--ann", "HNSW32", status=1).err)
        self.assertEqual(len(self.results("cat")), 10)

    def test_interrupted(self):
        before = (self.folder / "kindred.db.vectors.ann").read_bytes()
        process = subprocess.Popen([BIN, "index", "optimize", "--ann", "OPQ32,IVF16,PQ32"], cwd=self.folder,
                                   stderr=subprocess.PIPE)
        while (self.folder / "kindred.db.lock").read_text().strip() != str(process.pid):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=120)[1].decode()
        self.assertEqual(process.returncode, 130, error)
        self.assertIn("the index that there was is kept", error)
        self.assertEqual((self.folder / "kindred.db.vectors.ann").read_bytes(), before)
        self.assertFalse((self.folder / "kindred.db.vectors.ann.new").exists())


if __name__ == "__main__":
    main()
