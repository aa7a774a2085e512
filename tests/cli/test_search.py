"""kindred search, similar and recommend against sums over the vectors that kindred embed gives."""
import json
import os
import pathlib
import shutil

from support import CommandTest, cosine, main, make_bert, png, read_npy


def unit(v):
    length = sum(x * x for x in v) ** 0.5
    return [x / length for x in v]


def add(*parts):
    """The sum of weight * vector."""
    return [sum(weight * v[i] for weight, v in parts) for i in range(len(parts[0][1]))]


def mean(vectors):
    return add(*[(1 / len(vectors), v) for v in vectors])


def marginal_relevance(scores, vectors, share):
    """Indices in the order of LangChain's maximal_marginal_relevance, lambda_mult being 1 - share."""
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    order = [left.pop(0)]
    while left:
        values = [(1 - share) * scores[i] - share * max(cosine(vectors[i], vectors[k]) for k in order) for i in left]
        order.append(left.pop(values.index(max(values))))
    return order


class Search(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.room = cls.shared / "room"
        cls.names = [f"{'abc'[i % 3]}/{i}.png" for i in range(36)]
        for i, name in enumerate(cls.names):
            path = cls.room / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(i // 2, 40 + i, 36)) # pairs alike
        test = cls("run_kindred")
        test.folder = cls.room
        cls.store = cls.make_store()
        test.run_kindred("index", "-q", "-m", cls.clip, "--store", cls.store, "photos")
        test.run_kindred("embed", "-q", "-m", cls.clip, "-o", "photos.npy", *[f"photos/{n}" for n in cls.names])
        cls.vectors = {n: unit(v) for n, v in zip(cls.names, read_npy(cls.room / "photos.npy"))}
        hits = json.loads(test.run_kindred("search", "x", "-n", 100, "--json", "--store", cls.store).out)["results"]
        cls.ids = {"/".join(h["path"].split("/")[-2:]): h["id"] for h in hits}

    @classmethod
    def make_store(cls):
        """Where the vectors are; other kinds of store pass the same tests."""
        return cls.room / "kindred.db"

    def setUp(self):
        super().setUp()
        shutil.copytree(self.room, self.folder, dirs_exist_ok=True)
        # Paths in the store are those of the room, which stays as it is.

    def text(self, *texts):
        self.put("texts.txt", "\n".join(texts) + "\n")
        self.run_kindred("embed", "-q", "-m", self.clip, "-o", "texts.npy", "--texts", "texts.txt")
        return [unit(v) for v in read_npy(self.folder / "texts.npy")]

    def ask(self, *args):
        """[(name, score)] of the results."""
        hits = json.loads(self.run_kindred(*args, "--json", "--store", self.store).out)["results"]
        for hit in hits:
            self.assertEqual(hit["id"], self.ids["/".join(hit["path"].split("/")[-2:])])
        return [("/".join(hit["path"].split("/")[-2:]), hit["score"]) for hit in hits]

    def expect(self, query, n=10, among=None, without=()):
        scores = {name: cosine(query, v) for name, v in self.vectors.items() if name not in without}
        if among:
            scores = {name: score for name, score in scores.items() if among(name)}
        return sorted(scores.items(), key=lambda e: (-e[1], self.ids[e[0]]))[:n]

    def assert_same(self, got, expected):
        """Pictures that are alike may change places."""
        self.assertEqual(len(got), len(expected))
        for (name, score), (other, wanted) in zip(got, expected):
            self.assertAlmostEqual(score, wanted, places=5)
            if name != other:
                self.assertAlmostEqual(score, dict(expected).get(name, wanted), places=5)

    def test_texts_and_photos_together(self):
        cat, road, people = self.text("a cat", "the road", "people")
        first, second = self.vectors["a/0.png"], self.vectors["b/4.png"]
        self.assert_same(self.ask("search", "a cat"), self.expect(cat))
        self.assert_same(self.ask("search", "a cat", "--image", "photos/a/0.png"), self.expect(add((1, cat), (1, first))))
        self.assert_same(self.ask("search", "a cat", "-i", "photos/a/0.png", "-i", "photos/b/4.png",
                                  "--image-weight", 0.4),
                         self.expect(add((1, cat), (0.4, mean([first, second])))))
        self.assert_same(self.ask("search", "-i", "photos/a/0.png", "-i", "photos/b/4.png"),
                         self.expect(mean([first, second])))
        self.assert_same(self.ask("search", "a cat", "--not", "people"), self.expect(add((1, cat), (-0.5, people))))
        self.assert_same(self.ask("search", "a cat", "--not", "people", "--not", "the road", "--not-image",
                                  "photos/a/0.png", "--not-weight", 0.9),
                         self.expect(add((1, cat), (-0.9, mean([people, road, first])))))
        self.assert_same(self.ask("search", "--not", "people"), self.expect([-x for x in people]))
        got = self.ask("search", "-i", "photos/a/0.png", "-i", "photos/b/4.png", "--strategy", "best")
        best = {n: max(cosine(v, first), cosine(v, second)) for n, v in self.vectors.items()}
        self.assert_same(got, sorted(best.items(), key=lambda e: (-e[1], self.ids[e[0]]))[:10])

    def test_pages_and_least_scores(self):
        cat, = self.text("a cat")
        ranked = self.expect(cat, 36)
        self.assert_same(self.ask("search", "a cat", "--offset", 30), ranked[30:])
        self.assertEqual(self.ask("search", "a cat", "--offset", 36), [])
        out = self.run_kindred("search", "a cat", "--offset", 30, "-n", 2, "--store", self.store).out
        self.assertRegex(out, r"\A  31  +-?0\.\d{4}  /.*\n  32  +-?0\.\d{4}  /.*\n\Z")
        least = (ranked[11][1] + ranked[12][1]) / 2
        if ranked[11][1] - ranked[12][1] > 1e-4:
            self.assertEqual(len(self.ask("search", "a cat", "-n", 36, f"--min-score={least}")), 12)
        self.assertEqual(self.ask("search", "a cat", "--min-score", 1.5), [])

    def test_filters(self):
        cat, = self.text("a cat")
        cases = {"path glob 'photos/a/*'": lambda n: n[0] == "a",
                 "width >= 60 and not folder like '%/b'": lambda n: int(n[2:-4]) >= 20 and n[0] != "b",
                 "name in ('0.png', '7.png') or width = 75": lambda n: n[2:] in ("0.png", "7.png", "35.png"),
                 "mtime > '2100-01-01'": lambda n: False,
                 "kind = picture and meta.camera is null": lambda n: True}
        for where, among in cases.items():
            self.assert_same(self.ask("search", "a cat", "-n", 36, "--where", where), self.expect(cat, 36, among))
        result = self.run_kindred("search", "a cat", "-w", "widht > 3", "--store", self.store, status=1)
        self.assertIn("filter, column 1: at widht: expected a field (id, path,", result.err)

    def test_groups(self):
        cat, = self.text("a cat")
        for most, args in ((1, []), (2, ["--per-group", 2])):
            kept, count = [], {}
            for name, score in self.expect(cat, 36):
                count[name[0]] = count.get(name[0], 0) + 1
                if count[name[0]] <= most:
                    kept.append((name, score))
            self.assert_same(self.ask("search", "a cat", "--group", "folder", *args), kept)

    def test_diversity(self):
        road, = self.text("the road")
        names = list(self.vectors)
        scores = [cosine(road, self.vectors[n]) for n in names]
        for share in (0.2, 0.5, 0.8):
            order = marginal_relevance(scores, list(self.vectors.values()), share)
            expected = [(names[i], scores[i]) for i in order]
            self.assert_same(self.ask("search", "the road", "-n", 36, "--diversity", share), expected)
            self.assert_same(self.ask("search", "the road", "-n", 5, "--offset", 5, "--diversity", share),
                             expected[5:10])

    def test_similar_needs_no_model(self):
        first = self.vectors["b/7.png"]
        expected = self.expect(first, without=["b/7.png"])
        path = self.room / "photos/b/7.png"
        away = self.shared / "away"
        os.rename(self.clip, away)
        try:
            self.assert_same(self.ask("similar", path), expected)
            self.assert_same(self.ask("similar", self.ids["b/7.png"]), expected)
            self.assert_same(self.ask("similar", path, "--where", "path glob 'photos/c/*'"),
                             self.expect(first, among=lambda n: n[0] == "c"))
            self.assert_same(self.ask("recommend", "--like", path, "--like", self.ids["a/3.png"]),
                             self.expect(mean([first, self.vectors["a/3.png"]]), without=["b/7.png", "a/3.png"]))
        finally:
            os.rename(away, self.clip)
        self.assertIn("no item 999 in", self.run_kindred("similar", 999, "--store", self.store, status=1).err)
        self.assertIn("kindred search --image", self.run_kindred("similar", "photos/a/0.png", "--store", self.store,
                                                                 status=1).err)

    def test_recommend(self):
        v = self.vectors
        likes, dislikes = ["a/0.png", "b/1.png", "c/2.png"], ["a/9.png", "b/10.png"]
        args = [a for n in likes for a in ("--like", self.ids[n])] + [a for n in dislikes for a in
                                                                      ("--dislike", self.room / "photos" / n)]
        query = add((1, mean([v[n] for n in likes])), (-0.5, mean([v[n] for n in dislikes])))
        self.assert_same(self.ask("recommend", *args), self.expect(query, without=likes + dislikes))
        query = add((1, mean([v[n] for n in likes])), (-2, mean([v[n] for n in dislikes])))
        self.assert_same(self.ask("recommend", *args, "--dislike-weight", 2),
                         self.expect(query, without=likes + dislikes))
        score = {n: max(cosine(x, v[k]) for k in likes) - 0.5 * max(0, *[cosine(x, v[k]) for k in dislikes])
                 for n, x in v.items() if n not in likes + dislikes}
        self.assert_same(self.ask("recommend", *args, "--strategy", "best"),
                         sorted(score.items(), key=lambda e: (-e[1], self.ids[e[0]]))[:10])
        # A file that isn't in the store is embedded.
        self.put("new.png", png("new", 100, 90))
        new, = map(unit, self.embed("new.png"))
        self.assert_same(self.ask("recommend", "--like", "new.png", "--dislike", self.ids["a/9.png"]),
                         self.expect(add((1, new), (-0.5, v["a/9.png"])), without=["a/9.png"]))

    def test_usage(self):
        cases = {("search",): "search for what?", ("search", "a", "b"): "more than one text",
                 ("search", " "): "the text is empty",
                 ("similar", "1", "--id-field", "sku"): "are for a store elasticsearch://",
                 ("search", "a", "--group", "colour"): 'group "colour": expected file, folder or none',
                 ("search", "a", "--per-group", "3"): "--group file or folder",
                 ("search", "a", "--diversity", "2"): "--diversity 2: expected 0 to 1",
                 ("search", "a", "--strategy", "worst"): 'strategy "worst": expected sum or best',
                 ("search", "a", "--pool", "20000", "--diversity", "0.5"): "at most 10000",
                 ("search", "a", "--pool", "50"): "--pool is for --diversity",
                 ("search", "a", "-n", "0"): "-n must be at least 1",
                 ("search", "-i", "x.png", "--image-weight", "0"): "--image-weight 0: expected more than 0",
                 ("search", "a", "--not", "b", "--not-weight=-1"): "--not-weight -1: expected 0 or more",
                 ("similar",): "similar to what?", ("similar", "1", "2"): "kindred recommend",
                 ("recommend",): "recommend by what?", ("recommend", "--dislike", "3"): "recommend by what?",
                 ("recommend", "3"): "liked or not?"}
        for args, message in cases.items():
            self.assertIn(message, self.run_kindred(*args, status=2).err)
        store = ("--store", self.store)
        self.assertIn("cancel each other out", self.run_kindred("search", "a cat", "--not", "a cat", "--not-weight", 1,
                                                                *store, status=1).err)
        self.assertIn("best of what is liked", self.run_kindred("search", "--not", "a cat", "--strategy", "best",
                                                                *store, status=1).err)


class Metadata(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures("p/a.png", "p/b.png", "p/c.png")
        self.run_kindred("index", "-q", "-m", self.clip, "p")

    def give(self, name, content, status=0):
        return self.run_kindred("index", "-m", self.clip, "p", "--metadata", self.put(name, content), status=status)

    def found(self, where):
        hits = json.loads(self.run_kindred("search", "x", "--json", "--where", where).out)["results"]
        return "".join(sorted(pathlib.Path(hit["path"]).stem for hit in hits))

    def assert_found(self, cases):
        for where, names in cases.items():
            self.assertEqual(self.found(where), names, where)

    def test_csv(self):
        result = self.give("m.csv", 'rating,path,Shot at\r\n5,p/a.png,"Rome, ""Italy"""\r\n\r\n'
                                    '10,p/b.png,\r\n3,gone/d.png,x\r\n')
        self.assertIn(", 2 with metadata;", result.out)
        self.assertIn("1 file of m.csv isn't in the store", result.err)
        cases = {"meta.rating > 4": "ab", "meta.rating > 5": "b", "meta.rating = '5'": "a", "meta.rating < '2'": "b",
                 "meta.'Shot at' = 'Rome, \"Italy\"'": "a", "meta.'Shot at' is null": "bc", "meta.rating != 5": "bc",
                 "meta.rating != 5 and meta.rating is not null": "b", "meta.rating between 5 and 7.5": "a",
                 "meta.rating in (10, 'x')": "b", "meta.rating in ('5', 10)": "ab", "not meta.rating in (5)": "bc",
                 "meta.'Shot at' glob 'Rome*' or meta.rating like '1_'": "ab", "meta.'shot at' is not null": ""}
        self.assert_found(cases)
        # Other keys stay; an empty field takes its key away.
        self.give("m.csv", "path,rating\np/a.png,\np/b.png,1\n")
        self.assert_found({"meta.rating is not null": "b", "meta.rating = 1": "b", "meta.'Shot at' like 'rome%'": "a"})
        # What is known of a file stays when its content changes, and goes with it.
        self.put("p/b.png", png("another"))
        self.run_kindred("index", "-q", "-m", self.clip, "p")
        self.assert_found({"meta.rating = 1": "b"})
        os.remove(self.folder / "p/b.png")
        self.run_kindred("index", "-q", "-m", self.clip, "p")
        self.assert_found({"meta.rating = 1": ""})

    def test_json_lines(self):
        lines = [{"path": "p/a.png", "tags": ["sea", "sun", 7], "n": 1.5, "ok": True, "none": None},
                 {"path": str(self.folder / "p/b.png"), "tags": "sun", "n": -2000000000000, "장소": "바다" * 9000}]
        self.give("m.jsonl", "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
        self.assert_found({"meta.tags = 'sun'": "ab", "meta.tags = 'sea'": "a", "meta.tags = 7": "a", "meta.n > 1": "a",
                           "meta.n < -1e12": "b", "meta.ok = 'true'": "a", "meta.none is null": "abc",
                           "meta.장소 glob '바*'": "b", "meta.n in (1.5, 3)": "a"})

    def test_exif(self):
        """What the photos themselves tell: the files are exiftool's."""
        exif = pathlib.Path(os.environ["KINDRED_SOURCE"], "tests/data/exif")
        for name in ("all.jpg", "all.png", "digitized.jpg", "model.jpg", "none.jpg"):
            self.put(f"q/{name.replace('.', '_')}.{name[-3:]}", (exif / name).read_bytes())
        self.run_kindred("index", "-q", "-m", self.clip, "q")
        cases = {"meta.date >= '2023'": "all_jpgall_png", "meta.date < '2023'": "digitized_jpg",
                 "meta.date = '2023-05-01T14:30:00'": "all_jpgall_png", "meta.camera is not null":
                 "all_jpgall_pngdigitized_jpgmodel_jpg", "meta.camera = 'NIKON D750'": "digitized_jpg",
                 "meta.camera = 'FUJIFILM X100V' and name = 'all_png.png'": "all_png"}
        self.assert_found(cases)
        # What is given stands in for it, and it comes back; another file under the same name has its own.
        self.give("m.csv", "path,date\nq/all_png.png,1999\n")
        self.assert_found({"meta.date >= '2023'": "all_jpg", "meta.date = '1999'": "all_png"})
        self.give("m.csv", "path,date\nq/all_png.png,\n")
        self.put("q/all_jpg.jpg", (exif / "changed.jpg").read_bytes())
        self.run_kindred("index", "-q", "-m", self.clip, "q")
        self.assert_found({"meta.date >= '2023'": "all_jpgall_png", "meta.date >= '2024'": "all_jpg",
                           "meta.camera = 'Ricoh'": "all_jpg"})

    def test_bad_files(self):
        cases = {("m.txt", "x"): "m.txt: metadata comes in .jsonl or .csv files",
                 ("m.csv", "a,b\n1,2\n"): 'm.csv: the first line names no column "path"',
                 ("m.csv", ""): 'm.csv: the first line names no column "path"',
                 ("m.csv", "path,a\np/a.png,1,2\n"): "m.csv:2: more fields than the header has",
                 ("m.csv", "a,path\n1\n"): "m.csv:2: too few fields",
                 ("m.csv", "path,a\n,1\n"): "m.csv:2: an empty path",
                 ("m.csv", 'path,a\np/a.png,"1\n'): "m.csv:2: a quoted field has no end",
                 ("m.jsonl", '{"path": "p/a.png", "x": 1}\n{"x": 1}\n'): 'm.jsonl:2: expected an object with a "path"',
                 ("m.jsonl", '[1]\n'): 'm.jsonl:1: expected an object with a "path"',
                 ("m.jsonl", '{"path": "p/a.png", "x": {}}\n'): "m.jsonl:1: a value must be a text, a number",
                 ("m.jsonl", '{"path": "p/a.png", "x": [[1]]}\n'): "m.jsonl:1: a value must be a text, a number",
                 ("m.jsonl", "{\n"): "m.jsonl:1: bad JSON"}
        for (name, content), message in cases.items():
            self.assertIn(message, self.give(name, content, status=1).err)
        self.assert_found({"meta.x is not null or meta.a is not null": ""}) # all or nothing


class Documents(CommandTest):
    def test_passages_group_by_file(self):
        bert = make_bert(self.folder / "bert")
        for name in "ab":
            self.put(f"notes/{name}.txt", "The cat . The dog .\n\n" * 12 + f"The {name} road .\n")
        self.run_kindred("index", "-q", "-m", bert, "notes")
        hits = json.loads(self.run_kindred("search", "the road", "-n", 50, "--json").out)["results"]
        self.assertGreater(len(hits), 4)
        grouped = json.loads(self.run_kindred("search", "the road", "--group", "file", "--json").out)["results"]
        self.assertEqual(len(grouped), 2)
        self.assertEqual(grouped[0], hits[0])
        # A document stands for itself by the mean of its passages, and isn't found.
        near = json.loads(self.run_kindred("similar", "notes/a.txt", "-n", 50, "--json").out)["results"]
        self.assertEqual({pathlib.Path(hit["path"]).name for hit in near}, {"b.txt"})
        width = json.loads(self.run_kindred("search", "x", "-w", "width is null and kind = document", "--json").out)
        self.assertEqual(len(width["results"]), min(10, len(hits)))


if __name__ == "__main__":
    main()
