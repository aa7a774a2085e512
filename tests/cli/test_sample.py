"""kindred sample: picks and uniqueness of photos, texts, a store and .npy files; CSV, the page, bad input."""
import csv
import io
import json
import os

from support import CommandTest, main, make_bert
from test_cluster import npy, three_groups
from test_model_compare import Page


class Sample(CommandTest):
    def sample(self, *args, **options):
        return self.run_kindred("sample", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.sample(*args, "--json", **options).out)

    def rows(self, path):
        return list(csv.DictReader(io.StringIO((self.folder / path).read_text())))

    def test_picks(self):
        self.put("x.npy", npy(three_groups()))
        out = self.describe("x.npy", "-n", 3, "--csv", "o.csv")
        self.assertEqual((out["by"], out["items"], out["metric"], len(out["picks"])), ("k-centre", 18, "cosine", 3))
        numbers = [int(pick["name"].split()[1]) for pick in out["picks"]]
        self.assertEqual(sorted(number % 3 for number in numbers), [0, 1, 2])
        self.assertEqual([pick["stands_for"] for pick in out["picks"]], [6, 6, 6])
        self.assertIsNone(out["picks"][0]["distance"])
        self.assertGreaterEqual(out["picks"][1]["distance"], out["picks"][2]["distance"])
        self.assertGreater(out["picks"][2]["distance"], out["radius"])
        rows = self.rows("o.csv")
        self.assertEqual([row["name"] for row in rows], [f"row {i}" for i in range(18)])
        self.assertEqual({row["picked"]: i for i, row in enumerate(rows) if row["picked"]},
                         {str(i + 1): number for i, number in enumerate(numbers)})
        for i, row in enumerate(rows):
            self.assertEqual(int(row["nearest"].split()[1]) % 3, i % 3)
        self.assertAlmostEqual(max(float(row["distance"]) for row in rows), out["radius"], places=5)
        self.assertEqual(len(self.describe("x.npy", "-n", 3, "--metric", "euclidean", "--centre")["picks"]), 3)
        self.assertIn("3 of 18 items", self.sample("x.npy", "-n", 3).out)

    def test_uniqueness(self):
        self.put("x.npy", npy(three_groups() + [[-1, -1, -1, 0]]))
        out = self.describe("x.npy", "--uniqueness", "-n", 2, "--csv", "o.csv")
        self.assertEqual((out["by"], len(out["unique"])), ("uniqueness", 2))
        first = out["unique"][0]
        self.assertEqual(first["name"], "row 18")
        self.assertGreater(first["uniqueness"], 1)
        self.assertGreaterEqual(first["uniqueness"], first["nearest"]["distance"])
        rows = self.rows("o.csv")
        self.assertEqual(len(rows), 19)
        self.assertEqual(rows[18]["nearest"], first["nearest"]["name"])
        self.assertIn("row 18, row", self.sample("x.npy", "-u").out)
        one = self.describe("x.npy", "-u", "--neighbours", 1)["unique"]
        self.assertTrue(all(item["uniqueness"] == item["nearest"]["distance"] for item in one))

    def test_photos_and_page(self):
        self.put_pictures(*(f"photos/{c}/{i}.png" for c in ("cats", "dogs") for i in range(3)))
        self.put("photos/broken.png", b"no picture")
        args = ["photos", "--model", self.clip, "--html", "page.html", "-q"]
        for more in ([], ["-u"]):
            self.sample(*args, "-n", 4, *more, status=3)
            page = Page((self.folder / "page.html").read_text())
            self.assertEqual(page.open, [])
            self.assertEqual(len(page.images), 4)
            self.assertTrue(all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images))
        (self.folder / "photos/broken.png").unlink()
        self.run_kindred("index", "--model", self.clip, "photos", "-q")
        stored, now = self.describe("-n", 3), self.describe("photos", "--model", self.clip, "-n", 3)
        self.assertEqual([os.path.relpath(pick["path"], os.path.realpath(self.folder)) for pick in stored["picks"]],
                         [pick["path"] for pick in now["picks"]])
        self.put("texts.txt", "the cat\nthe dog\n<road>\n")
        bert = make_bert(self.folder / "bert")
        self.sample("--texts", "texts.txt", "--model", bert, "--html", "page.html", "-q")
        self.assertIn("<road>", "".join(Page((self.folder / "page.html").read_text()).text))

    def test_few_and_same(self):
        self.put("one.npy", npy([[1, 2]]))
        out = self.describe("one.npy")
        self.assertEqual((out["radius"], out["picks"][0]["stands_for"]), (0, 1))
        out = self.describe("one.npy", "-u", "--csv", "o.csv", "--html", "p.html")
        self.assertEqual((out["unique"][0]["uniqueness"], out["unique"][0]["nearest"]), (None, None))
        self.put("same.npy", npy([[1, 2]] * 5))
        out = self.describe("same.npy", "-n", 3)
        self.assertEqual([pick["distance"] for pick in out["picks"]], [None, 0, 0])
        self.assertEqual(sum(pick["stands_for"] for pick in out["picks"]), 5)
        self.assertEqual(len(self.describe("same.npy", "-n", 99)["picks"]), 5)
        self.put("zeros.npy", npy([[0, 0]] * 3))
        self.assertEqual(len(self.describe("zeros.npy")["picks"]), 3)

    def test_bad_input(self):
        self.put("x.npy", npy(three_groups(2)))
        self.put("nan.npy", npy([[1, 2], [float("nan"), 1]]))
        (self.folder / "none").mkdir()
        for args, status, message in (
                (["x.npy", "-n", 0], 2, "-n must be at least 1"), (["x.npy", "-n", "many"], 2, "whole number"),
                (["x.npy", "-u", "--neighbours", 0], 2, "--neighbours must be at least 1"),
                (["x.npy", "--metric", "taxi"], 2, "cosine or euclidean"),
                (["nan.npy"], 1, "the vector of row 1 holds a value that isn't finite"),
                (["none", "--model", self.clip], 1, "no pictures in none"), (["missing.npy"], 1, "missing.npy"),
                ([], 1, "kindred.db"), (["x.npy", "--csv", "none/such/o.csv"], 1, "can't write")):
            self.assertIn(message, self.sample(*args, status=status).err, args)
        self.assertFalse([name for name in self.files() if "partial" in name])


if __name__ == "__main__":
    main()
