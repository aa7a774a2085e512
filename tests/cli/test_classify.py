"""kindred classify: by words, by examples, saved classifiers, pages and tables, bad input."""
import csv
import html.parser
import json
import math
import random
import struct

from support import CommandTest, cosine, main, make_bert, png

SCALE = math.exp(4.6)
CLASSES = ("ant", "bee", "cow")


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.images, self.open, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def write_npy(path, rows):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    header += " " * (117 - len(header)) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        for row in rows:
            f.write(struct.pack(f"<{len(row)}f", *row))


def softmax(values):
    top = max(values)
    exps = [math.exp(v - top) for v in values]
    return [e / sum(exps) for e in exps]


def unit(v):
    length = math.sqrt(sum(x * x for x in v))
    return [x / length for x in v]


class ByWords(CommandTest):
    def setUp(self):
        super().setUp()
        self.photos = self.put_pictures("p/a.png", "p/b.png", "p/c.png")

    def classify(self, *args, model=None, **options):
        out = self.run_kindred("classify", "--model", model or self.clip, "--json", *args, **options).out
        return json.loads(out) if out else None

    def vectors(self, *texts):
        return self.embed(*(a for t in texts for a in ("--text", t))) if texts else self.embed("p")

    def probabilities(self, shown, labels):
        return [[next(l["probability"] for l in item["labels"] if l["label"] == label) for label in labels]
                for item in shown["items"]]

    def expect(self, got, expected):
        for a, b in zip(got, expected, strict=True):
            for x, y in zip(a, b, strict=True):
                self.assertAlmostEqual(x, y, delta=1e-4)

    def test_by_the_definition(self):
        labels = ["the cat", "road", "a dog"]
        shown = self.classify("p", *labels, "--template", "the road {}", "--template", "{} cat")
        images = self.vectors()
        classes = []
        for label in labels:
            rows = self.vectors(f"the road {label}", f"{label} cat")
            classes.append([sum(column) for column in zip(*map(unit, rows))])
        expected = [softmax([SCALE * cosine(image, c) for c in classes]) for image in images]
        self.assertEqual([item["path"] for item in shown["items"]], self.photos)
        self.assertAlmostEqual(shown["scale"], SCALE, places=3)
        self.expect(self.probabilities(shown, labels), expected)
        for item, row in zip(shown["items"], expected):
            self.assertEqual(item["label"], labels[row.index(max(row))])
            found = [l["probability"] for l in item["labels"]]
            self.assertEqual(found, sorted(found, reverse=True))
        other = self.classify("p", *labels, "--template", "the road {}", "--template", "{} cat", "--scale", "1")
        self.expect(self.probabilities(other, labels),
                    [softmax([cosine(image, c) for c in classes]) for image in images])

    def test_pairs(self):
        shown = self.classify("p", "cat", "--pairs", "--template", "the {}", "--against", "no {}", "--threshold", "0")
        images, (with_, without) = self.vectors(), self.vectors("the cat", "no cat")
        expected = [[1 / (1 + math.exp(SCALE * (cosine(i, without) - cosine(i, with_))))] for i in images]
        self.expect(self.probabilities(shown, ["cat"]), expected)
        self.assertEqual(shown["mode"], "pairs")
        shown = self.classify("p", "cat", "road", "--pairs")
        self.assertEqual(shown["threshold"], 0.5)
        for item in shown["items"]:
            self.assertTrue(all(l["probability"] >= 0.5 for l in item["labels"]))
        self.classify("p", "cat", "--pairs", "--template", "the {}", status=2)
        self.classify("p", "cat", "--pairs", "--against", "no {}", status=2)

    def test_none_of_these(self):
        shown = self.classify("p", "cat", "road", "--threshold", "1", "--scale", "0.01")
        self.assertTrue(all(item["label"] is None and item["labels"] == [] for item in shown["items"]))
        out = self.run_kindred("classify", "-m", self.clip, "p", "cat", "road", "--threshold", "1", "--scale", "0.01").out
        self.assertEqual(out.count("none of these"), 3)

    def test_top(self):
        shown = self.classify("p", *"abcdef", "-n", "2")
        self.assertTrue(all(len(item["labels"]) == 2 for item in shown["items"]))

    def test_a_file_of_labels_in_any_encoding(self):
        text = "cat\r\n강아지\r\nroad\r\n"
        plain = self.classify("p", "cat", "강아지", "road")
        for name, data in (("utf8", text.encode()), ("mark", text.encode("utf-8-sig")), ("utf16", text.encode("utf-16")),
                           ("big", b"\xfe\xff" + text.encode("utf-16-be"))):
            self.put(name, data)
            shown = self.classify("p", "--labels", name)
            self.assertEqual(shown["labels"], ["cat", "강아지", "road"])
            self.assertEqual(shown["items"], plain["items"])
        self.put("nomark", text.encode("utf-16-le"))
        self.assertIn("nomark", self.run_kindred("classify", "-m", self.clip, "p", "--labels", "nomark", status=1).err)

    def test_bad_labels(self):
        for data, part in (("cat\n\nroad\n", "labels:2"), ("", "no label"), ("cat\ncat\n", "twice")):
            self.put("labels", data)
            result = self.run_kindred("classify", "-m", self.clip, "p", "--labels", "labels", status=1)
            self.assertIn(part, result.err)
        self.assertIn("empty", self.run_kindred("classify", "-m", self.clip, "p", "cat", " ", status=1).err)
        self.assertIn("at least two", self.run_kindred("classify", "-m", self.clip, "p", "cat", status=2).err)
        self.assertIn("which classes", self.run_kindred("classify", "-m", self.clip, "p", status=2).err)
        self.assertIn("nothing to classify", self.run_kindred("classify", "-m", self.clip, "cat", "road", status=2).err)
        self.assertIn("gone.jpg", self.run_kindred("classify", "-m", self.clip, "gone.jpg", "cat", "dog", status=1).err)
        result = self.run_kindred("classify", "-m", self.clip, "p", "cat", "dog", "--template", "a photo", status=1)
        self.assertIn("no {}", result.err)
        self.assertIn("text tower", self.run_kindred("classify", "-m", self.dino, "p", "cat", "dog", status=1).err)

    def test_labels_by_another_model(self):
        bert = make_bert(self.folder / "bert")
        self.assertIn("64 floats", self.run_kindred("classify", "-m", self.clip, "p", "cat", "dog", "--text-model", bert,
                                                    status=1).err)
        shown = self.classify("p", "cat", "the dog", "--text-model", self.clip)
        self.assertEqual(shown["items"], self.classify("p", "cat", "the dog")["items"])

    def test_documents_and_lines(self):
        bert = make_bert(self.folder / "bert")
        self.put("d/a.txt", "The cat. The cat.")
        self.put("d/b.txt", "The road.")
        shown = self.classify("d", "the cat", "road", model=bert)
        self.assertEqual([item["path"] for item in shown["items"]], ["d/a.txt", "d/b.txt"])
        self.assertEqual(shown["scale"], 20)
        self.assertEqual([item["line"] for item in shown["items"]], [1, 1])
        self.put("lines", "the cat\nthe road\n")
        shown = self.classify("--texts", "lines", "the cat", "road", "--template", "{}", model=bert)
        self.assertEqual(shown["items"][0]["label"], "the cat")
        self.assertAlmostEqual(shown["items"][0]["labels"][0]["cosine"], 1, places=5)

    def test_known_classes_and_page(self):
        self.put_pictures("q/cat/1.png", "q/cat/<2>.png", "q/road/3.png", "q/other/4.png")
        shown = self.classify("q", "cat", "road", "--labels-from", "folders", "--html", "o.html", "--csv", "o.csv")
        right = sum(i["label"] == i["true_label"] for i in shown["items"])
        self.assertEqual((shown["known"]["n"], shown["known"]["right"]), (3, right))
        self.assertEqual(sum(map(sum, shown["known"]["confusion"])), 3)
        page = Page((self.folder / "o.html").read_text("utf-8"))
        self.assertEqual((page.open, len(page.images)), ([], 4))
        self.assertTrue(all(link.startswith("data:") for link in page.links))
        self.assertIn("<2>.png", "".join(page.text))
        rows = list(csv.reader((self.folder / "o.csv").read_text("utf-8").splitlines()))
        self.assertEqual(rows[0], ["item", "line", "label", "probability", "cat", "road"])
        for row, item in zip(rows[1:], shown["items"], strict=True):
            self.assertEqual((row[0], row[2]), (item["path"], item["label"]))
            self.assertAlmostEqual(float(row[4]) + float(row[5]), 1, places=6)

    def test_a_store(self):
        self.run_kindred("index", "-q", "--store", "s.db", "--model", self.clip, "p")
        shown = json.loads(self.run_kindred("classify", "--store", "s.db", "cat", "road", "--json").out)
        straight = self.classify("p", "cat", "road")
        self.expect(self.probabilities(shown, ["cat", "road"]), self.probabilities(straight, ["cat", "road"]))

    def test_unreadable(self):
        self.put("p/bad.png", "no picture")
        shown = self.classify("p", "cat", "road", status=3)
        self.assertEqual((len(shown["items"]), shown["skipped"]), (3, 1))


