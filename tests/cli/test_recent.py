"""kindred anomalies recent: changes and unusual items over time, by count and by time; CSV, the page, bad input."""
import csv
import io
import json
import os
import pathlib
import random
import subprocess

from support import BIN, CommandTest, main, make_bert
from test_cluster import npy, three_groups
from test_model_compare import Page

CHANGE, ODD, ALL = 130, 70, 240


def stream():
    """Rows of one distribution up to CHANGE and of another from there on; the row ODD is like none."""
    r = random.Random(4)
    rows = [[r.gauss(0.0 if i < CHANGE else 0.6, 1.0) for _ in range(8)] for i in range(ALL)]
    rows[ODD] = [7.0] * 8
    return rows


class Recent(CommandTest):
    def recent(self, *args, **options):
        return self.run_kindred("anomalies", "recent", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.recent(*args, "--json", **options).out)

    def rows(self, path):
        return list(csv.DictReader(io.StringIO((self.folder / path).read_text())))

    def test_by_count(self):
        self.put("x.npy", npy(stream()))
        for method in ("knn", "mean"):
            out = self.describe("x.npy", "--window", 50, "--metric", "euclidean", "--method", method, "--csv", "o.csv",
                                "--html", "page.html")
            self.assertEqual((out["items"], len(out["tests"])), (ALL, 4))
            self.assertEqual([test["end"] for test in out["tests"]], [90, 140, 190, 240])
            change, = out["changes"]
            self.assertLess(abs(change["place"] - CHANGE), 8)
            self.assertEqual((change["name"], change["time"]), (f"row {change['place']}", None))
            self.assertLessEqual(change["p"], 0.05)
            self.assertEqual(out["ranked"][0]["name"], f"row {ODD}")
            rows = self.rows("o.csv")
            self.assertEqual([row["name"] for row in rows], [f"row {i}" for i in range(ALL)])
            self.assertEqual((rows[0]["score"], rows[0]["limit"], rows[ODD]["anomaly"]), ("", "", "1"))
            self.assertEqual(sum(int(row["anomaly"]) for row in rows), out["unusual"])
            page = Page((self.folder / "page.html").read_text())
            self.assertEqual(page.open, [])
            self.assertIn("Change 1", "".join(page.text))
        self.assertIn("1 change in 4 comparisons", self.recent("x.npy", "-w", 50, "--metric", "euclidean").out)
        again = [self.describe("x.npy", "-w", 50, "--threads", n) | {"seconds": 0} for n in (1, 2)]
        self.assertEqual(*again)

    def test_by_time(self):
        """Rows in another order than their times."""
        order = list(range(ALL))
        random.Random(1).shuffle(order)
        rows = stream()
        self.put("x.npy", npy([rows[i] for i in order]))
        days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}Z" for i in range(ALL)]
        self.put("times.txt", "".join(days[i] + "\n" for i in order))
        args = ["x.npy", "--times", "times.txt", "--window", "8w", "--metric", "euclidean"]
        out = self.describe(*args, "--csv", "o.csv")
        change, = out["changes"]
        self.assertLess(abs(change["place"] - CHANGE), 8)
        self.assertEqual(change["time"], days[change["place"]][:10] + "T00:00:00Z")
        self.assertEqual(change["name"], f"row {order.index(change['place'])}")
        rows = self.rows("o.csv")
        self.assertEqual([row["time"][:10] + "Z" for row in rows], days)
        self.assertEqual([row["name"] for row in rows], [f"row {order.index(i)}" for i in range(ALL)])

    def test_files(self):
        names = self.put_pictures(*(f"photos/{i}.png" for i in range(30)))
        for i, name in enumerate(names):
            os.utime(self.folder / name, (1700000000 - 3600 * i,) * 2)
        self.run_kindred("index", "--model", self.clip, "photos", "-q")
        for args in (["photos", "--model", self.clip], ["--store", "kindred.db"]):
            out = self.describe(*args, "--window", "12h", "--csv", "o.csv", "--html", "page.html")
            self.assertEqual((out["items"], len(out["tests"])), (30, 1))
            self.assertEqual([os.path.basename(row["name"]) for row in self.rows("o.csv")],
                             [f"{i}.png" for i in reversed(range(30))])
        self.assertEqual(Page((self.folder / "page.html").read_text()).open, [])

    def test_dates_of_photos(self):
        """By EXIF, or as given to a store; the files' own times, which go the other way, where wanted."""
        exif = pathlib.Path(os.environ["KINDRED_SOURCE"], "tests/data/exif")
        dated = ["digitized", "pillow", "all", "changed"]
        for i, name in enumerate(reversed(dated)):
            self.put(f"photos/{name}.jpg", (exif / f"{name}.jpg").read_bytes())
            os.utime(self.folder / f"photos/{name}.jpg", (1700000000 + 3600 * i,) * 2)
        self.run_kindred("index", "--model", self.clip, "photos", "-q")

        def order(*args):
            self.describe(*args, "--window", "12h", "--csv", "o.csv")
            return [pathlib.Path(row["name"]).stem for row in self.rows("o.csv")]

        for args in (["photos", "--model", self.clip], ["--store", "kindred.db"]):
            self.assertEqual(order(*args), dated)
            self.assertEqual(order(*args, "--file-times"), dated[::-1])
        self.put("given.csv", "path,date\nphotos/pillow.jpg,2025-01-01\nphotos/digitized.jpg,long ago\n")
        self.run_kindred("index", "--model", self.clip, "photos", "-q", "--metadata", "given.csv")
        self.assertEqual(order("--store", "kindred.db"), ["all", "digitized", "changed", "pillow"])

    def test_few_and_same(self):
        self.put("one.npy", npy([[1, 2]]))
        self.assertIn("too few", self.recent("one.npy", "--html", "p.html", "--csv", "o.csv").out)
        self.put("same.npy", npy([[1, 2]] * 60))
        out = self.describe("same.npy", "--window", 20, "--html", "p.html")
        self.assertEqual((out["unusual"], out["changes"], {test["p"] for test in out["tests"]}), (0, [], {1.0}))

    def test_bad_input(self):
        self.put("x.npy", npy(three_groups(4)))
        self.put("nan.npy", npy([[1, 2], [float("nan"), 1]]))
        self.put("few.txt", "2024-01-01\n")
        self.put("bad.txt", "2024-01-01\n" * 11 + "yesterday\n")
        for args, status, message in (
                (["nan.npy"], 1, "row 1 holds a value that isn't finite"),
                (["x.npy", "--window", "many"], 2, "--window many"), (["x.npy", "--window", 5], 2, "at least 10"),
                (["x.npy", "--window", "7y"], 2, "--window 7y"), (["x.npy", "--window", "7d"], 1, "have no times"),
                (["x.npy", "--times", "few.txt"], 1, "few.txt has 1 lines, and there are 12"),
                (["x.npy", "--times", "bad.txt"], 1, 'bad.txt:12: "yesterday"'),
                (["x.npy", "--method", "lof"], 2, "lof is not knn or mean"), (["x.npy", "-k", 0], 2, "-k must"),
                (["x.npy", "-k", 11, "--window", 10], 2, "a window of 10 has no such neighbour"),
                (["x.npy", "--threshold", "conformal"], 2, "mad:LEVEL or quantile"),
                (["x.npy", "--level", 2], 2, "--level")):
            self.assertIn(message, self.recent(*args, status=status).err, args)


