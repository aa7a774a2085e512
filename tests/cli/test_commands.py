"""The overview, help, kindred compare, kindred model info."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios

from support import BIN, DIM, HIDDEN, CommandTest, cosine, main, png

COMMANDS = ("index", "search", "similar", "recommend", "compare", "embed", "model", "bench")


class Overview(CommandTest):
    def test_alone_it_tells_what_there_is(self):
        for args in ([], ["--help"], ["-h"], ["help"]):
            out = self.run_kindred(*args).out
            for command in COMMANDS:
                self.assertIn(f"\n  {command} ", out)
            self.assertLessEqual(max(map(len, out.splitlines())), 80)

    def test_version(self):
        self.assertRegex(self.run_kindred("--version").out, r"^kindred \d+\.\d+\.\d+\n$")

    def test_every_command_has_help_with_examples(self):
        for command in [*([c] for c in COMMANDS), ["model", "info"], ["model", "list"], ["model", "pull"],
                        ["model", "compare"], ["bench", "search"]]:
            out = self.run_kindred(*command, "--help").out
            self.assertIn(f"Usage: kindred {' '.join(command)}", out)
            self.assertIn(f"\nExamples:\n  kindred {command[0]}", out)
            self.assertLessEqual(max(map(len, out.splitlines())), 80, command)
        self.assertEqual(self.run_kindred("help", "embed").out, self.run_kindred("embed", "-h").out)

    def test_bench_search(self):
        run = self.run_kindred("bench", "search", "-n", "700", "--dim", "24", "--queries", "3", "--rounds", "2", "--json")
        report = json.loads(run.out)
        self.assertEqual([report[k] for k in ("count", "dim", "k", "queries")], [700, 24, 10, 3])
        self.assertEqual([r["by"] for r in report["results"]], ["int8 codes", "bf16 codes", "vectors alone"])
        for r in report["results"]:
            self.assertTrue(0 < r["seconds_min"] <= r["seconds_median"] <= r["seconds_max"])
            self.assertEqual(r["code_bytes"] > 0, r["by"] != "vectors alone")
        self.assertIn("vectors alone", self.run_kindred("bench", "search", "-n", "50", "--rounds", "1").out)
        self.run_kindred("bench", status=2)
        self.run_kindred("bench", "search", "--rounds", "0", status=2)

    def test_common_options(self):
        for command in (["index"], ["search"], ["compare"], ["embed"], ["model", "info"]):
            out = self.run_kindred(*command, "--help").out
            for option in ("--model DIR", "--threads N", "--json", "--help"):
                self.assertIn(option, out)

    def test_unknown_command(self):
        result = self.run_kindred("serch", status=2)
        self.assertIn('unknown command "serch"; did you mean "search"?', result.err)
        self.assertIn("kindred --help", result.err)
        self.assertNotIn("did you mean", self.run_kindred("frobnicate", status=2).err)

    def test_a_full_standard_output_is_an_error(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([BIN, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard output", result.stderr)

    def run_on_terminal(self, *args, **env):
        """What the command writes to a terminal of 100 columns on stderr."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = subprocess.Popen([BIN, *map(str, args)], cwd=self.folder, stdout=subprocess.PIPE, stderr=slave,
                                   env={**os.environ, "TERM": "xterm", **env})
        shown = b""
        # The slave stays open meanwhile: when its last descriptor closes, what wasn't read yet may be lost.
        while True:
            ended = process.poll() is not None
            if select.select([master], [], [], 0 if ended else 0.05)[0]:
                shown += os.read(master, 65536)
            elif ended:
                break
        os.close(slave)
        os.close(master)
        process.communicate(timeout=60)
        return shown.decode()

    def test_progress_on_a_terminal(self):
        picture = png(1, 800, 800) # the work must outlast the time between two drawings
        for i in range(249):
            self.put(f"p/{i}.png", picture + b"%d" % i) # no two alike
        self.put("p/bad.png", picture[:200])
        commands = (["embed", "-m", self.clip, "-o", "out.npy", "p"], ["index", "-m", self.clip, "p"])
        drawn = (r"(\x1b\[K)?(counting [\d,]+|(embedd|index)ing \[[# ]{40}\] \d+/250(  [\d.]+/s)?(  \d+:\d\d left)?"
                 r"(  1 failed)?)\x1b\[K")
        for args in commands:
            shown = self.run_on_terminal(*args, "--threads", "1", LC_ALL="C")
            lines = re.split(r"\r\n|\r", shown)
            self.assertTrue(any("ing [" in line for line in lines), shown)
            for line in lines:
                if "ing " in line:
                    self.assertRegex(line, f"^{drawn}$")
            self.assertRegex(shown, r"\r\x1b\[Kkindred: [^\r\n]*bad.png[^\r\n]*\r\n")
            self.assertEqual(re.split(r"[\r\n]", shown)[-1].replace("\x1b[K", ""), "", shown) # the bar is gone
        for args, env in ((["-q"], {}), ([], {"TERM": "dumb"})):
            shown = self.run_on_terminal(*commands[0], *args, **env)
            self.assertNotIn("embedding", shown)
            self.assertNotIn("\x1b", shown)

    def test_no_escape_sequences_into_pipes(self):
        self.put_pictures("a.png", "b.png")
        for args in (["compare", "-m", self.clip, "a.png", "b.png"], ["embed", "-m", self.clip, "-o", "o.npy", "a.png"],
                     ["index", "-m", self.clip, "a.png"], ["search", "cat"]):
            result = self.run_kindred(*args)
            self.assertNotIn("\x1b", result.out + result.err)
            self.assertNotIn("\r", result.out + result.err)


