"""kindred anomalies: ranking, fit, score and watching of photos, texts, a store and .npy files; CSV, the page, bad input."""
import csv
import io
import json
import os
import select
import signal
import subprocess

from support import BIN, CommandTest, main, make_bert
from test_cluster import npy, three_groups
from test_model_compare import Page

METHODS = ("mean", "mahalanobis", "clusters", "knn", "lof")


class Anomalies(CommandTest):
    def anomalies(self, *args, **options):
        return self.run_kindred("anomalies", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.anomalies(*args, "--json", **options).out)

    def rows(self, path):
        return list(csv.DictReader(io.StringIO((self.folder / path).read_text())))

    def test_rank(self):
        self.put("x.npy", npy(three_groups() + [[-1, -1, -1, 0.5]]))
        for method in METHODS:
            out = self.describe("x.npy", "--method", method, "-k", 3, "-n", 3, "--csv", "o.csv")
            self.assertEqual((out["method"], out["items"], out["fitted_to"], len(out["ranked"])), (method, 19, 19, 3))
            scores = [item["score"] for item in out["ranked"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            if method not in ("mean", "mahalanobis"):  # the mean lies between the groups
                self.assertEqual(out["ranked"][0]["name"], "row 18")
                self.assertTrue(out["ranked"][0]["anomaly"])
            rows = self.rows("o.csv")
            self.assertEqual([row["name"] for row in rows], [f"row {i}" for i in range(19)])
            self.assertAlmostEqual(max(float(row["score"]) for row in rows), scores[0], places=5)
            self.assertEqual(sum(int(row["anomaly"]) for row in rows), out["anomalies"])
            for row in rows:
                self.assertEqual(int(row["anomaly"]), float(row["score"]) > out["limit"])
        self.assertIn("of 19 items score", self.anomalies("x.npy").out)
        self.assertEqual(len(self.describe("x.npy", "-n", 0)["ranked"]), 19)
        quantile = self.describe("x.npy", "--threshold", "quantile:0.5", "--metric", "euclidean")
        self.assertEqual(quantile["threshold"], {"rule": "quantile", "level": 0.5})
        self.assertLess(quantile["anomalies"], 10)

    def test_fit_and_score(self):
        self.put("usual.npy", npy(three_groups(40)))
        self.put("new.npy", npy([three_groups()[0], [-1, -1, 1, 5]]))
        for method in METHODS:
            for rule, held_out in (("mad:6", 0), ("conformal:0.05", 40)):
                fit = self.describe("fit", "usual.npy", "--method", method, "--threshold", rule, "-o", "d.kin")
                self.assertEqual((fit["fitted_to"], fit["held_out"]), (120 - held_out, held_out))
                out = self.describe("score", "d.kin", "new.npy", "--csv", "o.csv")
                self.assertEqual([item["name"] for item in out["ranked"]], ["row 1", "row 0"])
                self.assertEqual([item["anomaly"] for item in out["ranked"]], [True, False])
                self.assertEqual(out["limit"], fit["limit"])
                self.assertAlmostEqual(out["ranked"][0]["p_value"], 1 / (1 + (held_out or 120)))
                self.assertGreater(out["ranked"][1]["p_value"], 0.05)
                self.assertEqual(self.rows("o.csv")[1]["anomaly"], "1")
        self.assertIn("saved to d.kin", self.anomalies("fit", "usual.npy", "-o", "d.kin").out)
        self.assertIn("! row 1", self.anomalies("score", "d.kin", "new.npy").out)

    def test_photos_and_page(self):
        self.put_pictures(*(f"photos/{i}.png" for i in range(8)))
        self.put("photos/broken.png", b"no picture")
        self.anomalies("photos", "--model", self.clip, "--html", "page.html", "-n", 5, "-q", status=3)
        page = Page((self.folder / "page.html").read_text())
        self.assertEqual(page.open, [])
        self.assertEqual(len(page.images), 5)
        self.assertIn("<rect", (self.folder / "page.html").read_text())
        (self.folder / "photos/broken.png").unlink()
        self.run_kindred("index", "--model", self.clip, "photos", "-q")
        stored, now = self.describe("--store", "kindred.db"), self.describe("photos", "--model", self.clip)
        self.assertEqual([os.path.relpath(item["path"], os.path.realpath(self.folder)) for item in stored["ranked"]],
                         [item["path"] for item in now["ranked"]])
        self.describe("fit", "--store", "kindred.db", "-o", "d.kin")
        self.assertEqual(len(self.describe("score", "d.kin", "photos", "--model", self.clip)["ranked"]), 8)
        self.assertIn("take that model",
                      self.anomalies("score", "d.kin", "photos", "--model", self.dino, status=1).err)
        self.put("texts.txt", "the cat\nthe dog\n<road>\n")
        bert = make_bert(self.folder / "bert")
        self.anomalies("--texts", "texts.txt", "--model", bert, "--html", "page.html", "-q")
        self.assertIn("<road>", "".join(Page((self.folder / "page.html").read_text()).text))

    def watch(self, *args, model=None):
        """Start watching; ends with the test."""
        process = subprocess.Popen([BIN, "anomalies", "score", "d.kin", "--watch", "in", "--model", model or self.clip, *args],
                                   cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   bufsize=0)  # next_line waits for the pipe: nothing may lie in a buffer
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def next_line(self, process):
        """Waits; each line is flushed when its file is scored."""
        ready, _, _ = select.select([process.stdout], [], [], 120)
        self.assertTrue(ready, "no line came")
        return json.loads(process.stdout.readline())

    def test_watch(self):
        self.put_pictures(*(f"photos/{i}.png" for i in range(6)), "in/a.png", "in/b.png", "in/below/c.png")
        self.put("in/notes.txt", "no picture")
        self.describe("fit", "photos", "--model", self.clip, "-o", "d.kin")
        alone = {item["path"]: item for item in self.describe("score", "d.kin", "in", "--model", self.clip)["ranked"]}
        process = self.watch("-q")
        for name in ("in/a.png", "in/b.png", "in/below/c.png"):
            line = self.next_line(process)
            self.assertEqual(line.pop("path"), name)
            self.assertEqual(line, {key: alone[name][key] for key in ("score", "p_value", "anomaly")})
        self.put_pictures("in/late.png")
        self.assertEqual(self.next_line(process)["path"], "in/late.png")
        os.rename(self.folder / "photos/0.png", self.folder / "in/moved.png")
        self.assertEqual(self.next_line(process)["path"], "in/moved.png")
        self.put("in/broken.png", b"no picture")
        line = self.next_line(process)
        self.assertEqual((line["path"], "score" in line, "broken.png" in line["error"]), ("in/broken.png", False, True))
        self.put("in/a.png", (self.folder / "photos/1.png").read_bytes())
        self.assertEqual(self.next_line(process)["path"], "in/a.png")
        # Folders as they come, with what lies in them, and under their new names.
        self.put_pictures("in/below/deep/d.png", "new/e.png", "in/.hidden/f.png")
        self.assertEqual(self.next_line(process)["path"], "in/below/deep/d.png")
        os.rename(self.folder / "new", self.folder / "in/new")
        self.assertEqual(self.next_line(process)["path"], "in/new/e.png")
        os.rename(self.folder / "in/below", self.folder / "in/other")
        self.assertEqual({self.next_line(process)["path"] for _ in range(2)}, {"in/other/c.png", "in/other/deep/d.png"})
        self.put_pictures("in/other/deep/g.png")
        self.assertEqual(self.next_line(process)["path"], "in/other/deep/g.png")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out, err), (3, b"", b""))

    def test_watch_texts(self):
        bert = make_bert(self.folder / "bert")
        for i in range(4):
            self.put(f"usual/{i}.txt", "the cat . " * (i + 1))
        self.describe("fit", "usual", "--model", bert, "-o", "d.kin", "-k", 2)
        self.put("in/a.txt", "the dog")
        self.put_pictures("in/b.png")
        alone, = self.describe("score", "d.kin", "in", "--model", bert)["ranked"]
        process = self.watch("-q", model=bert)
        line = self.next_line(process)
        self.assertEqual(line, {key: alone[key] for key in ("path", "line", "score", "p_value", "anomaly")})
        self.put("in/below/long.md", "\n\n".join(["the road . " * 8] * 3))
        lines = [self.next_line(process) for _ in range(2)]
        self.assertEqual({line["path"] for line in lines}, {"in/below/long.md"})
        self.assertLessEqual(lines[0]["line"], lines[1]["line"])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    def test_watch_new_only(self):
        self.put_pictures(*(f"photos/{i}.png" for i in range(6)), "in/a.png")
        self.describe("fit", "photos", "--model", self.clip, "-o", "d.kin")
        process = self.watch("--new-only")
        self.assertIn(b"watching in", process.stderr.readline())
        self.put_pictures("in/b.png")
        self.assertEqual(self.next_line(process)["path"], "in/b.png")
        process.send_signal(signal.SIGTERM)
        self.assertEqual((process.communicate(timeout=60)[0], process.returncode), (b"", 0))
        for args, status, message in ((["--watch", "none"], 1, "can't watch none"),
                                      (["--watch", "in", "photos"], 2, "takes no paths"), (["--new-only"], 2, "--watch")):
            self.assertIn(message, self.anomalies("score", "d.kin", *args, "--model", self.clip, status=status).err)
        self.assertIn("take that model",
                      self.anomalies("score", "d.kin", "--watch", "in", "--model", self.dino, status=1).err)

    def test_patches(self):
        self.put_pictures(*(f"photos/{i}.png" for i in range(9)), "new/a.png", "new/b.png")
        self.put("new/text.txt", "no picture")
        args = ["--model", self.dino, "-q"]
        fit = self.describe("fit", "photos", "--method", "patches", "-o", "d.kin", *args)
        self.assertEqual((fit["method"], fit["fitted_to"], fit["held_out"], fit["k"]), ("patches", 6, 3, 16))
        out = self.describe("score", "d.kin", "new", "--heat-maps", "heat", "--html", "p.html", *args)
        self.assertEqual(len(out["ranked"]), 2)
        for rank, item in enumerate(out["ranked"], 1):
            png = (self.folder / f"heat/{rank:04}-{os.path.basename(item['path'])}.png").read_bytes()
            self.assertEqual((png[:8], png[12:16], png[-8:-4]), (b"\x89PNG\r\n\x1a\n", b"IHDR", b"IEND"))
        self.assertEqual(len(list((self.folder / "heat").iterdir())), 2)
        self.assertEqual(len(self.describe("photos", "--method", "patches", "-n", 0, *args)["ranked"]), 9)
        for more, status, message in (
                (["score", "d.kin", "new", "--model", self.clip], 1, "pooling"),
                (["photos", "--method", "patches", "--model", self.clip], 1, "pooling"),
                (["photos", "--heat-maps", "heat", "--model", self.dino], 2, "--method patches"),
                (["score", "d.kin", "new", "--model", self.dino, "--heat-maps", "none/such"], 1, "can't make none/such")):
            self.assertIn(message, self.anomalies(*more, status=status).err, more)

    def test_few_and_same(self):
        self.put("two.npy", npy([[1, 2], [2, 1]]))
        self.put("same.npy", npy([[1, 2]] * 5))
        for name in ("two.npy", "same.npy"):
            for method in ("mean", "clusters", "knn", "lof"):
                out = self.describe(name, "--method", method, "--html", "p.html", "--csv", "o.csv")
                self.assertEqual(out["anomalies"], 0, (name, method))
        self.assertIn("all 5 vectors are the same",
                      self.anomalies("same.npy", "--method", "mahalanobis", status=1).err)

    def test_bad_input(self):
        self.put("x.npy", npy(three_groups(2)))
        self.put("one.npy", npy([[1, 2]]))
        self.put("nan.npy", npy([[1, 2], [float("nan"), 1]]))
        self.put("d.kin", b"no detector")
        for args, status, message in (
                (["one.npy"], 1, "at least two vectors"), (["nan.npy"], 1, "row 1 holds a value that isn't finite"),
                (["x.npy", "-k", 6], 1, "6 neighbours among 6 vectors: must be 1 to 5"),
                (["x.npy", "-k", 7, "--method", "clusters"], 1, "must be 1 to 6"),
                (["x.npy", "--method", "magic"], 2, "magic is no method"),
                (["x.npy", "--threshold", "sigma:3"], 2, "sigma:3 is no threshold"),
                (["x.npy", "--threshold", "mad:-1"], 2, "must be above 0"),
                (["x.npy", "--threshold", "conformal:0.1"], 2, "anomalies fit"),
                (["x.npy", "--metric", "taxi"], 2, "cosine or euclidean"), (["fit", "x.npy"], 2, "-o FILE"),
                (["fit", "x.npy", "-o", "a.kin", "--threshold", "conformal"], 1, "it takes 99"),
                (["fit", "x.npy", "-o", "none/a.kin"], 1, "none/a.kin"), (["score"], 2, "which detector"),
                (["score", "none.kin", "x.npy"], 1, "none.kin"), (["score", "d.kin", "x.npy"], 1, "d.kin")):
            self.assertIn(message, self.anomalies(*args, status=status).err, args)
        self.anomalies("fit", "x.npy", "-o", "a.kin")
        self.assertIn("4 floats, these have 2", self.anomalies("score", "a.kin", "one.npy", status=1).err)
        self.assertFalse([name for name in self.files() if "partial" in name])


if __name__ == "__main__":
    main()
