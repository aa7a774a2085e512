"""kindred embed: order, formats, bad inputs, interruption."""
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

from support import BIN, DIM, CommandTest, cosine, main, png, read_npy


class Order(CommandTest):
    def test_rows_are_in_the_order_given(self):
        names = self.put_pictures("c.png", "a.png", "b.png")
        together = self.embed(*names)
        self.assertEqual(len(together), 3)
        for name, row in zip(names, together):
            self.assertEqual(self.embed(name), [row])

    def test_different_pictures_differ(self):
        rows = self.embed(*self.put_pictures("a.png", "b.png"))
        self.assertLess(sum(x * y for x, y in zip(*rows)), 0.99)

    def test_folders_are_sorted_by_path(self):
        self.put_pictures("p/b/1.png", "p/a.png", "p/b.png", "p/.hidden.png", "p/.git/1.png", "p/node_modules/1.png",
                          "p/@eaDir/1.png")
        self.put("p/notes.txt", "no picture")
        rows = self.embed("p")
        self.assertEqual(rows, self.embed("p/a.png", "p/b.png", "p/b/1.png"))
        self.assertEqual(len(self.embed("p", "--hidden")), 4)
        self.assertEqual(len(self.embed("p", "--exclude", "b")), 2)

    def test_a_named_file_needs_no_known_ending(self):
        self.put("photo", png(1))
        self.assertEqual(len(self.embed("photo")), 1)

    def test_paths_come_before_texts(self):
        self.put_pictures("a.png")
        self.put("lines.txt", "the cat\nroad")
        rows = self.embed("--texts", "lines.txt", "--text", "x y", "a.png", "-t", "z")
        self.assertEqual(rows, self.embed("a.png") + self.embed("--text", "x y") + self.embed("--text", "z") +
                         self.embed("--text", "the cat") + self.embed("--text", "road"))

    def test_the_same_bits_whatever_batch_threads_and_instructions(self):
        names = self.put_pictures(*(f"{i}.png" for i in range(19)))
        self.put("lines.txt", "".join(f"line {'cat ' * (i % 7)}\n" for i in range(70)))
        args = [*names, "--texts", "lines.txt"]
        avx2 = "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
        rows = self.embed(*args)
        self.assertEqual(len(rows), 89)
        for options in (["--batch", "1"], ["--batch", "17"], ["--threads", "1"], ["--threads", "3"],
                        ["--isa", "scalar"], ["--isa=avx2"] if avx2 else []):
            self.assertEqual(self.embed(*args, *options), rows, options)


class Texts(CommandTest):
    def test_an_empty_line_is_the_empty_text(self):
        self.put("lines.txt", "a\n\nb\n")
        rows = self.embed("--texts", "lines.txt")
        self.assertEqual(len(rows), 3)
        self.assertEqual(rows[1], self.embed("--text", "")[0])

    def test_line_ends(self):
        self.put("unix.txt", "one\ntwo\n")
        self.put("windows.txt", "\ufeffone\r\ntwo\r\n")
        self.put("unfinished.txt", "one\ntwo")
        rows = self.embed("--texts", "unix.txt")
        self.assertEqual(len(rows), 2)
        self.assertEqual(self.embed("--texts", "windows.txt"), rows)
        self.assertEqual(self.embed("--texts", "unfinished.txt"), rows)

    def test_lines_of_the_standard_input(self):
        self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "--texts", "-", stdin=None, input=b"one\ntwo\n")
        self.assertEqual(read_npy(self.folder / "out.npy"), self.embed("-t", "one", "-t", "two"))

    def test_invalid_utf8_names_file_and_line(self):
        self.put("lines.txt", b"good\nbad \xff\xfe\nnul \0 byte\nalso good\n")
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "--texts", "lines.txt", status=3)
        self.assertIn("kindred: lines.txt:2: ", result.err)
        self.assertIn("UTF-8", result.err)
        self.assertIn("kindred: lines.txt:3: ", result.err)
        self.assertEqual(read_npy(self.folder / "out.npy"), self.embed("-t", "good", "-t", "also good"))

    def test_missing_file(self):
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "--texts", "none.txt", status=1)
        self.assertIn("can't open none.txt: No such file", result.err)
        self.assertEqual(self.files(), [])
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "--texts", ".", status=1)
        self.assertIn("can't read .: Is a directory", result.err)


