"""A server that speaks as much of Elasticsearch's REST interface as indexing and searching need, and misbehaves as a
test asks: what a real node can't be made to do at will."""
import http.server
import json
import ssl
import threading


class FakeElastic:
    """`on_request(method, path, count)` may return (code, headers, bytes) to send instead of an answer, or "drop" to
    close the connection in the midst of it; count is how often this path was asked before. `authorization`: the header
    that requests must have. `reject(name)` may return the error of a bulk's document. `fusion`: the (code, answer) to
    searches by a retriever, whose bodies are kept in `fused`; `no_rescoring`: it doesn't know the option."""

    def __init__(self, certificate=None, analyzers=()):
        self.documents, self.mapping, self.requests = {}, None, []
        self.on_request = self.reject = self.authorization = None
        self.fused, self.no_rescoring = [], False
        self.fusion = 400, {"error": {"reason": "unknown retriever [rrf]"}}
        self.analyzers = analyzers
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                outer.handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def count(self, ending):
        return sum(path.split("?")[0].endswith(ending) for path in self.requests)

    def handle(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        path = handler.path.strip("/")
        with self.lock:
            before = self.requests.count(path)
            self.requests.append(path)
            answer = self.on_request(handler.command, path, before) if self.on_request else None
            if answer is None:
                code, value = self.answer(handler, path, body)
                answer = code, {}, json.dumps(value).encode()
        if answer == "drop":
            handler.close_connection = True
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"items\"")
            return
        code, headers, data = answer
        handler.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(data)

    def answer(self, handler, path, body):
        if self.authorization and handler.headers.get("Authorization") != self.authorization:
            return 401, {"error": {"reason": "missing or wrong credentials"}, "status": 401}
        call = path.split("?")[0].split("/")[-1]
        if handler.command == "PUT":
            self.mapping = json.loads(body)["mappings"]
            return 200, {"acknowledged": True}
        if handler.command == "DELETE":
            self.mapping = None
            return 200, {"acknowledged": True}
        if call == "_analyze":
            known = json.loads(body)["analyzer"] in self.analyzers
            return (200, {"tokens": []}) if known else (400, {"error": {"reason": "failed to find global analyzer"}})
        if self.mapping is None:
            return 404, {"error": {"reason": "no such index"}, "status": 404}
        if call == "_mapping":
            return 200, {"photos-000001": {"mappings": self.mapping}}
        if "/_doc/" in path:
            found = self.get(call)
            return (200 if found["found"] else 404), found
        if call == "_refresh":
            return 200, {"_shards": {}}
        if call == "_count":
            return 200, {"count": len(self.documents)}
        if call == "_mget":
            return 200, {"docs": [self.get(name) for name in json.loads(body)["ids"]]}
        if call == "_bulk":
            return 200, {"items": self.bulk(body.decode().splitlines())}
        return self.answer_search(json.loads(body))

    def answer_search(self, body):
        if "retriever" in body:
            self.fused.append(body)
            return self.fusion
        if self.no_rescoring and "rescore_vector" in body.get("knn", {}):
            return 400, {"error": {"reason": "[knn] unknown field [rescore_vector]"}}
        return 200, {"hits": {"hits": self.search(body)}}

    def get(self, name):
        found = name in self.documents
        return {"_id": name, "found": found, **({"_source": self.documents[name]} if found else {})}

    def bulk(self, lines):
        items = []
        lines = iter(lines)
        for line in lines:
            (kind, head), = json.loads(line).items()
            name = head["_id"]
            document = None if kind == "delete" else json.loads(next(lines))
            error = self.reject(name) if self.reject else None
            if error:
                items.append({kind: {"_id": name, "status": error[0], "error": {"reason": error[1]}}})
                continue
            if kind == "delete":
                self.documents.pop(name, None)
            elif kind == "update":
                self.documents.setdefault(name, {}).update(document["doc"])
            else:
                self.documents[name] = document
            items.append({kind: {"_id": name, "status": 200}})
        return items

    def search(self, body):
        def passes(document):
            query = body.get("query", {})
            for part in query.get("bool", {}).get("filter", []) or [query]:
                if "range" in part and "path" in part["range"]:
                    if not part["range"]["path"]["gte"] <= document["path"] < part["range"]["path"]["lt"]:
                        return False
                if "terms" in part and document["sha256"] not in part["terms"].get("sha256", []):
                    return False
                if "term" in part and "item" in part["term"] and document["item"] != part["term"]["item"]:
                    return False
                if "ids" in part and f"{document['item']:016x}" not in part["ids"]["values"]:
                    return False
            return True

        found = sorted((d["path"], name) for name, d in self.documents.items() if passes(d))
        return [{"_id": name, "_score": 0.5, "_source": self.documents[name], "sort": [path, 0],
                 "fields": {"vector": self.documents[name]["vector"],
                            **{key: [self.documents[name][key]] for key in body.get("docvalue_fields", [])}}} for path, name in found[:body.get("size", 10)]]