class Compare(CommandTest):
    def test_cosines_are_those_of_the_vectors(self):
        self.put_pictures("a.png", "b.png")
        rows = self.embed("a.png", "b.png", "-t", "the cat", "--no-normalize")
        found = json.loads(self.run_kindred("compare", "-m", self.clip, "--json", "a.png", "b.png", "the cat").out)
        self.assertEqual(found["inputs"], [{"path": "a.png"}, {"path": "b.png"}, {"text": "the cat"}])
        for i, line in enumerate(found["cosines"]):
            for j, value in enumerate(line):
                self.assertAlmostEqual(value, cosine(rows[i], rows[j]), places=5)
            self.assertAlmostEqual(line[i], 1, places=6)

    def test_table_is_aligned(self):
        self.put_pictures("a.png", "눈길.png")
        out = self.run_kindred("compare", "-m", self.clip, "a.png", "눈길.png", "a snowy road").out
        lines = out.splitlines()
        self.assertEqual(len(lines), 4)
        width = [len(line) + sum(1 for c in line if c > "\u1100") for line in lines]
        self.assertEqual(len(set(width)), 1, out)
        self.assertIn('3  "a snowy road"', lines[3])
        self.assertTrue(lines[1].split()[2].startswith("1.0000"), lines[1])

    def test_long_names_are_cut(self):
        text = "눈" * 300
        out = self.run_kindred("compare", "-m", self.clip, text, "cat").out
        self.assertIn("눈…", out)
        self.assertLess(max(map(len, out.splitlines())), 100)

    def test_a_mistyped_photo_is_not_taken_for_a_text(self):
        self.put_pictures("a.png")
        result = self.run_kindred("compare", "-m", self.clip, "a.png", "b.jpg", status=1)
        self.assertIn("can't open b.jpg: No such file", result.err)
        self.run_kindred("compare", "-m", self.clip, "a.png", "--text", "b.jpg")

    def test_errors(self):
        self.put_pictures("a.png", "p/a.png")
        self.put("bad.jpg", "text")
        for message, status, args in (("at least two", 2, ["a.png"]), ("p is a folder", 2, ["a.png", "p"]),
                                      ("bad.jpg", 1, ["a.png", "bad.jpg"])):
            self.assertIn(message, self.run_kindred("compare", "-m", self.clip, *args, status=status).err)
        result = self.run_kindred("compare", "-m", self.dino, "a.png", "words", status=1)
        self.assertIn("no text tower", result.err)


class ModelInfo(CommandTest):
    def test_clip(self):
        info = json.loads(self.run_kindred("model", "info", self.clip, "--json").out)
        self.assertEqual(info["architecture"], "clip")
        self.assertEqual(info["dim"], DIM)
        self.assertEqual(info["image"], {"layers": 2, "width": HIDDEN, "heads": 2, "patch": 8, "size": 32})
        self.assertEqual(info["text"]["context"], 16)
        self.assertRegex(info["id"], "^[0-9a-f]{64}$")
        out = self.run_kindred("model", "info", self.clip).out
        for part in ("clip", info["id"], f"{DIM} floats", "patches of 8, 32x32 pixels", "text tower"):
            self.assertIn(part, out)

    def test_dinov2(self):
        info = json.loads(self.run_kindred("model", "info", "--json", "-m", self.dino).out)
        self.assertEqual((info["architecture"], info["dim"], info["text"]), ("dinov2", HIDDEN, None))

    def test_errors(self):
        self.assertIn("which model?", self.run_kindred("model", "info", status=2).err)
        self.assertIn("one directory", self.run_kindred("model", "info", "a", "b", status=2).err)
        self.assertIn("unknown", self.run_kindred("model", "frob", status=2).err)


if __name__ == "__main__":
    main()
