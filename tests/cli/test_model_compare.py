"""kindred model compare: figures checked against vectors of kindred embed, the page, bad input."""
import html.parser
import json
import math
import os
import re

from support import DIM, HIDDEN, CommandTest, cosine, main, png


class Page(html.parser.HTMLParser):
    """What a page shows, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.text, self.images, self.open, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in ("img", "input", "link", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


class ModelCompare(CommandTest):
    def setUp(self):
        super().setUp()
        self.photos = self.put_pictures(*(f"photos/{c}/{i}.png" for c in ("cats", "dogs") for i in range(4)))

    def compare(self, *args, **options):
        return self.run_kindred("model", "compare", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.compare(*args, "--json", **options).out)

    def nearest(self, model, k, centre=False):
        """By the definition, from the vectors that kindred embed writes."""
        rows = self.embed("--no-normalize", "photos", model=model)
        if centre:
            mean = [sum(column) / len(rows) for column in zip(*rows)]
            rows = [[a - b for a, b in zip(row, mean)] for row in rows]
        cosines = [[cosine(a, b) for b in rows] for a in rows]
        return [[(cosines[i][j], j) for j in sorted((j for j in range(len(rows)) if j != i),
                                                    key=lambda j: (-cosines[i][j], j))[:k]] for i in range(len(rows))]

    def check(self, out, model, shown, centre=False):
        nearest, labels, k = self.nearest(model, out["k"], centre), [path.split("/")[1] for path in self.photos], out["k"]
        votes = [[labels[j] for _, j in row] for row in nearest]
        right = sum(min(set(v), key=lambda c: (-v.count(c), c)) == labels[i] for i, v in enumerate(votes))
        self.assertEqual(shown["knn_right"], right)
        self.assertAlmostEqual(shown["knn_accuracy"], right / 8)
        self.assertAlmostEqual(shown["recall_at_1"], sum(v[0] == labels[i] for i, v in enumerate(votes)) / 8)
        self.assertAlmostEqual(shown["recall_at_k"], sum(labels[i] in v for i, v in enumerate(votes)) / 8)
        place = out["models"].index(shown)
        for query in out["queries"]:
            expected = nearest[self.photos.index(query["path"])]
            self.assertEqual([hit["path"] for hit in query["nearest"][place]], [self.photos[j] for _, j in expected])
            for hit, (value, _) in zip(query["nearest"][place], expected):
                self.assertAlmostEqual(hit["cosine"], value, delta=1e-5)

    def test_figures(self):
        for extra in ([], ["--centre"]):
            out = self.describe(self.clip, self.dino, "photos", "-k", 3, *extra)
            self.assertEqual((out["photos"], out["skipped"], out["labelled"], out["k"]), (8, 0, 8, 3))
            self.assertEqual(out["centred"], bool(extra))
            self.assertEqual(out["classes"], [{"photos": 4, "name": "cats"}, {"photos": 4, "name": "dogs"}])
            self.assertEqual([query["path"] for query in out["queries"]], [self.photos[i] for i in (1, 4, 6)])
            self.assertEqual([m["dim"] for m in out["models"]], [DIM, HIDDEN])
            self.assertEqual([m["architecture"] for m in out["models"]], ["clip", "dinov2"])
            for model, shown in zip((self.clip, self.dino), out["models"]):
                self.check(out, model, shown, bool(extra))
                self.assertTrue(-1 <= shown["silhouette"] <= 1)
                for key in ("photos_per_second", "encoder_per_second", "load_seconds", "parameters", "weights_bytes"):
                    self.assertGreater(shown[key], 0, key)
                self.assertGreaterEqual(shown["memory_bytes"], 0)

    def test_silhouette_by_its_definition(self):
        rows, labels = self.embed("photos"), [path.split("/")[1] for path in self.photos]
        total = 0
        for i, row in enumerate(rows):
            distances = [(1 - cosine(row, other), labels[j]) for j, other in enumerate(rows) if j != i]
            own = [d for d, c in distances if c == labels[i]]
            others = [d for d, c in distances if c != labels[i]]
            a, b = sum(own) / len(own), sum(others) / len(others)
            total += (b - a) / max(a, b)
        shown = self.describe(self.clip, "photos")["models"][0]["silhouette"]
        self.assertAlmostEqual(shown, total / len(rows), delta=1e-5)

    def test_answers_depend_on_nothing_else(self):
        def answers(*args):
            out = self.describe(*args, "photos", "--queries", 8)
            return [query["nearest"] for query in out["queries"]], [m["silhouette"] for m in out["models"]]

        self.assertEqual(answers(self.clip, self.dino, "--threads", 1),
                         answers("--model", self.clip, "-m", self.dino, "--threads", 4))

    def test_table(self):
        out = self.compare(self.clip, self.dino, "photos", "-k", 2, "--queries", 1).out
        self.assertRegex(out, r"(?m)^model  vector  parameters +memory +load +photos/s +encoder/s$")
        self.assertRegex(out, r"(?m)^clip       32  +\d\.\d\d M +\d+ MB +\d+\.\d\d s +[\d.]+ +[\d.]+$")
        self.assertIn("\n8 photos, 8 of them in 2 classes\n", out)
        self.assertRegex(out, r"(?m)^model +2-NN accuracy +silhouette +recall@1 +recall@2$")
        self.assertRegex(out, r"(?m)^dino +[01]\.\d{3} \(\d of 8\) +-?0\.\d{3} +[01]\.\d{3} +[01]\.\d{3}$")
        self.assertRegex(out, r"\nNearest to dogs/0.png\n    clip +dino\n  1 +-?[01]\.\d{3} (cats|dogs)/\d.png "
                              r"+-?[01]\.\d{3} (cats|dogs)/\d.png\n  2 [^\n]+\n$")
        self.assertNotIn("Nearest", self.compare(self.clip, "photos", "--queries", 0).out)

    def test_what_is_a_model(self):
        # A photo folder that looks like a model is photos when it stands last.
        self.put("photos/config.json", "{}")
        self.assertEqual(self.describe(self.clip, "photos")["photos"], 8)
        self.assertEqual(self.describe("-m", self.clip, "photos")["photos"], 8)
        os.symlink(self.clip, self.folder / "other")
        os.mkdir(self.folder / "sub")
        os.symlink(self.clip, self.folder / "sub/other")
        out = self.compare("other", "sub/other", "photos", "--queries", 0).out
        self.assertIn("\nother ", out)
        self.assertIn("\nsub/other ", out)
        snapshot = self.folder / "hub/models--org--name-of-it/snapshots" / ("0123456789" * 4)
        snapshot.parent.mkdir(parents=True)
        os.symlink(self.clip, snapshot)
        self.assertIn("\nname-of-it ", self.compare(str(snapshot) + "/", "photos", "--queries", 0).out)

    def test_classes_from_paths(self):
        def classes(*paths):
            out = self.describe(self.clip, *paths)
            return {entry["name"]: entry["photos"] for entry in out["classes"]}, out["labelled"]

        self.put_pictures("photos/stray.png", "photos/birds/1.png", "photos/dogs/small/5.png", "flat/1.png", "flat/2.png")
        self.assertEqual(classes("photos"), ({"cats": 4, "dogs": 5}, 9)) # one bird is no class
        self.assertEqual(classes("photos/cats", "./photos/dogs/"), ({"cats": 4, "dogs": 4}, 8))
        self.assertEqual(classes(*self.photos), ({"cats": 4, "dogs": 4}, 8))
        self.assertEqual(classes("flat"), ({}, 0))
        out = self.compare(self.clip, "flat").out
        self.assertNotIn("accuracy", out)
        self.assertIn("\n2 photos\n", out)
        self.assertIn("\n  1 ", out)
        self.assertNotIn("\n  2 ", out) # there is only one other

    def test_page(self):
        name = "photos/<b>&\"it's\"/\x01 \udcff.png"
        for i in range(3):
            path = self.folder / os.fsdecode(os.fsencode(name.replace(".png", f"{i}.png")))
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png(i, 700, 300))
        result = self.compare(self.clip, self.dino, "photos", "--html", "page.html", "--queries", 20)
        self.assertIn("recall@5", result.out)
        text = (self.folder / "page.html").read_text(encoding="utf-8")
        page = Page(text)
        self.assertEqual(page.open, [])
        self.assertEqual(len(page.images), 11 * (1 + 2 * 5))
        for link in page.links:
            self.assertTrue(link.startswith(("data:image/jpeg;base64,/9j/", "data:,")) or link == "data:,", link[:50])
        self.assertNotRegex(text, r"https?:|url\(|<script|@import")
        self.assertIn("prefers-color-scheme:dark", text)
        self.assertIn("<b>&amp;", text.replace("&lt;b&gt;", "<b>"))
        self.assertNotIn("<b>&\"", text)
        self.assertTrue(any("<b>&\"it's\"/\ufffd \ufffd0.png" == image["alt"] for image in page.images))
        self.assertTrue({(image["width"], image["height"]) for image in page.images} >= {("256", "109"), ("480", "205")})
        shown = "".join(page.text)
        for part in ("clip", "dino", "5-NN accuracy", "silhouette", "photos/s", "11 photos in photos", "other class",
                     "of 5 in its class"):
            self.assertIn(part, shown)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["page.html", "photos"])

    def test_page_that_cannot_be_written(self):
        for path in ("missing/page.html", "photos"):
            self.assertIn(f"can't write {path}", self.compare(self.clip, "photos", "--html", path, status=1).err)
        with open("/dev/full", "w"):
            self.assertIn("can't write /dev/full", self.compare(self.clip, "photos", "--html", "/dev/full", status=1).err)
        self.put("old.html", "old")
        self.compare(self.clip, "nothing", "--html", "old.html", status=1)
        self.assertEqual((self.folder / "old.html").read_text(), "old")
        self.assertEqual(self.files()[0], "old.html")
        self.assertEqual([p for p in self.files() if "partial" in p], [])

    def test_unreadable_photos_are_left_out_of_all(self):
        self.put("photos/cats/2.png", png(1)[:100])
        self.put("photos/dogs/0.png", b"")
        result = self.compare(self.clip, self.dino, "photos", "--json", status=3)
        self.assertEqual(result.err.count("kindred: "), 2)
        self.assertIn("photos/cats/2.png", result.err)
        out = json.loads(result.out)
        self.assertEqual((out["photos"], out["skipped"]), (6, 2))
        self.assertEqual(out["classes"], [{"photos": 3, "name": "cats"}, {"photos": 3, "name": "dogs"}])
        self.photos = [path for path in self.photos if path not in ("photos/cats/2.png", "photos/dogs/0.png")]
        expected = self.describe(self.clip, self.dino, *self.photos)
        self.assertEqual(out["queries"], expected["queries"])

    def test_bad_input(self):
        self.put("empty/notes.txt", "no photo")
        os.mkdir(self.folder / "broken")
        self.put("broken/config.json", '{"model_type": "unheard-of"}')
        for args, status, message in (
                ((), 2, "give models and then photos"), (("photos",), 2, "no model before photos"),
                ((self.clip, "photos", "-k", "0"), 2, "--neighbours must be at least 1"),
                ((self.clip, "empty"), 1, "at least two photos, and there are none in empty"),
                ((self.clip, "photos/cats/1.png"), 1, "there is one in photos/cats/1.png"),
                ((self.clip, "nowhere"), 1, "nowhere"), (("broken", "photos"), 1, "unheard-of"),
                ((self.clip, "broken", "photos"), 1, "unheard-of"),
                (("no-such-model", "photos"), 1, "no-such-model")):
            result = self.compare(*args, status=status)
            self.assertIn(message, result.err)
            self.assertEqual(result.out, "")


if __name__ == "__main__":
    main()
