"""kindred model pull and list, and models by name, against a hub on loopback."""

import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "cli")]
from fake_hub import Hub, Repo  # noqa: E402
from support import BIN, make_clip  # noqa: E402


class ModelCommand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="kindred-hub-"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        make_clip(folder / "clip")
        cls.files = {p.name: p.read_bytes() for p in (folder / "clip").iterdir()}

    def setUp(self):
        self.cache = tempfile.mkdtemp(prefix="kindred-hub-")
        self.addCleanup(shutil.rmtree, self.cache, True)
        self.repo = Repo(self.files)
        self.hub = Hub({"openai/clip-vit-base-patch32": self.repo})
        self.addCleanup(self.hub.close)

    def start(self, *args, **options):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
        env.update(HF_HUB_CACHE=self.cache, HF_ENDPOINT=self.hub.endpoint, HOME=self.cache, TERM="xterm")
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([BIN, *args], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env, text=True,
                                **options)

    def run_kindred(self, *args, status=0):
        process = self.start(*args)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, out + err)
        return out, err

    def snapshot(self):
        return os.path.join(self.cache, "models--openai--clip-vit-base-patch32", "snapshots", self.repo.commit)

    def test_pull_then_use_by_name(self):
        _, err = self.run_kindred("model", "info", "clip-vit-b-32", status=1)
        self.assertIn("kindred model pull clip-vit-b-32", err)
        out, err = self.run_kindred("model", "pull", "clip-vit-b-32")
        self.assertEqual(out, self.snapshot() + "\n")
        self.assertIn("use it with --model clip-vit-b-32", err)
        for name in ("clip-vit-b-32", "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32@main",
                     "openai/clip-vit-base-patch32@" + self.repo.commit, self.snapshot()):
            out, _ = self.run_kindred("model", "info", name, "--json")
            self.assertEqual(json.loads(out)["architecture"], "clip")
        out, _ = self.run_kindred("compare", "--model", "clip-vit-b-32", "a cat", "the road", "--json")
        self.assertTrue(json.loads(out))

    def test_json(self):
        out, err = self.run_kindred("model", "pull", "openai/clip-vit-base-patch32", "--json")
        told = json.loads(out)
        self.assertEqual(told["directory"], self.snapshot())
        self.assertEqual(told["files"], len(os.listdir(self.snapshot())))
        self.assertEqual(err, "")
        again, _ = self.run_kindred("model", "pull", "openai/clip-vit-base-patch32", "--json")
        self.assertEqual(json.loads(again), told)
        listed = json.loads(self.run_kindred("model", "list", "--json")[0])
        self.assertEqual(len(listed), 1)
        self.assertEqual({k: listed[0][k] for k in ("model", "alias", "commit", "refs", "complete", "directory")},
                         {"model": "openai/clip-vit-base-patch32", "alias": "clip-vit-b-32",
                          "commit": self.repo.commit, "refs": ["main"], "complete": True,
                          "directory": self.snapshot()})
        self.assertEqual(listed[0]["bytes"], told["bytes"])

    def test_list(self):
        out, err = self.run_kindred("model", "list")
        self.assertEqual(out, "")
        for alias in ("clip-vit-b-32", "clip-rn50", "dinov2-small", "dinov2-base", "dinov2-large", "clip-multilingual",
                      "minilm", "e5-small"):
            self.assertIn(alias, err)
            self.assertIn(alias, self.run_kindred("model", "pull", "--help")[0])
        self.assertEqual(json.loads(self.run_kindred("model", "list", "--json")[0]), [])
        self.run_kindred("model", "pull", "clip-vit-b-32", "--quiet")
        head, row = self.run_kindred("model", "list")[0].splitlines()
        self.assertTrue(head.startswith("MODEL"))
        for part in ("openai/clip-vit-base-patch32", self.repo.commit[:12], "MB", "main", "(clip-vit-b-32)"):
            self.assertIn(part, row)

    def test_errors(self):
        _, err = self.run_kindred("model", "pull", status=2)
        self.assertIn("one model", err)
        _, err = self.run_kindred("model", "list", "x", status=2)
        self.assertIn("nothing more", err)
        _, err = self.run_kindred("model", "pull", "org/none", status=1)
        self.assertRegex(err, r"^kindred: org/none@main: .*HTTP 401.*\n$")
        _, err = self.run_kindred("model", "pull", "org/none", "--endpoint", "ftp://x", status=1)
        self.assertIn("--endpoint", err)
        _, err = self.run_kindred("model", "pull", "a b", status=1)
        self.assertIn("ORG/NAME", err)

    def test_interrupt_leaves_no_model(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.3)]
        process = self.start("model", "pull", "clip-vit-b-32")
        deadline = time.monotonic() + 60
        while not self.hub.requests("cdn", "GET", "model.safetensors"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertIn("stopped", err)
        self.assertEqual(json.loads(self.run_kindred("model", "list", "--json")[0]), [])
        self.run_kindred("model", "pull", "clip-vit-b-32")
        self.run_kindred("model", "info", "clip-vit-b-32")

    def test_progress_bar_and_notes(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 429, {"Retry-After": "1"})]
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.05)]
        terminal, theirs = pty.openpty()
        process = self.start("model", "pull", "clip-vit-b-32", stderr=theirs)
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        out, _ = process.communicate(timeout=60)
        os.close(terminal)
        self.assertEqual((process.returncode, out), (0, self.snapshot() + "\n"))
        self.assertIn(b"next try in 1.0 s", seen)
        self.assertIn(b"fetching, MB", seen)


if __name__ == "__main__":
    if not os.access(BIN, os.X_OK):
        print("KINDRED_BIN names no program: run the tests through ctest")
        sys.exit(77)
    unittest.main()
