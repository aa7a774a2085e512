"""Writes fusion.json: what a real server that has the rrf retriever and a licence for it is asked by kindred search
--hybrid, and what it answers; and what it says without a licence and without the retriever.

    python3 tests/data/elastic/record_fusion.py KINDRED HOST:PORT

It was made by Elasticsearch 8.19.21 with its licence module and the rrf retriever, retyped from its public source without
the short form of queries, which isn't asked for: first under a basic licence, then under a trial one. The node that tests
start hasn't got the module rank-rrf, which isn't published."""
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "cli"))
os.environ["KINDRED_BIN"] = sys.argv[1]

import support

SERVER = sys.argv[2]
PICTURES = {"p/snowy_road.png": "a road without people", "p/b.png": "a red lorry on a road", "p/c.png": "the sea",
            "p/road_2.png": "", "p/e.png": "a cat"}


def ask(method, path, body=None):
    request = urllib.request.Request(f"http://{SERVER}/{path}", method=method, data=body,
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Recorder(http.server.BaseHTTPRequestHandler):
    pairs = []

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        code, data = ask(self.command, self.path.strip("/"), body or None)
        if b'"retriever"' in body:
            self.pairs.append({"request": json.loads(body), "code": code, "answer": json.loads(data)})
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *args):
        pass


class Record(support.CommandTest):
    def test_record(self):
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        store = f"elasticsearch://127.0.0.1:{proxy.server_address[1]}/fusion"
        for name, caption in PICTURES.items():
            self.put_pictures(name)
            if caption:
                self.put(f"{name}.txt", caption)
        self.run_kindred("index", "-q", "-m", self.clip, "--store", store, "p")
        search = ("search", "--hybrid", "road", "-n", 4, "--where", "kind = picture", "--json", "--store", store)
        self.run_kindred(*search)
        ask("POST", "_license/start_trial?acknowledge=true")
        self.run_kindred(*search)
        (unlicensed, licensed), nothing = Recorder.pairs, json.dumps({"retriever": {"none": {}}}).encode()
        code, unknown = ask("POST", "fusion/_search", nothing)
        near, worded = licensed["request"]["retriever"]["rrf"]["retrievers"]
        del near["knn"]["query_vector"], worded["standard"]["query"]["bool"]["must"]
        out = {"licensed": licensed, "unlicensed": {key: unlicensed[key] for key in ("code", "answer")},
               "unknown": {"code": code, "answer": json.loads(unknown)}}
        text = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in out.items())
        text = text.replace(str(self.folder), "/photos").replace("[none]", "[rrf]")
        (HERE / "fusion.json").write_text("{" + text + "}\n")


if __name__ == "__main__":
    sys.argv[1:] = []
    support.main()
