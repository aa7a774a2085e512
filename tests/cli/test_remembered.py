"""--pooling and --precision: how a model is opened, and that a store remembers it."""
import json

from support import CommandTest, main, make_clip


class Pooling(CommandTest):
    def test_the_choices(self):
        self.put_pictures("a.png", "b.png")
        raw = ["a.png", "b.png", "--no-normalize"]
        default = self.embed(*raw, model=self.dino)
        cls = self.embed(*raw, "--pooling", "cls", model=self.dino)
        mean = self.embed(*raw, "--pooling=mean", model=self.dino)
        both = self.embed(*raw, "--pooling", "cls+mean", model=self.dino)
        self.assertEqual(cls, default)
        self.assertNotEqual(mean, cls)
        self.assertEqual([list(row) for row in both], [[*c, *m] for c, m in zip(cls, mean)])

    def test_it_is_part_of_the_model(self):
        ids = [json.loads(self.run_kindred("model", "info", self.dino, "--json", *options).out)["id"]
               for options in ((), ("--pooling", "cls"), ("--pooling", "mean"), ("--pooling", "cls+mean"))]
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(len(set(ids)), 3)

    def test_mistakes(self):
        self.put_pictures("a.png")
        result = self.run_kindred("embed", "-m", self.dino, "a.png", "-o", "x.npy", "--pooling", "max", status=2)
        self.assertIn('--pooling "max": expected cls, mean or cls+mean', result.err)
        result = self.run_kindred("embed", "-m", self.clip, "a.png", "-o", "x.npy", "--pooling", "mean", status=1)
        self.assertIn("no choice of pooling", result.err)


class Remembered(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures("p/a.png", "p/b.png")

    def first(self, *args):
        hits = json.loads(self.run_kindred("search", "--image", "p/a.png", "--json", *args).out)["results"]
        return hits[0]["path"][-5:], round(hits[0]["score"], 5)

    def collections(self):
        return [(c["precision"], c["pooling"], c["items"])
                for c in json.loads(self.run_kindred("collections", "--json").out)["collections"]]

    def test_pooling(self):
        self.run_kindred("index", "-m", self.dino, "--pooling", "mean", "p")
        for args in ((), ("-m", self.dino), ("-m", self.dino, "--pooling", "mean")):
            self.assertEqual(self.first(*args), ("a.png", 1))
        error = self.run_kindred("search", "--image", "p/a.png", "--pooling", "cls", status=1).err
        self.assertIn("pooling mean", error)
        self.put_pictures("p/c.png")
        self.run_kindred("index", "p")
        self.run_kindred("index", "-m", self.dino, "p")
        self.assertEqual(self.collections(), [("fp32", "mean", 3)])

    def test_precision(self):
        self.run_kindred("index", "-m", self.clip, "--precision", "int8", "p")
        for args in ((), ("-m", self.clip), ("--precision", "int8"), ("--precision", "auto")):
            self.assertEqual(self.first(*args), ("a.png", 1))
        self.put_pictures("p/c.png")
        self.assertIn("1 embedded, 2 unchanged", self.run_kindred("index", "p").out)
        self.assertIn("0 embedded, 3 unchanged", self.run_kindred("index", "-m", self.clip, "p").out)
        self.assertEqual(self.collections(), [("int8", "default", 3)])
        self.assertIn(", int8)", self.run_kindred("collections").out)

    def test_nothing_is_mixed_silently(self):
        self.run_kindred("index", "-m", self.clip, "--precision", "int8", "p")
        error = self.run_kindred("index", "--precision", "fp32", "p", status=2).err
        self.assertIn("were made with --precision int8", error)
        error = self.run_kindred("search", "cat", "--precision", "fp32", status=1).err
        self.assertIn("int8", error)
        self.assertEqual(self.collections(), [("int8", "default", 2)])
        # A second collection of the model must be asked for; then each is asked by its own.
        self.run_kindred("index", "-m", self.clip, "--precision", "fp32", "p")
        self.assertEqual(self.collections(), [("int8", "default", 2), ("fp32", "default", 2)])
        error = self.run_kindred("search", "cat", status=1).err
        self.assertIn("pictures and texts, int8)", error)
        for precision in ("int8", "fp32"):
            self.assertEqual(self.first("-m", self.clip, "--precision", precision), ("a.png", 1))

    def test_the_text_models(self):
        other = make_clip(self.folder / "other", "other", "other text")
        self.run_kindred("index", "-m", self.clip, "p")
        texts = ["search", "cat", "--json"]
        narrow = self.run_kindred(*texts, "--text-model", other, "-m", self.clip, "--precision", "int8", status=1).err
        self.assertIn("nothing in it was made with that model", narrow)
        first = self.run_kindred(*texts, "--text-model", other).out
        self.assertEqual(self.run_kindred(*texts).out, first)
        both = ["-s", "int8.db", "--json"]
        self.run_kindred("index", "-m", self.clip, "--precision", "int8", "--text-model", other, "p", *both)
        found = json.loads(self.run_kindred("search", "cat", *both).out)["results"]
        self.assertEqual(len(found), 2)
        self.assertNotEqual([hit["score"] for hit in found], [hit["score"] for hit in json.loads(first)["results"]])

    def test_the_commands_that_analyse(self):
        self.run_kindred("index", "-m", self.dino, "--pooling", "cls+mean", "--precision", "int8", "p")
        out = json.loads(self.run_kindred("sample", "-n", "1", "--store", "kindred.db", "--json").out)
        self.assertTrue(out)
        self.run_kindred("sample", "-n", "1", "--store", "kindred.db", "-m", self.dino)

    def test_an_export_tells(self):
        self.run_kindred("index", "-m", self.dino, "--pooling", "mean", "--precision", "int8", "p")
        self.run_kindred("store", "export", "-o", "a.jsonl")
        self.run_kindred("store", "import", "a.jsonl", "-s", "copy.db")
        self.assertEqual(self.first("-s", "copy.db"), ("a.png", 1))


if __name__ == "__main__":
    main()