class Formats(CommandTest):
    def setUp(self):
        super().setUp()
        self.inputs = [*self.put_pictures("a.png", "b.png"), "--text", 'a "cat"\t눈']
        self.rows = self.embed(*self.inputs)

    def write(self, name, *options):
        return self.run_kindred("embed", "-m", self.clip, *self.inputs, "-o", name, *options)

    def test_vectors_have_length_one(self):
        for row in self.rows:
            self.assertEqual(len(row), DIM)
            self.assertAlmostEqual(sum(x * x for x in row), 1, places=6)

    def test_no_normalize(self):
        self.write("raw.npy", "--no-normalize")
        for raw, row in zip(read_npy(self.folder / "raw.npy"), self.rows):
            length = sum(x * x for x in raw)**0.5
            self.assertGreater(abs(length - 1), 0.01)
            for x, y in zip(raw, row):
                self.assertAlmostEqual(x / length, y, places=6)

    def check_json_lines(self, text):
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([{k: v for k, v in line.items() if k != "vector"} for line in lines],
                         [{"path": "a.png"}, {"path": "b.png"}, {"text": 'a "cat"\t눈'}])
        for line, row in zip(lines, self.rows):
            self.assertEqual(struct.pack(f"<{DIM}f", *line["vector"]), struct.pack(f"<{DIM}f", *row))

    def test_json_lines(self):
        self.write("out.jsonl")
        self.check_json_lines((self.folder / "out.jsonl").read_text(encoding="utf-8"))

    def test_json_lines_on_the_standard_output(self):
        self.check_json_lines(self.write("-").out)

    def test_safetensors(self):
        self.write("out.safetensors")
        data = (self.folder / "out.safetensors").read_bytes()
        size, = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])
        self.assertEqual(header, {"vectors": {"dtype": "F32", "shape": [3, DIM], "data_offsets": [0, 12 * DIM]}})
        self.assertEqual(data[8 + size:], b"".join(struct.pack(f"<{DIM}f", *row) for row in self.rows))

    def test_fvecs(self):
        self.write("out.fvecs")
        self.assertEqual((self.folder / "out.fvecs").read_bytes(),
                         b"".join(struct.pack(f"<i{DIM}f", DIM, *row) for row in self.rows))

    def test_json_summary(self):
        summary = json.loads(self.write("out.fvecs", "--json").out)
        self.assertEqual((summary["rows"], summary["dim"], summary["skipped"], summary["output"]),
                         (3, DIM, 0, "out.fvecs"))

    def test_quiet_prints_nothing(self):
        result = self.write("out.fvecs", "-q")
        self.assertEqual((result.out, result.err), ("", ""))

    def test_a_path_that_is_not_utf8(self):
        name = b"\xb4\xab.png"
        with open(os.path.join(os.fsencode(self.folder), name), "wb") as f:
            f.write(png(1))
        self.inputs = []
        result = subprocess.run([BIN, "embed", "-m", self.clip, "-o", "-", name], cwd=self.folder, capture_output=True,
                                check=True, timeout=60)
        line = json.loads(result.stdout)
        self.assertEqual(bytes.fromhex(line["path_hex"]), name)


class Precision(CommandTest):
    def test_bf16_is_near_fp32(self):
        names = [*self.put_pictures("a.png", "b.png"), "-t", "the cat"]
        fp32 = self.embed(*names)
        self.assertEqual(self.embed(*names, "--precision", "fp32"), fp32)
        self.assertIn("AVX512-BF16", self.run_kindred("embed", "-m", self.clip, "-o", "x.npy", "--isa", "avx2",
                                                      "--precision", "bf16", *names, status=1).err)
        bf16 = self.embed(*names, "--precision", "bf16", "--isa", "scalar")
        self.assertNotEqual(bf16, fp32)
        for a, b in zip(bf16, fp32):
            self.assertGreater(cosine(a, b), 0.9995)

    def test_int8_is_near_fp32_and_the_same_everywhere(self):
        names = [*self.put_pictures("a.png", "b.png"), "-t", "the cat"]
        fp32, int8 = self.embed(*names), self.embed(*names, "--precision", "int8")
        self.assertNotEqual(int8, fp32)
        self.assertEqual(self.embed(*names, "--precision", "int8", "--isa", "scalar"), int8)
        for a, b in zip(int8, fp32):
            self.assertGreater(cosine(a, b), 0.99)


class BadInputs(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures("p/1.png", "p/4.png")
        self.put("p/2.png", png(2)[:120])
        self.put("p/3.jpg", "this is a text\n")

    def test_bad_files_are_named_and_left_out(self):
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "p", status=3)
        self.assertIn("kindred: p/2.png", result.err)
        self.assertIn("kindred: p/3.jpg", result.err)
        self.assertIn("2 skipped", result.err)
        self.assertEqual(read_npy(self.folder / "out.npy"), self.embed("p/1.png", "p/4.png"))

    def test_the_summary_counts_them(self):
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "p", "--json", status=3)
        summary = json.loads(result.out)
        self.assertEqual((summary["rows"], summary["skipped"]), (2, 2))

    def test_strict_stops_without_a_file(self):
        before = self.files()
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "p", "--strict", status=1)
        self.assertIn("p/2.png", result.err)
        self.assertNotIn("p/3.jpg", result.err)
        self.assertEqual(self.files(), before)

    def test_missing_path(self):
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "none.png", "p/1.png", status=3)
        self.assertIn("can't open none.png: No such file", result.err)
        self.assertEqual(len(read_npy(self.folder / "out.npy")), 1)

    def test_empty_folder(self):
        (self.folder / "empty").mkdir()
        before = self.files()
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "empty", status=1)
        self.assertIn("no pictures in empty", result.err)
        self.assertEqual(self.files(), before)

    def test_folder_without_permission(self):
        self.put_pictures("closed/1.png")
        os.chmod(self.folder / "closed", 0)
        os.chmod(self.folder, 0o777)
        drop = (lambda: os.setuid(65534)) if os.getuid() == 0 else None
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "p/1.png", "closed", status=3,
                                  preexec_fn=drop)
        os.chmod(self.folder / "closed", 0o755)
        self.assertIn("can't read the folder closed/: Permission denied", result.err)
        self.assertEqual(len(read_npy(self.folder / "out.npy")), 1)

    def test_control_characters_do_not_reach_the_terminal(self):
        self.put("p/\x1b[31m.png", "x")
        result = self.run_kindred("embed", "-m", self.clip, "-o", "out.npy", "p", status=3)
        self.assertNotIn("\x1b", result.err)


