"""kindred index and kindred search."""
import json
import os
import shutil
import signal
import subprocess
import time

from support import BIN, CommandTest, cosine, main, png


class Collection(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures("p/a.png", "p/b.png", "p/c/d.png", "p/.hidden/e.png", "p/.git/f.png", "p/node_modules/g.png")

    def index(self, *args, status=0, model=True, **options):
        model = ["--model", self.clip] if model else []
        return json.loads(self.run_kindred("index", "--json", *model, *args, status=status, **options).out)

    def search(self, *args, **options):
        return json.loads(self.run_kindred("search", "--json", *args, **options).out)["results"]

    def paths(self, *args):
        root = str(self.folder.resolve()) + "/"
        return [hit["path"].removeprefix(root) for hit in self.search(*args)]


class Index(Collection):
    def counts(self, result):
        return tuple(result[key] for key in ("found", "embedded", "unchanged", "removed", "failed"))

    def test_only_what_is_new_or_changed(self):
        self.assertEqual(self.counts(self.index("p")), (3, 3, 0, 0, 0))
        self.assertEqual(self.counts(self.index("p", model=False)), (3, 0, 3, 0, 0))
        self.put("p/a.png", png("another", 50, 50))
        self.put_pictures("p/new.png")
        (self.folder / "p/b.png").unlink()
        self.assertEqual(self.counts(self.index("p", model=False)), (3, 2, 1, 1, 0))
        self.assertEqual(sorted(self.paths("cat")), ["p/a.png", "p/c/d.png", "p/new.png"])

    def test_summary_for_people(self):
        result = self.run_kindred("index", "-m", self.clip, "p")
        self.assertRegex(result.out, r"^3 embedded, 0 unchanged, 0 removed, 0 failed; .*kindred\.db")
        self.assertEqual(result.err, "")
        self.assertEqual(self.run_kindred("index", "-q", "p").out, "")

    def test_options_that_choose_files(self):
        self.assertEqual(self.counts(self.index("p", "--hidden", "--exclude", "*/c/*", "-x", "b.png", "--store", "1.db")),
                         (2, 2, 0, 0, 0))
        os.symlink("../p", self.folder / "p/c/loop")
        os.symlink("a.png", self.folder / "p/link.png")
        self.assertEqual(self.index("p", "--store", "2.db")["embedded"], 3)
        self.assertGreaterEqual(self.index("p", "--store", "3.db", "--follow")["embedded"], 3)

    def test_since(self):
        for path in (self.folder / "p").rglob("*.png"):
            os.utime(path, (1e9, 1e9))
        os.utime(self.folder / "p/b.png")
        for when, found in (("1d", 1), ("2001-09-08", 3), ("2001-09-10", 1), ("1000000000", 3), ("1000000001", 1)):
            result = self.index("p", "--since", when, "--store", f"{when}.db")
            self.assertEqual(result["embedded"], found, when)
        for when in ("yesterday", "2024-02-31", "-5", "7y", ""):
            self.assertIn("expected a date", self.run_kindred("index", "p", "--since", when, status=2).err)

    def test_bad_files_are_counted(self):
        self.put("p/bad.png", png(1)[:100])
        self.put("p/text.jpg", "words")
        result = self.run_kindred("index", "-m", self.clip, "p", "--json", status=3)
        self.assertEqual(self.counts(json.loads(result.out))[1::3], (3, 2))
        self.assertIn("p/bad.png", result.err)
        self.assertIn("p/text.jpg", result.err)
        self.assertEqual(result.err.count("kindred: "), 2)

    def test_empty_folder(self):
        (self.folder / "empty").mkdir()
        result = self.run_kindred("index", "-m", self.clip, "empty", status=1)
        self.assertIn("no pictures below empty", result.err)

    def test_folder_without_permission(self):
        os.chmod(self.folder / "p/c", 0)
        for path in (self.folder, self.folder / "p"):
            os.chmod(path, 0o777)
        drop = (lambda: os.setuid(65534)) if os.getuid() == 0 else None
        result = self.run_kindred("index", "-m", self.clip, "p", status=3, preexec_fn=drop)
        os.chmod(self.folder / "p/c", 0o755)
        self.assertIn("p/c", result.err)
        self.assertIn("Permission denied", result.err)

    def test_missing_folder(self):
        result = self.run_kindred("index", "-m", self.clip, "nowhere", status=None)
        self.assertIn(result.returncode, (1, 3))
        self.assertIn("nowhere", result.err)
        self.assertIn("No such file", result.err)

    def test_a_bad_model_makes_no_store(self):
        self.run_kindred("index", "-m", "nowhere", "p", status=1)
        self.run_kindred("index", "p", status=2)
        self.assertEqual([f for f in self.files() if "db" in f], [])

    def test_ctrl_c_keeps_what_was_done(self):
        for i in range(400):
            self.put(f"p/many/{i:03}.png", png(i))
        args = [BIN, "index", "-m", self.clip, "p", "--batch", "4", "--threads", "1"]
        process = subprocess.Popen(args, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        end = time.time() + 60
        vectors = self.folder / "kindred.db.vectors"
        while not (vectors.exists() and vectors.stat().st_size > 8192):
            self.assertLess(time.time(), end)
            if process.poll() is not None:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:
            self.skipTest("it was done before the signal came")
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"stopped", err)
        kept = len(self.search("cat", "-n", "1000"))
        self.assertGreater(kept, 0)
        again = self.index("p", model=False)
        self.assertEqual((again["embedded"] + again["unchanged"], again["unchanged"]), (403, kept))

    def test_full_disk(self):
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True).returncode != 0:
            self.skipTest("a file system can't be mounted here")
        try:
            for i in range(600):
                self.put(f"p/many/{i:03}.png", png(i, 8, 8))
            result = self.run_kindred("index", "-m", self.clip, "--store", "disk/k.db", "p", status=1)
            self.assertRegex(result.err, "kindred: .*disk/k.db: .*no space left")
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_usage(self):
        self.assertIn("index what?", self.run_kindred("index", status=2).err)
        self.assertIn("did you mean --exclude", self.run_kindred("index", "--exlude", "x", "p", status=2).err)


