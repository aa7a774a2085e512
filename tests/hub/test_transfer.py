"""Pulling models from a hub on loopback that refuses, fails or stops: how that ends, and what the next run goes on from."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hub_test  # noqa: E402
from fake_hub import Hub, Repo, git_sha1  # noqa: E402
from hub_test import CLIP, DRIVER, WEIGHTS, noise, HubTest  # noqa: E402


class Access(HubTest):
    def tokens(self, role):
        return {r["token"] for r in self.hub.log if r["role"] == role}

    def test_token_stays_with_its_host(self):
        self.hub.repos["org/clip"].private = True
        self.pull(env={"HF_TOKEN": " hf_secret\n"})
        self.assertEqual(self.tokens("hub"), {"Bearer hf_secret"})
        self.assertEqual(self.tokens("cdn"), {None})

    def test_token_file(self):
        os.makedirs(os.path.join(self.cache, "home"))
        with open(os.path.join(self.cache, "home", "token"), "w") as f:
            f.write("hf_secret\n")
        self.hub.repos["org/clip"].private = True
        self.pull()
        self.hub.log.clear()
        self.refuse("KIN_ERR_NOT_FOUND", args=("token=",))
        self.assertEqual(self.tokens("hub"), {None})

    def test_no_token(self):
        self.hub.repos["org/clip"].private = True
        self.refuse("KIN_ERR_NOT_FOUND", "HTTP 401", "set HF_TOKEN", "private")

    def test_wrong_token(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 401, {})]
        message, _ = self.refuse("KIN_ERR_NOT_FOUND", "HTTP 401", "refuses the access token", env={"HF_TOKEN": "hf_wrong"})
        self.assertNotIn("hf_wrong", message)

    def test_gated(self):
        self.hub.repos["org/clip"].gated = True
        self.refuse("KIN_ERR_NOT_FOUND", "gated", "HTTP 403", "HF_TOKEN")

    def test_not_found(self):
        self.refuse("KIN_ERR_NOT_FOUND", "HTTP 404", name="org/none", env={"HF_TOKEN": "hf_secret"})
        self.refuse("KIN_ERR_NOT_FOUND", "org/clip@v9", "no such revision", name="org/clip@v9")

    def test_token_with_a_line_break(self):
        self.refuse("KIN_ERR_ARGUMENT", "HF_TOKEN", env={"HF_TOKEN": "a\nX-Evil: 1"})
        self.assertEqual(self.hub.log, [])

    def test_bad_endpoint(self):
        for endpoint in ("ftp://127.0.0.1/", "file:///etc", "http://", "http://127.0.0.1/?x=1"):
            got, message, _, _ = self.run_driver_with("pull", "org/clip", "endpoint=" + endpoint)
            self.assertEqual(got, "KIN_ERR_ARGUMENT", message)

    def run_driver_with(self, *args):
        out = subprocess.run([DRIVER, *args, "cache=" + self.cache, "backoff=20"], stdout=subprocess.PIPE, text=True,
                             env=self.environment(), timeout=60).stdout
        return (*out.strip().split("\n")[-1].partition(" ")[::2], None, out)

    def test_nobody_listens(self):
        started = time.monotonic()
        got, message, _, _ = self.run_driver_with("pull", "org/clip", "endpoint=http://127.0.0.1:9", "backoff=20000")
        self.assertEqual(got, "KIN_ERR_IO")
        self.assertIn("can't reach http://127.0.0.1:9", message)
        self.assertLess(time.monotonic() - started, 15)

    def test_offline(self):
        self.refuse("KIN_ERR_IO", "HF_HUB_OFFLINE", env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(self.hub.log, [])

    def test_proxy(self):
        # The hub plays the proxy, too: it serves http://hub.invalid/PATH as it serves PATH.
        process = subprocess.run([DRIVER, "pull", "org/clip", "cache=" + self.cache, "endpoint=http://hub.invalid",
                                  "retries=1", "backoff=20"], stdout=subprocess.PIPE, text=True, timeout=60,
                                 env=self.environment({"http_proxy": self.hub.endpoint, "no_proxy": "127.0.0.1"}))
        self.assertTrue(process.stdout.startswith("KIN_OK"), process.stdout)


class Transfer(HubTest):
    def cdn_faults(self, *faults):
        """For the requests that reach the CDN: the hub's redirect comes before each."""
        self.hub.faults["GET", "model.safetensors"] = [x for f in faults for x in (None, f)]

    def ranges(self):
        return [r["range"] for r in self.hub.requests("cdn", "GET", "model.safetensors")]

    def test_drop_in_mid_file(self):
        self.cdn_faults(("drop", 100_000), ("drop", 50_000))
        directory, notes = self.pull()
        self.assert_pulled(directory)
        self.assertEqual(self.ranges()[0], None)
        resumed = [int(r[6:-1]) for r in self.ranges()[1:]]
        self.assertEqual(len(resumed), 2)
        self.assertTrue(0 < resumed[0] <= 100_000 and resumed[0] < resumed[1] <= 150_000, resumed)
        self.assertIn("next try in", notes)

    def test_more_drops_than_retries_with_progress(self):
        self.cdn_faults(*[("drop", 20_000)] * 9)
        self.assert_pulled(self.pull("org/clip", "retries=2")[0])

    def test_drops_without_progress(self):
        self.cdn_faults(*[("drop", 0)] * 9)
        self.refuse("KIN_ERR_IO", "model.safetensors", "gave up after 3 tries", args=("retries=2",))
        self.assertFalse(os.path.exists(os.path.join(self.folder(), "refs", "main")))
        self.assertEqual(os.listdir(os.path.join(self.folder(), "snapshots")), [])

    def test_server_without_ranges(self):
        self.cdn_faults(("drop", 100_000), ("no-range",))
        self.assert_pulled(self.pull()[0])
        self.assertEqual(len(self.ranges()), 2)

    def test_compressed_all_the_same(self):
        self.hub.sizes = False
        self.hub.faults["HEAD", "config.json"] = [None, ("gzip",)]
        self.refuse("KIN_ERR_FORMAT", "config.json", "doesn't tell its size")
        self.hub.sizes = True
        self.hub.faults["HEAD", "config.json"] = [None, ("gzip",)]
        self.hub.faults["GET", "config.json"] = [None, ("gzip",)]
        self.assert_pulled(self.pull()[0])

    def test_mirror_that_sends_on(self):
        # A mirror's redirect without an ETag: the other host's answer describes the file, and gets no token.
        other = Hub({"org/clip": self.repo})
        self.addCleanup(other.close)
        for method in ("HEAD", "GET"):
            url = "%s/org/clip/resolve/%s/vocab.json" % (other.endpoint, self.repo.commit)
            self.hub.faults[method, "vocab.json"] = [("location", url)]
        self.assert_pulled(self.pull(env={"HF_TOKEN": "hf_secret"})[0])
        self.assertEqual({r["token"] for r in other.log}, {None})
        self.assertTrue(other.log)

    def test_server_errors_then_well(self):
        for end in ("/revision/main", "model.safetensors", "config.json"):
            self.hub.faults["GET", end] = [("status", 503, {}), ("status", 502, {})]
        self.hub.faults["HEAD", "tokenizer.json"] = [("status", 500, {})]
        self.assert_pulled(self.pull()[0])

    def test_server_error_for_good(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 503, {"X-Error-Message": "maintenance"})] * 9
        self.refuse("KIN_ERR_IO", "HTTP 503", "maintenance", "gave up after 3 tries", args=("retries=2",))
        self.assertEqual(len(self.hub.requests("hub", "GET", "/revision/main")), 3)

    def test_client_error_isnt_retried(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 400, {})]
        self.refuse("KIN_ERR_IO", "HTTP 400")
        self.assertEqual(len(self.hub.requests("hub", "GET", "/revision/main")), 1)

    def test_rate_limit(self):
        self.hub.faults["GET", "model.safetensors"] = [("status", 429, {"Retry-After": "1"})]
        self.hub.faults["GET", "/revision/main"] = [("status", 429, {"RateLimit": '"api";r=0;t=1'})]
        started = time.monotonic()
        _, notes = self.pull()
        self.assertGreaterEqual(time.monotonic() - started, 2)
        self.assertIn("next try in 1.0 s", notes)

    def test_rate_limit_too_long(self):
        for header, seconds in ({"Retry-After": "86400"}, 86400), ({"RateLimit": f'"api";r=0;t={2**63 - 1}'}, 2**63 - 1):
            self.hub.faults["GET", "/revision/main"] = [("status", 429, header)]
            self.refuse("KIN_ERR_IO", "HTTP 429", f"wait for {seconds} s")

    def test_stall(self):
        self.cdn_faults(("stall", 20))
        started = time.monotonic()
        self.assert_pulled(self.pull("org/clip", "stall=1")[0])
        self.assertLess(time.monotonic() - started, 15)

    def test_slow(self):
        self.cdn_faults(("slow", 0.1))
        self.assert_pulled(self.pull("org/clip", "stall=1")[0])
        self.assertEqual(len(self.ranges()), 1)

    def test_wrong_contents(self):
        wrong = noise(len(WEIGHTS), 99)
        self.cdn_faults(("body", wrong))
        self.refuse("KIN_ERR_FORMAT", "model.safetensors", hashlib.sha256(wrong).hexdigest(),
                  hashlib.sha256(WEIGHTS).hexdigest())
        self.assertFalse([b for b in self.blobs() if b.startswith(hashlib.sha256(WEIGHTS).hexdigest())])
        self.assert_pulled(self.pull()[0])

    def test_wrong_contents_of_a_small_file(self):
        self.hub.faults["GET", "config.json"] = [None, ("body", b'{"model_type": "evil"}')]
        self.refuse("KIN_ERR_FORMAT", "config.json", "SHA-1", git_sha1(CLIP["config.json"]))

    def test_too_long_and_too_short(self):
        self.cdn_faults(("body", WEIGHTS + b"x"))
        self.refuse("KIN_ERR_FORMAT", "more than the 300000 bytes")
        self.cdn_faults(*[("body", b"")] * 4)
        self.refuse("KIN_ERR_IO", "ended after", args=("retries=1",))

    def test_never_as_long_as_announced(self):
        self.hub.sizes = False
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": str(len(WEIGHTS) + 9)}
        self.refuse("KIN_ERR_IO", "model.safetensors", "gave up after 4 tries", args=("retries=3",))

    def test_sizes_disagree(self):
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": "77"}
        self.refuse("KIN_ERR_FORMAT", "300000", "77")

    def test_hashes_disagree(self):
        self.hub.metadata["model.safetensors"] = {"X-Linked-Etag": '"%s"' % ("0" * 64)}
        self.refuse("KIN_ERR_FORMAT", "two SHA-256")

    def test_other_commit(self):
        self.hub.metadata["model.safetensors"] = {"X-Repo-Commit": "1" * 40}
        self.refuse("KIN_ERR_FORMAT", "asked for commit", "1" * 40)

    def test_etag_that_is_no_file_name(self):
        for etag in ('"../../../evil"', '""', '".."', "\"a/b\""):
            self.hub.metadata["config.json"] = {"ETag": etag}
            self.refuse("KIN_ERR_FORMAT", "ETag")

    def test_damaged_listing(self):
        for listing in (b"<html>", b"[]", b'{"sha": "main", "siblings": []}', b'{"sha": "%s"}' % (b"a" * 40),
                        b'{"sha": "%s", "siblings": [1]}' % (b"a" * 40)):
            self.hub.listing = listing
            self.refuse("KIN_ERR_FORMAT", "org/clip@main")

    def test_redirects(self):
        self.hub.faults["GET", "model.safetensors"] = [("location", self.hub.endpoint + "/x/model.safetensors")] * 99
        self.refuse("KIN_ERR_FORMAT", "more than 10 redirects")
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"):
            self.hub.faults["GET", "model.safetensors"] = [("location", target)]
            self.refuse("KIN_ERR_FORMAT", "refused to follow", target)

    def test_moved_repository(self):
        self.hub.repos["old/clip"] = self.repo
        self.hub.faults["GET", "/revision/main"] = [("location", "/api/models/org/clip/revision/main?blobs=true")]
        self.pull("old/clip", env={"HF_TOKEN": "hf_secret"})
        self.assertEqual({r["token"] for r in self.hub.log if r["role"] == "hub"}, {"Bearer hf_secret"})

    def test_disk_full(self):
        size = 10 ** 18
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": str(size)}
        self.hub.sizes = False
        self.refuse("KIN_ERR_IO", "needs", "MB left", "HF_HUB_CACHE")
        self.assertEqual(self.hub.requests("cdn"), [])