class FullDisk(CommandTest):
    def test_device(self):
        self.put_pictures("a.png")
        for name in ("full.npy", "full.jsonl", "full.safetensors", "full.fvecs"):
            os.symlink("/dev/full", self.folder / name)
            result = self.run_kindred("embed", "-m", self.clip, "-o", name, "a.png", status=1)
            self.assertIn(f"kindred: can't write {name}: No space left on device", result.err)

    def test_small_file_system(self):
        (self.folder / "disk").mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", self.folder / "disk"],
                               capture_output=True)
        if mount.returncode != 0:
            self.skipTest("a file system can't be mounted here")
        try:
            self.put("lines.txt", "cat\n" * 1000)
            result = self.run_kindred("embed", "-m", self.clip, "-o", "disk/out.npy", "--texts", "lines.txt", status=1)
            self.assertIn("can't write disk/out.npy: No space left on device", result.err)
            self.assertEqual(list((self.folder / "disk").iterdir()), [])
        finally:
            subprocess.run(["umount", self.folder / "disk"], check=True)


class Interruption(CommandTest):
    def start(self, *args):
        return subprocess.Popen([BIN, "embed", "-m", self.clip, *args], cwd=self.folder, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def wait_for_partial(self, process):
        """Until the command has begun its file."""
        end = time.time() + 60
        while not any(name.endswith(".partial") for name in self.files()):
            self.assertIsNone(process.poll())
            self.assertLess(time.time(), end)
            time.sleep(0.01)

    def test_ctrl_c_leaves_no_file(self):
        process = self.start("-o", "out.npy", "--texts", "-")
        process.stdin.write(b"cat\n" * 200)
        process.stdin.flush()
        self.wait_for_partial(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"kindred: stopped", err)
        self.assertEqual(self.files(), [])

    def test_ctrl_c_among_pictures(self):
        picture = png(1)
        for i in range(2000):
            self.put(f"p/{i}.png", picture)
        self.put("out.npy", "old")
        before = self.files()
        process = self.start("-o", "out.npy", "--batch", "1", "--threads", "1", "p")
        self.wait_for_partial(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.files(), before)
        self.assertEqual((self.folder / "out.npy").read_text(), "old")

    def test_terminate(self):
        process = self.start("-o", "out.npy", "--texts", "-")
        self.wait_for_partial(process)
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(self.files(), [])


class Usage(CommandTest):
    def check(self, message, *args, status=2, **options):
        result = self.run_kindred("embed", *args, status=status, **options)
        self.assertIn(message, result.err)
        self.assertEqual(result.out, "")

    def test_mistakes(self):
        model = ["-m", self.clip]
        self.put_pictures("a.png")
        self.check("nothing to embed", *model, "-o", "x.npy")
        self.check("where to?", *model, "a.png")
        self.check("x.txt: the ending must be .npy, .jsonl, .safetensors or .fvecs", *model, "a.png", "-o", "x.txt")
        self.check("which model?", "a.png", "-o", "x.npy")
        self.check("unknown option --strickt; did you mean --strict?", *model, "--strickt")
        self.check("unknown option -Z", *model, "-Z")
        self.check("--output needs an argument", *model, "a.png", "-o")
        for number in ("many", "-1", "1025", "1e3", "", "99999999999999999999"):
            self.check(f'--batch "{number}": expected a whole number, 1024 at most', *model, "--batch", number)
        self.check("--strict takes no argument", *model, "--strict=yes")
        self.check("--json and -o -", *model, "a.png", "-o", "-", "--json")
        self.check("can't make missing/x.npy: No such file", *model, "a.png", "-o", "missing/x.npy", status=1)
        self.check("Try 'kindred embed --help'", *model, "-o", "x.npy")

    def test_texts_need_a_text_tower(self):
        self.check("has no text tower", "-m", self.dino, "-t", "cat", "-o", "x.npy", status=1)

    def test_model_from_the_environment(self):
        self.put_pictures("a.png")
        self.run_kindred("embed", "a.png", "-o", "x.npy", env={"KINDRED_MODEL": str(self.dino)})
        self.assertEqual(len(read_npy(self.folder / "x.npy")[0]), 64)


if __name__ == "__main__":
    main()