class Search(Collection):
    def setUp(self):
        super().setUp()
        self.index("p")

    def test_a_photo_finds_itself_first(self):
        hits = self.search("--image", "p/b.png")
        self.assertTrue(hits[0]["path"].endswith("p/b.png"))
        self.assertAlmostEqual(hits[0]["score"], 1, places=5)
        self.assertEqual((hits[0]["width"], hits[0]["height"]), (40, 36))
        self.assertEqual(len({hit["id"] for hit in hits}), 3)
        self.assertEqual([h["score"] for h in hits], sorted((h["score"] for h in hits), reverse=True))

    def test_scores_are_cosines(self):
        query, = self.embed("-t", "the road")
        for hit in self.search("the road"):
            row, = self.embed(hit["path"])
            self.assertAlmostEqual(hit["score"], cosine(query, row), places=5)

    def test_count_and_least_score(self):
        hits = self.search("cat")
        self.assertEqual(self.search("cat", "-n", "2"), hits[:2])
        self.assertEqual(self.search("cat", "-n2", "--min-score", str(hits[0]["score"] - 1e-6)), hits[:1])
        self.assertEqual(self.search("cat", "--min-score", "1"), [])

    def test_lines_for_people(self):
        lines = self.run_kindred("search", "cat").out.splitlines()
        self.assertEqual(len(lines), 3)
        for line, hit in zip(lines, self.search("cat")):
            rank, score, path = line.split()
            self.assertEqual((score, path), (f"{hit['score']:.4f}", hit["path"]))

    def test_words_need_a_text_tower(self):
        self.run_kindred("index", "-m", self.dino, "--store", "dino.db", "p")
        result = self.run_kindred("search", "--store", "dino.db", "cat", status=1)
        self.assertIn("no model has a text tower", result.err)
        self.assertIn("--image", result.err)
        self.assertEqual(len(self.search("--store", "dino.db", "--image", "p/a.png")), 3)

    def test_a_model_that_does_not_belong(self):
        result = self.run_kindred("search", "-m", self.dino, "--image", "p/a.png", status=1)
        self.assertIn("nothing in it was made with that model", result.err)
        self.assertIn(str(self.clip), result.err)

    def test_the_store_knows_its_model_from_anywhere(self):
        shutil.copytree(self.clip, self.folder / "local")
        self.run_kindred("index", "-m", "local", "--store", "s.db", "p")
        os.mkdir(self.folder / "elsewhere")
        result = subprocess.run([BIN, "search", "--store", "../s.db", "cat"], cwd=self.folder / "elsewhere",
                                capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_model_that_moved(self):
        shutil.copytree(self.clip, self.folder / "local")
        self.run_kindred("index", "-m", "local", "--store", "s.db", "p")
        os.rename(self.folder / "local", self.folder / "moved")
        self.assertIn("no such directory", self.run_kindred("search", "--store", "s.db", "cat", status=1).err)
        self.run_kindred("search", "--store", "s.db", "cat", env={"KINDRED_MODEL": "moved"})
        self.run_kindred("search", "--store", "s.db", "cat", "-m", "moved")

    def test_errors(self):
        for message, status, args in (("search for what?", 2, []),
                                      ("in quotes", 2, ["two", "words"]), ("at least 1", 2, ["cat", "-n", "0"]),
                                      ("none.db", 1, ["cat", "--store", "none.db"]),
                                      ("none.png", 1, ["--image", "none.png"]),
                                      ("UTF-8", 1, [b"\xff\xfe"])):
            command = ["search", *args]
            result = subprocess.run([BIN, *command], cwd=self.folder, capture_output=True, timeout=60)
            self.assertEqual(result.returncode, status, (command, result))
            self.assertIn(message, result.stderr.decode())
        self.assertEqual([f for f in self.files() if f.startswith("none")], [])


if __name__ == "__main__":
    main()