class Interruption(HubTest):
    def incomplete(self):
        return os.path.join(self.folder(), "blobs", hashlib.sha256(WEIGHTS).hexdigest() + ".incomplete")

    def wait_for(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def has(self, size):
        return os.path.exists(self.incomplete()) and os.path.getsize(self.incomplete()) >= size

    def test_kill_and_resume(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.3)]
        process = self.start("pull", "org/clip")
        self.wait_for(lambda: self.has(30_000))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(os.listdir(os.path.join(self.folder(), "snapshots")), [])
        self.assertEqual(self.run_driver("find", "org/clip")[0], "KIN_ERR_NOT_FOUND")
        left = os.path.getsize(self.incomplete())
        self.assert_pulled(self.pull()[0])
        self.assertEqual(self.hub.requests("cdn")[-1]["range"], "bytes=%d-" % left)
        self.assertFalse(os.path.exists(self.incomplete()))

    def test_cancel_and_resume(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.05)]
        self.refuse("KIN_ERR_CANCELLED", args=("cancel_at=100000",))
        self.assertTrue(self.has(50_000))
        self.assert_pulled(self.pull()[0])
        self.assertTrue(self.hub.requests("cdn")[-1]["range"])

    def test_damaged_remainder(self):
        os.makedirs(os.path.dirname(self.incomplete()))
        for remainder in (noise(1000, 50), noise(len(WEIGHTS), 51), noise(len(WEIGHTS) + 9, 52)):
            with open(self.incomplete(), "wb") as f:
                f.write(remainder)
            self.assert_pulled(self.pull()[0])
            os.unlink(os.path.join(os.path.dirname(self.incomplete()), hashlib.sha256(WEIGHTS).hexdigest()))

    def test_complete_remainder(self):
        os.makedirs(os.path.dirname(self.incomplete()))
        with open(self.incomplete(), "wb") as f:
            f.write(WEIGHTS)
        self.assert_pulled(self.pull()[0])
        self.assertEqual(self.hub.requests("cdn"), [])

    def test_two_at_once(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.1)]
        first = self.start("pull", "org/clip")
        self.wait_for(lambda: self.has(1))
        second = self.start("pull", "org/clip")
        for process in (first, second):
            out, notes = process.communicate(timeout=60)
            self.assertTrue(out.startswith("KIN_OK"), out + notes)
        self.assertIn("another process is fetching this file", notes)
        self.assertEqual(len(self.hub.requests("cdn")), 1)
        self.assert_pulled(os.path.join(self.folder(), "snapshots", self.repo.commit))

    def test_lock_of_another_program(self):
        locks = os.path.join(self.cache, ".locks", "models--org--clip")
        os.makedirs(locks)
        path = os.path.join(locks, hashlib.sha256(WEIGHTS).hexdigest() + ".lock")
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start("pull", "org/clip")
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.assertEqual(self.hub.requests("cdn"), [])
            os.unlink(path)  # some locks delete their file as they let go
        out, notes = process.communicate(timeout=60)
        self.assertTrue(out.startswith("KIN_OK"), out + notes)

    def test_read_only_cache(self):
        if os.geteuid() == 0:
            self.skipTest("root writes anywhere")
        os.chmod(self.cache, 0o555)
        self.addCleanup(os.chmod, self.cache, 0o755)
        self.refuse("KIN_ERR_IO", self.cache)


if __name__ == "__main__":
    hub_test.main()
