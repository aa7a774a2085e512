"""Several models in one store: kindred collections, the choice of one, and text models of their own."""
import json
import pathlib

from support import CommandTest, cosine, main, make_bert, make_clip


class Store(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = make_clip(cls.shared / "other", "other", "other text")

    def setUp(self):
        super().setUp()
        self.put_pictures("p/a.png", "p/b.png")

    def index(self, *args, **options):
        return json.loads(self.run_kindred("index", "--json", "p", *args, **options).out)

    def search(self, *args):
        return json.loads(self.run_kindred("search", "--json", *args).out)["results"]

    def collections(self):
        return json.loads(self.run_kindred("collections", "--json").out)["collections"]


class Collections(Store):
    def test_one_for_each_model(self):
        for model in (self.clip, self.dino, self.clip):
            self.index("-m", model)
        found = self.collections()
        self.assertEqual([(c["id"], c["items"], c["vectors"]) for c in found], [(1, 2, 2), (2, 2, 2)])
        self.assertEqual([c["model"] for c in found], [str(self.clip.resolve()), str(self.dino.resolve())])
        self.assertEqual([(c["image"], c["text"]) for c in found], [(True, True), (True, False)])
        lines = self.run_kindred("collections").out
        self.assertIn("2 files, 2 vectors of 32 floats", lines)
        self.assertIn(str(self.dino.resolve()), lines)

    def test_the_one_that_can_answer_is_asked(self):
        self.index("-m", self.clip)
        alone = self.search("cat")
        self.index("-m", self.dino)
        self.assertEqual(self.search("cat"), alone)
        result = self.run_kindred("search", "--image", "p/a.png", status=1)
        for part in ("several collections can answer", str(self.clip), str(self.dino), "64 floats", "32 floats"):
            self.assertIn(part, result.err)
        for model in (self.clip, self.dino):
            hits = self.search("-m", model, "--image", "p/a.png")
            self.assertAlmostEqual(hits[0]["score"], 1, places=5)

    def test_a_model_that_the_store_does_not_know(self):
        self.index("-m", self.clip)
        self.index("-m", self.dino)
        result = self.run_kindred("search", "-m", self.other, "cat", status=1)
        self.assertIn("nothing in it was made with that model", result.err)
        self.assertIn(str(self.clip), result.err)
        result = self.run_kindred("index", "p", status=1)
        self.assertIn("name the model to use", result.err)

    def test_words_are_searched_in_all(self):
        """A file that only one model knows is found, one that both know once, with the same score as in either."""
        (self.folder / "p/note.txt").write_text("the cat\n\nthe dog on the road")
        captions = [{"path": "p/a.png", "caption": "a cat"}, {"path": "p/b.png", "caption": "a cat, a cat and a road"}]
        self.put("captions.jsonl", "".join(json.dumps(c) + "\n" for c in captions))
        self.index("-m", make_bert(self.folder / "bert"))
        self.index("-m", self.clip, "--captions", "captions.jsonl")
        self.index("-m", self.dino)
        self.assertEqual([c["items"] for c in self.collections()], [1, 2, 2])

        def found(*args):
            return [(pathlib.Path(r["path"]).name, r["score"]) for r in self.search("--bm25", *args)]

        hits = found("cat road")
        self.assertEqual({name for name, _ in hits}, {"a.png", "b.png", "note.txt"})
        self.assertEqual(hits, sorted(hits, key=lambda hit: -hit[1]))
        alone = found("cat road", "-m", self.folder / "bert") + found("cat road", "-m", self.clip)
        self.assertEqual(sorted(hits), sorted(alone))
        self.assertEqual(found("cat road", "-n", "1", "--offset", "1"), hits[1:2])
        self.assertEqual(found("cat road", "--where", "name glob '*.png'"), [h for h in hits if h[0] != "note.txt"])
        self.assertEqual(found("cat road", "--group", "folder"), hits[:1])
        self.assertEqual(len({name for name, _ in found("cat road", "--group", "file")}), 3)
        error = self.run_kindred("search", "--bm25", "cat", "--diversity", "0.5", status=1).err
        self.assertIn("name the model to use", error)

    def test_dropping(self):
        self.index("-m", self.clip)
        self.put_pictures("p/c.png")
        self.index("-m", self.dino)
        self.assertIn("no collection of", self.run_kindred("collections", "--drop", "nothing", status=1).err)
        self.assertIn("3 vectors", self.run_kindred("collections", "--drop", self.dino).out)
        self.assertEqual([c["id"] for c in self.collections()], [1])
        self.assertEqual([f for f in self.files() if f.endswith(".vectors")], ["kindred.db.vectors"])
        self.index("-m", self.dino)
        model_id = self.collections()[1]["model_id"]
        self.run_kindred("collections", "-q", "--drop", model_id[:12])
        self.index("-m", self.dino)
        self.run_kindred("collections", "--drop", "4")
        self.assertEqual(self.search("cat", "-n1")[0]["score"], self.search("cat", "-m", self.clip)[0]["score"])


class TextModel(Store):
    def scores(self, *args):
        return {hit["path"][-5:]: hit["score"] for hit in self.search("the road", *args)}

    def expected(self, text_model):
        query, = self.embed("-t", "the road", model=text_model)
        rows = self.embed("p/a.png", "p/b.png")
        return {name: cosine(query, row) for name, row in zip(("a.png", "b.png"), rows)}

    def assert_scores(self, got, text_model):
        for name, score in self.expected(text_model).items():
            self.assertAlmostEqual(got[name], score, places=5)

    def test_the_first_one_is_remembered(self):
        self.index("-m", self.clip)
        self.assert_scores(self.scores(), self.clip)
        self.assert_scores(self.scores("--text-model", self.other), self.other)
        self.assert_scores(self.scores(), self.other)
        self.assertEqual(self.collections()[0]["text_model"], str(self.other.resolve()))
        # A picture is still embedded by the model itself, and naming the model doesn't undo it.
        self.assertAlmostEqual(self.search("--image", "p/a.png")[0]["score"], 1, places=5)
        self.assert_scores(self.scores("-m", self.clip), self.other)
        # A later one answers its own query; it takes over with --remember.
        third = make_clip(self.folder / "third", "third", "third text")
        self.assert_scores(self.scores("--text-model", third), third)
        self.assert_scores(self.scores(), self.other)
        result = self.run_kindred("search", "the road", "--text-model", third, "--remember")
        self.assertIn("remembers", result.err)
        self.assert_scores(self.scores(), third)

    def test_given_when_indexing(self):
        self.index("-m", self.clip, "--text-model", self.other)
        self.assert_scores(self.scores(), self.other)
        self.index()
        self.assert_scores(self.scores(), self.other)
        self.index("--text-model", self.clip)
        self.assert_scores(self.scores(), self.clip)
        self.assertNotIn("text_model", self.collections()[0])

    def test_models_that_do_not_pair(self):
        self.index("-m", self.dino)
        result = self.run_kindred("search", "cat", "--text-model", self.clip, status=1)
        self.assertIn("gives 32 floats", result.err)
        self.assertIn("have 64", result.err)
        self.assertIn("no text tower", self.run_kindred("search", "cat", "--text-model", self.dino, status=1).err)
        result = self.run_kindred("index", "p", "-m", self.clip, "--text-model", self.dino, "-s", "new.db", status=1)
        self.assertIn("no text tower", result.err)
        self.index("-m", self.clip)
        self.assert_scores(self.scores("--text-model", self.other), self.other)
        self.index("-m", make_clip(self.folder / "second", "second", "second text"))
        result = self.run_kindred("search", "cat", "--text-model", self.other, status=1)
        self.assertIn("several collections can answer", result.err)
        self.assertEqual(len(self.search("cat", "--text-model", self.other, "-m", self.clip)), 2)

    def test_a_store_that_cannot_be_written(self):
        self.index("-m", self.clip)
        (self.folder / "kindred.db.lock").unlink()
        (self.folder / "kindred.db.lock").mkdir()
        result = self.run_kindred("search", "the road", "--text-model", self.other)
        self.assertIn("isn't remembered", result.err)
        self.assertEqual(len(result.out.splitlines()), 2)

    def test_usage(self):
        self.index("-m", self.clip)
        for args in (("--image", "p/a.png", "--text-model", self.clip), ("cat", "--remember")):
            self.run_kindred("search", *args, status=2)


if __name__ == "__main__":
    main()