class Stream(CommandTest):
    def stream(self, lines, *args, **options):
        result = self.run_kindred("anomalies", "recent", "--stream", *args, stdin=None, input="\n".join(lines).encode(),
                                  **options)
        return [json.loads(line) for line in result.out.splitlines()]

    def test_vectors(self):
        """The scores are those of a file; the change is told once."""
        rows = stream()
        self.put("x.npy", npy(rows))
        args = ["--window", 50, "--metric", "euclidean"]
        self.run_kindred("anomalies", "recent", "x.npy", *args, "--csv", "o.csv")
        expected = list(csv.DictReader(io.StringIO((self.folder / "o.csv").read_text())))
        lines = self.stream(map(json.dumps, rows), *args)
        items, changes = [l for l in lines if "item" in l], [l["change"] for l in lines if "change" in l]
        self.assertEqual([item["item"] for item in items], list(range(ALL)))
        for item, row in zip(items, expected):
            for key in ("score", "limit"):
                if row[key]:
                    self.assertAlmostEqual(item[key], float(row[key]), places=4)
                else:
                    self.assertIsNone(item[key])
            self.assertEqual(item["unusual"], row["anomaly"] == "1")
        change, = changes
        self.assertLess(abs(change["item"] - CHANGE), 8)
        self.assertLess(change["seen_at"], CHANGE + 50)
        self.assertLessEqual(change["p"], 0.01)

    def test_objects_and_time(self):
        """Names and times are told again; what is damaged is told and passed over."""
        rows = stream()
        lines = [json.dumps({"vector": row, "name": f"item {i}", "time": 1700000000 + 60 * i}) for i, row in enumerate(rows)]
        lines[3:3] = ["{", '{"name": "no vector"}', "[1, 2]", '{"vector": [1], "time": "someday"}', "a/photo.jpg", ""]
        out = self.stream(lines, "--window", "50m", "--metric", "euclidean", status=3)
        errors = [line["error"] for line in out if "error" in line]
        for error, part in zip(errors, ("bad JSON", 'needs a "vector"', "2 floats among ones of 8", '"time"', "--model"), strict=True):
            self.assertIn(part, error)
        self.assertEqual([line["name"] for line in out if "item" in line], [f"item {i}" for i in range(ALL)])
        change, = [line["change"] for line in out if "change" in line]
        self.assertEqual(change["name"], f"item {change['item']}")
        self.assertEqual(change["time"][:16], f"2023-11-{14 + (22 * 60 + 13 + change['item']) // 1440}T"
                         f"{(22 * 60 + 13 + change['item']) // 60 % 24:02}:{(13 + change['item']) % 60:02}")

    def test_photos_as_they_come(self):
        """Each line is answered before the next one comes."""
        names = self.put_pictures(*(f"{i}.png" for i in range(4))) + ["gone.png"]
        process = subprocess.Popen([BIN, "anomalies", "recent", "--stream", "-k", "1", "--model", self.clip, "-q"],
                                   cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in names:
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            line = json.loads(process.stdout.readline())
            self.assertEqual(line["path"], name)
            self.assertEqual("error" in line, name == "gone.png")
        process.stdin.close()
        process.stdout.close()
        self.assertEqual(process.wait(60), 3)

    def test_texts(self):
        bert = make_bert(self.folder / "bert")
        lines = self.stream(["the cat", '{"text": "the dog", "time": "2024-01-01T10:00Z"}'], "--model", bert, "--method", "mean")
        self.assertEqual([line["text"] for line in lines], ["the cat", "the dog"])
        self.assertEqual([line["time"] for line in lines], [None, "2024-01-01T10:00:00Z"])
        self.assertGreater(lines[1]["score"], 0)

    def test_bad_options(self):
        for args in (["photos"], ["--store", "x.db"], ["--csv", "x.csv"], ["--times", "t"]):
            result = self.run_kindred("anomalies", "recent", "--stream", *args, status=2)
            self.assertIn("--stream takes its items from the standard input", result.err)


if __name__ == "__main__":
    main()
