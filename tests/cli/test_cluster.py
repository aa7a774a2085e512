"""kindred cluster: photos, texts, a store and .npy files; the page, CSV, sorting into folders; bad input."""
import csv
import io
import json
import os
import re
import struct

from support import CommandTest, main, make_bert, png
from test_model_compare import Page


def npy(rows, descr="<f4", shape=None):
    code = {"<f4": "f", "<f8": "d", "<f2": "e"}[descr]
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape or (len(rows), len(rows[0]))}, }}"
    text = text.ljust(117) + "\n"
    values = [v for row in rows for v in row]
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + struct.pack(f"<{len(values)}{code}", *values)


def three_groups(each=6):
    """Rows about three directions, in turn."""
    rows = []
    for i in range(3 * each):
        row = [0.02 * ((i * 7 + j * 3) % 5) for j in range(4)]
        row[i % 3] += 1
        rows.append(row)
    return rows


class Cluster(CommandTest):
    def cluster(self, *args, **options):
        return self.run_kindred("cluster", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.cluster(*args, "--json", **options).out)

    def groups(self, out, key="name"):
        return sorted(sorted(item[key] for item in c["items"]) for c in out["clusters"])

    def test_npy(self):
        expected = sorted(sorted(f"row {i}" for i in range(18) if i % 3 == g) for g in range(3))
        for descr in ("<f2", "<f4", "<f8"):
            self.put("x.npy", npy(three_groups(), descr))
            for method in (["--k", 3], [], ["--method", "minibatch", "-k", 3, "--batch", 5], ["--metric", "euclidean"],
                           ["--method", "agglomerative", "-k", 3, "--linkage", "ward"], ["--method", "hdbscan"]):
                out = self.describe("x.npy", *method)
                self.assertEqual((out["items"], out["k"], out["noise"]), (18, 3, []))
                self.assertEqual(self.groups(out), expected)
                self.assertGreater(out["silhouette"], 0.8)
        out = self.describe("x.npy")
        self.assertEqual(max(out["curve"], key=lambda p: p["silhouette"])["k"], 3)
        for c in out["clusters"]:
            distances = [item["distance"] for item in c["items"]]
            self.assertEqual(distances, sorted(distances))
            self.assertAlmostEqual(sum(distances) / len(distances), c["spread"], places=6)
        text = self.cluster("x.npy").out
        self.assertIn("3 clusters of 18 items by kmeans, k by silhouette", text)
        self.assertIn("central: row", text)

    def test_names_and_labels(self):
        self.put("x.npy", npy(three_groups(2)))
        turned = npy([list(column) for column in zip(*three_groups(2))], shape=(6, 4)).replace(b"False", b"True ")
        self.put("turned.npy", turned)
        self.assertEqual(self.groups(self.describe("turned.npy", "-k", 3)), self.groups(self.describe("x.npy", "-k", 3)))
        self.put("names.txt", "one\ntwo\nthree\n\"four\", 4\nfive\nsix\n")
        self.put("labels.txt", "\n".join("abcabc") + "\n")
        out = self.describe("x.npy", "-k", 3, "--names", "names.txt", "--labels-from", "labels.txt", "--csv", "o.csv")
        self.assertEqual(self.groups(out), [['"four", 4', "one"], ["five", "two"], ["six", "three"]])
        self.assertEqual(out["known"], {"classes": 3, "items": 6, "accuracy": 1.0, "nmi": 1.0, "ari": 1.0})
        rows = list(csv.DictReader(io.StringIO((self.folder / "o.csv").read_text())))
        self.assertEqual([row["name"] for row in rows][3], '"four", 4')
        self.assertEqual([row["class"] for row in rows], list("abcabc"))
        self.assertEqual(rows[0]["cluster"], rows[3]["cluster"])
        (self.folder / "labels.txt").write_bytes("가\n나\n\n가\n나\n\n".encode("utf-16"))
        out = self.describe("x.npy", "-k", 3, "--labels-from", "labels.txt")
        self.assertEqual((out["known"]["classes"], out["known"]["items"], out["known"]["ari"]), (2, 4, 1.0))
        self.put("labels.txt", "a\n")
        self.assertIn("1 lines, and there are 6 items", self.cluster("x.npy", "--labels-from", "labels.txt", status=1).err)
        self.put("labels.txt", "\n" * 6)
        self.assertIn("gives no item a class", self.cluster("x.npy", "--labels-from", "labels.txt", status=1).err)
        self.put("labels.txt", b"\xff\n" * 6)
        self.assertIn("UTF-8", self.cluster("x.npy", "--labels-from", "labels.txt", status=1).err)
        self.put("one.txt", "one\n")
        self.assertIn("one.txt has 1 lines", self.cluster("x.npy", "--names", "one.txt", status=1).err)

    def photos(self):
        return self.put_pictures(*(f"photos/{c}/{i}.png" for c in ("cats", "dogs") for i in range(3)), "photos/top.png")

    def test_photos(self):
        names = self.photos()
        self.put("photos/broken.png", b"no picture")
        self.put("words.txt", "a cat\na dog\n\n a bird\n")
        out = self.describe("photos", "--model", self.clip, "-k", 2, "--words", "words.txt", "--labels-from", "folders",
                            status=3)
        self.assertEqual((out["items"], out["skipped"], out["known"]["classes"], out["known"]["items"]), (7, 1, 2, 6))
        self.assertEqual(sorted(item["path"] for c in out["clusters"] for item in c["items"]), sorted(names))
        for c in out["clusters"]:
            self.assertEqual(sorted(c["words"]), [" a bird", "a cat", "a dog"])
        (self.folder / "photos/broken.png").unlink()
        # The same from a store, whose model is remembered, and from a file of the vectors.
        self.run_kindred("index", "--model", self.clip, "photos", "-q")
        for args in ([], ["--store", "kindred.db"]):
            stored = self.describe(*args, "-k", 2)
            paths = sorted(sorted(os.path.relpath(item["path"], os.path.realpath(self.folder)) for item in c["items"])
                           for c in stored["clusters"])
            self.assertEqual(paths, self.groups(out, "path"))
            self.assertEqual(len(stored["clusters"][0]["words"]), 3)
        self.embed("photos")
        self.put("names.txt", "\n".join(sorted(names)) + "\n")
        again = self.describe("out.npy", "--names", "names.txt", "-k", 2)
        self.assertEqual(self.groups(again, "path"), self.groups(out, "path"))
        self.assertNotIn("words", again["clusters"][0])

    def test_page(self):
        self.photos()
        os.rename(self.folder / "photos/top.png", self.folder / "photos/<b>&\"x.png")
        self.cluster("photos", "--model", self.clip, "--html", "page.html", "-q", "--labels-from", "folders")
        page = Page((self.folder / "page.html").read_text())
        self.assertEqual(page.open, [])
        self.assertEqual(len(page.images), 7)
        self.assertTrue(all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images))
        self.assertTrue(all(link.startswith(("data:", "#c")) for link in page.links))
        self.assertIn('photos/<b>&"x.png', [image["alt"] for image in page.images])
        self.assertIn("How k was chosen", "".join(page.text))
        self.put("texts.txt", "the cat\nthe cat .\nthe dog\nthe dog .\n<road>\n")
        bert = make_bert(self.folder / "bert")
        self.cluster("--texts", "texts.txt", "--model", bert, "-k", 2, "--html", "page.html", "-q")
        page = Page((self.folder / "page.html").read_text())
        self.assertIn("<road>", "".join(page.text))
        self.assertFalse(page.images)

    def test_documents(self):
        bert = make_bert(self.folder / "bert")
        self.put("texts/a.txt", "The cat. The cat.\n\nThe dog.")
        self.put("texts/b.md", "# Road\n\nThe road.")
        out = self.describe("texts", "--model", bert, "-k", 1)
        self.assertEqual([item["path"] for item in out["clusters"][0]["items"]].count("texts/b.md") > 0, True)
        self.assertTrue(all(item["line"] >= 1 for item in out["clusters"][0]["items"]))
        self.assertIn("is a document", self.cluster("texts", "--model", bert, "-k", 1, "--link", "d", status=1).err)

    def sorted_files(self, folder):
        return sorted(p.name for p in (self.folder / folder).rglob("*") if not p.is_dir())

    def test_sorting(self):
        self.photos()
        before = self.files()
        args = ["photos", "--model", self.clip, "-k", 2]
        text = self.cluster(*args, "--move", "sorted").out
        self.assertIn("Nothing was done yet: 7 files would be moved", text)
        self.assertEqual(self.files(), before)
        self.cluster(*args, "--link", "links", "--yes")
        links = [p for p in (self.folder / "links").rglob("*.png")]
        self.assertTrue(len(links) == 7 and all(p.is_symlink() and p.exists() for p in links))
        # Names that are taken get a number; nothing is overwritten.
        out = self.describe(*args, "--move", "sorted", "--yes")
        self.assertEqual(len(out["sorted"]["files"]), 7)
        self.assertTrue(out["sorted"]["done"])
        for file in out["sorted"]["files"]:
            self.assertEqual((self.folder / file["to"]).read_bytes(), png(file["from"]))
            self.assertFalse((self.folder / file["from"]).exists())
        self.assertEqual(len(self.sorted_files("sorted")), 7)
        self.photos()
        self.cluster(*args, "--move", "sorted", "--yes")
        self.assertEqual(len(self.sorted_files("sorted")), 14)
        self.assertTrue(any(re.fullmatch(r"\d-[2-9]\.png", name) for name in self.sorted_files("sorted")))
        self.put("x.npy", npy(three_groups(2)))
        self.assertIn("row 0 is no file", self.cluster("x.npy", "-k", 2, "--move", "d", "--yes", status=1).err)
        self.photos()
        self.put("blocked", "a file")
        self.assertIn("blocked", self.cluster(*args, "--move", "blocked/in", "--yes", status=1).err)
        self.assertEqual(len(self.sorted_files("photos")), 7)

    def test_few_and_same(self):
        self.put("one.npy", npy([[1, 2]]))
        out = self.describe("one.npy")
        self.assertEqual((out["k"], len(out["clusters"][0]["items"])), (1, 1))
        self.put("same.npy", npy([[1, 2]] * 5))
        for args in ([], ["-k", 3], ["--method", "hdbscan"], ["--metric", "euclidean"]):
            out = self.describe("same.npy", *args)
            self.assertEqual((out["k"], len(out["clusters"][0]["items"])), (1, 5), args)
        self.put("zeros.npy", npy([[0, 0]] * 3))
        self.assertEqual(self.describe("zeros.npy")["k"], 1)
        out = self.describe("one.npy", "--method", "hdbscan")
        self.assertEqual((out["k"], len(out["noise"])), (0, 1))
        self.cluster("one.npy", "--method", "hdbscan", "--html", "p.html", "--csv", "p.csv")

    def test_bad_input(self):
        self.put("x.npy", npy(three_groups(2)))
        self.put("nan.npy", npy([[1, 2], [float("nan"), 1]]))
        self.put("empty.npy", npy([], shape=(0, 4)))
        self.put("flat.npy", npy([[1, 2]], shape="(2,)"))
        self.put("cut.npy", npy([[1, 2]], shape=(2, 2)))
        self.put("text.npy", "hello, this is no array")
        self.put("int.npy", npy([[1, 2]]).replace(b"<f4", b"<i4"))
        (self.folder / "none").mkdir()
        for args, status, message in (
                (["x.npy", "-k", 9], 1, "9 clusters of 6 vectors: must be 1 to 6"),
                (["x.npy", "-k", 0], 2, "--k must be auto or 1"), (["x.npy", "-k", "many"], 2, "--k must be auto"),
                (["x.npy", "-k", "-3"], 2, "--k must be auto"),
                (["nan.npy"], 1, "the vector of row 1 holds a value that isn't finite"),
                (["empty.npy"], 1, "holds no vectors"), (["flat.npy"], 1, "its shape isn't (vectors, floats)"),
                (["cut.npy"], 1, "ends before its last vector"), (["text.npy"], 1, "isn't a readable .npy file"),
                (["int.npy"], 1, "no little-endian floats"), (["missing.npy"], 1, "missing.npy"),
                (["none", "--model", self.clip], 1, "no pictures in none"), (["none"], 2, "which model"),
                ([], 1, "kindred.db"), (["x.npy", "--store", "s.db"], 2, "one of them"),
                (["x.npy", "--method", "magic"], 2, "kmeans, minibatch, hdbscan, agglomerative"),
                (["x.npy", "--metric", "taxi"], 2, "cosine or euclidean"),
                (["x.npy", "--linkage", "middle"], 2, "average, complete, single, ward"),
                (["x.npy", "--method", "hdbscan", "-k", 3], 2, "leave out --k"),
                (["x.npy", "--method", "hdbscan", "--min-samples", 9], 1, "must be 1 to 6"),
                (["x.npy", "--min-cluster-size", 1], 2, "at least 2"), (["x.npy", "--yes"], 2, "--move or --link"),
                (["x.npy", "--move", "a", "--link", "b"], 2, "not both"),
                (["none", "--names", "x", "--model", self.clip], 2, "--names is for"),
                (["x.npy", "--words", "missing.txt"], 1, "missing.txt"),
                (["x.npy", "--html", "none/such/p.html"], 1, "can't write")):
            self.assertIn(message, self.cluster(*args, status=status).err, args)
        self.put("words.txt", "\n  \n")
        self.assertIn("holds no words", self.cluster("x.npy", "--words", "words.txt", status=1).err)
        self.put("words.txt", "a cat\n")
        self.assertIn("no words can be compared", self.cluster("x.npy", "--words", "words.txt", status=1).err)
        self.assertIn("no words can be compared",
                      self.cluster("x.npy", "--words", "words.txt", "--model", self.clip, status=1).err)
        self.assertFalse([name for name in self.files() if "partial" in name])


if __name__ == "__main__":
    main()
