"""kindred index and search over text files, with a tiny sentence encoder."""
import json
import pathlib

from support import CommandTest, main, make_bert


class Documents(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bert = make_bert(cls.shared / "bert")

    def index(self, *args, **options):
        return json.loads(self.run_kindred("index", "--json", *args, **options).out)

    def search(self, *args):
        return json.loads(self.run_kindred("search", "--json", *args).out)["results"]

    def names(self, *args):
        return sorted(f"{pathlib.Path(hit['path']).name}:{hit['line']}" for hit in self.search("cat", "-n", "100", *args))

    def test_the_kinds_of_files(self):
        self.put("n/a.txt", "the cat\n\nthe dog")
        self.put("n/b.md", "# the road\n")
        self.put("n/c.html", "<p>the <b>cat</b> &amp; the dog</p><script>no</script>")
        self.put("n/d.jsonl", '{"text": "cat"}\n{"text": "dog"}\n')
        self.put("n/e.csv", "id,note\n1,road\n")
        self.put("n/f.png", "no text")
        self.put("n/g.txt", b"\xff\xfe" + "the cat".encode("utf-16-le"))
        result = self.index("-m", self.bert, "n")
        self.assertEqual((result["found"], result["embedded"], result["failed"]), (5, 5, 0))
        self.assertEqual(self.names(), ["a.txt:1", "b.md:1", "c.html:1", "d.jsonl:1", "d.jsonl:2", "g.txt:1"])
        self.assertEqual(self.index("n", "--text-column", "note")["embedded"], 1)
        self.assertIn("e.csv:2", self.names())
        self.assertEqual(self.index("n")["unchanged"], 5)

    def test_a_passage_finds_itself_first(self):
        self.put("n/a.txt", "the cat\n\nthe dog")
        self.put("n/b.txt", "road dog road.")
        self.index("-m", self.bert, "n")
        hits = self.search("road dog road.")
        self.assertAlmostEqual(hits[0]["score"], 1, places=5)
        self.assertEqual((hits[0]["passage"], hits[0]["line"], hits[0]["offset"]), ("road dog road.", 1, 0))
        line = self.run_kindred("search", "the cat\n\nthe dog", "-n1").out
        self.assertRegex(line, r"^   1   1\.0000  .*/n/a\.txt:1: the cat the dog\n$")

    def test_long_documents_are_cut_at_sentences(self):
        sentences = [f"the {'cat dog road'.split()[i % 3]} the road." for i in range(40)]
        self.put("n/long.txt", "\n".join(sentences))
        self.index("-m", self.bert, "n")
        hits = sorted(self.search("cat", "-n", "100"), key=lambda hit: hit["line"])
        self.assertGreater(len(hits), 5)
        self.assertEqual(hits[0]["line"], 1)
        end = 0
        for hit in hits:
            lines = hit["passage"].split("\n")
            first = hit["line"] - 1
            self.assertEqual(lines, sentences[first:first + len(lines)])
            self.assertLessEqual(first, end)
            self.assertGreater(first + len(lines), end)
            self.assertEqual(hit["offset"], len("\n".join(sentences[:first])) + (first > 0))
            end = first + len(lines)
        self.assertEqual(end, 40)

    def test_bad_files_are_named_with_the_line(self):
        self.put("n/a.txt", "fine")
        self.put("n/b.txt", b"fine\nnot \xe9\n")
        result = self.run_kindred("index", "-m", self.bert, "n", status=3)
        self.assertIn("b.txt:2: isn't UTF-8", result.err)
        self.assertEqual(self.names(), ["a.txt:1"])

    def test_both_kinds_in_one_store(self):
        self.put("n/a.txt", "the cat")
        self.put_pictures("n/p.png")
        self.index("-m", self.bert, "n")
        self.assertEqual(self.index("-m", self.clip, "n")["found"], 1)
        result = self.run_kindred("search", "cat", status=1)
        self.assertIn("several collections can answer", result.err)
        self.assertEqual(self.names("-m", self.bert), ["a.txt:1"])
        self.assertTrue(self.search("-m", self.clip, "cat")[0]["path"].endswith("p.png"))
        self.assertTrue(self.search("--image", "n/p.png")[0]["path"].endswith("p.png"))
        both = self.index("-m", self.clip, "n", "--documents")
        self.assertEqual((both["found"], both["embedded"]), (2, 1))

    def test_nothing_to_index(self):
        self.put_pictures("n/p.png")
        self.assertIn("no text files below n", self.run_kindred("index", "-m", self.bert, "n", status=1).err)


if __name__ == "__main__":
    main()
