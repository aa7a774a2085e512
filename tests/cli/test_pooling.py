"""--pooling: which of DINOv2's rows become the vector."""
import json

from support import CommandTest, main


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

    def test_a_store_keeps_to_one(self):
        self.put_pictures("a.png", "b.png")
        mean = ["-m", self.dino, "--pooling", "mean"]
        self.run_kindred("index", *mean, "a.png", "b.png")
        hits = self.run_kindred("search", *mean, "--image", "a.png", "--json").out
        self.assertIn("a.png", hits)
        self.run_kindred("search", "--image", "a.png", status=1)
        self.run_kindred("search", "-m", self.dino, "--image", "a.png", status=1)

    def test_mistakes(self):
        self.put_pictures("a.png")
        result = self.run_kindred("embed", "-m", self.dino, "a.png", "-o", "x.npy", "--pooling", "max", status=2)
        self.assertIn('--pooling "max": expected cls, mean or cls+mean', result.err)
        result = self.run_kindred("embed", "-m", self.clip, "a.png", "-o", "x.npy", "--pooling", "mean", status=1)
        self.assertIn("no choice of pooling", result.err)


if __name__ == "__main__":
    main()