class ByExamples(CommandTest):
    def setUp(self):
        super().setUp()
        r = random.Random(1)
        self.rows = [[r.gauss(3 * (i % 3 == j), 1) for j in range(4)] for i in range(60)]
        write_npy(self.folder / "v.npy", self.rows)
        self.put("labels", "".join(CLASSES[i % 3] + "\n" for i in range(60)))

    def train(self, *args, **options):
        out = self.run_kindred("classify", "--train", "v.npy", "--train-labels", "labels", "--json", *args, **options).out
        return json.loads(out) if out else None

    def test_linear_and_neighbours(self):
        for kind, mode in ((("--linear",), "linear"), (("--knn", "3"), "knn"), (("--knn", "3", "--centre"), "knn")):
            shown = self.train(*kind, "v.npy", "--labels-from", "labels", "--save", "c.kin")
            self.assertEqual((shown["mode"], shown["labels"]), (mode, list(CLASSES)))
            self.assertEqual((shown["validation"]["n"], shown["validation"]["folds"]), (60, 5))
            self.assertGreater(shown["validation"]["accuracy"], 0.8)
            self.assertEqual(sum(map(sum, shown["validation"]["confusion"])), 60)
            self.assertGreater(shown["known"]["accuracy"], 0.85)
            self.assertEqual(shown["classifier"]["centred"], "--centre" in kind)
            loaded = json.loads(self.run_kindred("classify", "--classifier", "c.kin", "v.npy", "--labels-from", "labels",
                                                 "--json").out)
            self.assertEqual(loaded["items"], shown["items"])
            for item in shown["items"]:
                self.assertLessEqual(sum(l["probability"] for l in item["labels"]), 1 + 1e-9)

    def test_table(self):
        out = self.run_kindred("classify", "--train", "v.npy", "--train-labels", "labels", "--knn", "5").out
        self.assertIn("5 nearest neighbours, 60 examples in 3 classes", out)
        self.assertIn("cross-validated in 5 parts", out)
        self.assertIn("told as", out)
        out = self.run_kindred("classify", "--train", "v.npy", "--train-labels", "labels", "--linear", "--folds", "0",
                               "--c", "2").out
        self.assertIn("c 2, 60 examples", out)
        self.assertNotIn("Accuracy", out)

    def test_folders_of_photos(self):
        photos = self.put_pictures(*(f"t/{c}/{i}.png" for c in "ab" for i in range(4)), "t/loose.png")
        result = self.run_kindred("classify", "--linear", "--train", "t", "--model", self.clip, "--save", "c.kin",
                                  "--html", "o.html", "--folds", "2", photos[0], "--seed", "3", "--json")
        shown = json.loads(result.out)
        self.assertEqual((shown["labels"], shown["classifier"]["examples"]), (["a", "b"], 8))
        self.assertEqual(shown["items"][0]["label"], "a")
        page = Page((self.folder / "o.html").read_text("utf-8"))
        wrong = 8 - shown["validation"]["right"]
        self.assertEqual((page.open, len(page.images)), ([], 1 + wrong))
        self.assertIn("model", self.run_kindred("classify", "--classifier", "c.kin", "--model", self.dino, "t",
                                                status=1).err)
        write_npy(self.folder / "w.npy", [[1, 2, 3]])
        self.assertIn("32 floats", self.run_kindred("classify", "--classifier", "c.kin", "w.npy", status=1).err)

    def test_store_of_examples(self):
        self.put_pictures(*(f"t/{c}/{i}.png" for c in "ab" for i in range(4)))
        self.run_kindred("index", "-q", "--store", "s.db", "--model", self.clip, "t")
        out = json.loads(self.run_kindred("classify", "--knn", "1", "--train", "s.db", "--save", "c.kin", "--json").out)
        self.assertEqual(out["labels"], ["a", "b"])
        self.assertTrue(out["classifier"]["model_id"])
        self.run_kindred("classify", "--classifier", "c.kin", "--model", self.clip, "t")

    def test_bad_input(self):
        self.put("one", "ant\n" * 60)
        self.put("few", "ant\nbee\n")
        for args, status, part in (
                (("--knn", "61"), 1, "61 neighbours"), (("--linear", "--knn", "3"), 2, "one of them"),
                (("--linear", "--pairs"), 2, "in words"), (("--linear", "--folds", "1"), 2, "at least 2"),
                (("--linear", "--train-labels", "one"), 1, "two classes"),
                (("--linear", "--train-labels", "few"), 1, "2 lines"), ((), 2, "needs --linear")):
            result = self.run_kindred("classify", "--train", "v.npy", "--train-labels", "labels", *args, status=status)
            self.assertIn(part, result.err)
        write_npy(self.folder / "nan.npy", [[1, math.nan], [1, 2]])
        self.put("two", "ant\nbee\n")
        result = self.run_kindred("classify", "--linear", "--train", "nan.npy", "--train-labels", "two", status=1)
        self.assertIn("finite", result.err)
        self.assertIn("needs --train", self.run_kindred("classify", "--linear", "v.npy", status=2).err)
        self.put("bad.kin", "{}")
        self.assertIn("bad.kin", self.run_kindred("classify", "--classifier", "bad.kin", "v.npy", status=1).err)
        self.assertIn("gone.kin", self.run_kindred("classify", "--classifier", "gone.kin", "v.npy", status=1).err)

    def test_all_equal_and_one_each(self):
        write_npy(self.folder / "same.npy", [[1, 2]] * 8)
        self.put("most", "ant\n" * 6 + "bee\n" * 2)
        out = json.loads(self.run_kindred("classify", "--linear", "--train", "same.npy", "--train-labels", "most",
                                          "same.npy", "--json").out)
        self.assertEqual(out["items"][0]["label"], "ant")
        self.assertAlmostEqual(out["items"][0]["labels"][0]["probability"], 0.75, places=4)
        write_npy(self.folder / "same.npy", [[0.1, 0.2, 0.3]] * 8)  # not equal to their mean, for rounding
        out = json.loads(self.run_kindred("classify", "--linear", "--train", "same.npy", "--train-labels", "most",
                                          "same.npy", "--json").out)
        self.assertLess(out["classifier"]["c"], 1e6)
        self.assertAlmostEqual(out["items"][0]["labels"][0]["probability"], 0.75, places=4)
        write_npy(self.folder / "two.npy", [[1, 0], [0, 1]])
        self.put("two", "ant\nbee\n")
        out = json.loads(self.run_kindred("classify", "--linear", "--train", "two.npy", "--train-labels", "two",
                                          "two.npy", "--json").out)
        self.assertEqual([item["label"] for item in out["items"]], ["ant", "bee"])
        self.assertNotIn("validation", out)


if __name__ == "__main__":
    main()
