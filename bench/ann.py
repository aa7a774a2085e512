#!/usr/bin/env python3
"""Approximate search: recall and queries a second of ours, faiss, hnswlib and usearch on the same vectors, in one run.

    python3 -m venv peers && peers/bin/pip install faiss-cpu hnswlib usearch numpy
    cmake --preset release && cmake --build build
    peers/bin/python bench/ann.py --rows 200000 --ann HNSW32 IVF1024,PQ64 --svg recall.svg

A million vectors, one engine's index in memory at a time, FAISS 1.12 in ours (bench/fetch_faiss.sh tells how to build it):

    KINDRED_FAISS=$PWD/build-faiss/libkindred_faiss.so peers/bin/python bench/ann.py --rows 1000000 --alone \\
      --threads 1 2 --ann HNSW32 IVF4096,PQ64 --ef 64 128 256 512 1024 --probes 4 16 64 --queries 300 --rounds 2 \\
      --folder FOLDER --json ann.json

The vectors are clustered and seeded, made once into --folder (2.1 kB for each, and codes). faiss builds the same index by
the same factory string, hnswlib and usearch a graph of the same degree and the same efforts; ours is searched by its own
default besides, and of an index of codes also by the order of these alone. Every round measures each engine at each
effort by each number of threads once, in turn, with all queries in one call; the table, of Markdown, shows medians. With
--alone each engine does all its rounds before the next is built, and its lines are printed then. Nothing else should run
meanwhile.
Indexes are built once and stay in --folder, with the seconds that they took, of the clock and of all cores: where other
programs run, only the latter tell. "resident" is what an index takes of memory once loaded, mapped files not counted.
--build-only builds and ends; --engines leaves some out.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import sys
import time

import numpy as np

import plot
import scan

PARAMETERS = {"HNSW": "efSearch", "IVF": "nprobe"}
CONSTRUCTION = 40  # faiss's own efConstruction


def kind_of(factory):
    return "HNSW" if factory.startswith("HNSW") else "IVF"


def degree_of(factory):
    return int(re.match(r"HNSW(\d+)", factory)[1])


def resident(pid="self"):
    """Bytes of memory that are no file's."""
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


class Engine:
    """Has `seconds`, `cpu_seconds`, `bytes` and `resident` of its index, which lies in the file `path` once built."""

    any_kind, label = True, None  # in the table, where it isn't the name

    def __init__(self, options, factory):
        self.options, self.factory, self.kind, self.k = options, factory, kind_of(factory), options.k
        self.efforts = options.ef if self.kind == "HNSW" else options.probes
        self.path = options.folder / f"{self.name}-{options.rows}x{options.dim}-{factory.replace(',', '-')}"
        self.told = self.path.with_suffix(".json")

    def make(self, vectors):
        if self.told.exists():
            return
        self.prepare(vectors)
        start, cpu = time.perf_counter(), self.cpu()
        self.build()
        took = {"seconds": time.perf_counter() - start, "cpu_seconds": self.cpu() - cpu}
        self.save()
        self.told.write_text(json.dumps(took))
        self.close()

    def open(self):
        before = resident()
        self.load()
        took = json.loads(self.told.read_text())
        self.seconds, self.cpu_seconds, self.bytes = took["seconds"], took["cpu_seconds"], self.path.stat().st_size
        self.resident = resident() - before

    def prepare(self, vectors):
        self.vectors = vectors()

    def cpu(self):
        return time.process_time()

    def close(self):
        self.index = self.vectors = None


class Kindred(Engine):
    name = "kindred"

    def __init__(self, options, factory):
        super().__init__(options, factory)
        self.efforts = [*self.efforts, 0]  # its own default
        self.candidates = 0
        self.processes = {}

    def process(self, threads):
        if threads not in self.processes:
            self.processes[threads] = scan.Ours(argparse.Namespace(**{**vars(self.options), "threads": threads}),
                                                self.options.rows)
        return self.processes[threads]

    def prepare(self, _):
        self.builder()

    def builder(self):
        return self.process(max(self.options.threads)).process

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.builder().pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def build(self):
        print("optimize", self.factory, file=self.builder().stdin, flush=True)
        json.loads(self.builder().stdout.readline())

    def file(self):
        return pathlib.Path(f"{self.process(max(self.options.threads)).path}.ann")

    def save(self):
        shutil.copy(self.file(), self.path)

    def load(self):
        shutil.copy(self.path, self.file())

    def open(self):
        super().open()
        before = resident(self.builder().pid)
        self.search(np.empty((1, self.options.dim)), 0, max(self.options.threads))
        self.resident = resident(self.builder().pid) - before

    def search(self, queries, effort, threads):
        process = self.process(threads)
        probes, ef = (0, effort) if self.kind == "HNSW" else (effort, 0)
        print("ann", probes, ef, self.candidates, file=process.process.stdin, flush=True)
        out = self.options.folder / "ids"
        seconds = process.search(len(queries), out=out)
        return seconds, np.fromfile(out, np.int64).reshape(len(queries), self.options.k)

    def close(self):
        for process in self.processes.values():
            process.close()
        self.processes = {}


class KindredAlike(Kindred):
    """The order of the index's own codes, as faiss gives it."""
    label = "kindred, k candidates"

    def __init__(self, options, factory):
        super().__init__(options, factory)
        self.efforts, self.candidates = self.efforts[:-1], options.k


class Faiss(Engine):
    name = "faiss"

    def build(self):
        import faiss
        faiss.omp_set_num_threads(max(self.options.threads))
        self.index = faiss.index_factory(self.options.dim, self.factory, faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(self.index)
        if ivf is not None:
            ivf.cp.max_points_per_centroid = 64  # as many vectors as ours takes
        if ivf is not None and "PQ" in self.factory:
            faiss.downcast_index(ivf).do_polysemous_training = False
        self.index.train(self.vectors)
        self.index.add(self.vectors)

    def save(self):
        import faiss
        faiss.write_index(self.index, str(self.path))

    def load(self):
        import faiss
        self.index = faiss.read_index(str(self.path))

    def search(self, queries, effort, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        faiss.ParameterSpace().set_index_parameter(self.index, PARAMETERS[self.kind], effort)
        start = time.perf_counter()
        found = self.index.search(queries, self.k)[1]
        return time.perf_counter() - start, found


class Hnswlib(Engine):
    name, any_kind = "hnswlib", False

    def build(self):
        import hnswlib
        self.index = hnswlib.Index("ip", self.options.dim)
        self.index.init_index(len(self.vectors), M=degree_of(self.factory), ef_construction=CONSTRUCTION)
        self.index.set_num_threads(max(self.options.threads))
        self.index.add_items(self.vectors)

    def save(self):
        self.index.save_index(str(self.path))

    def load(self):
        import hnswlib
        self.index = hnswlib.Index("ip", self.options.dim)
        self.index.load_index(str(self.path))

    def search(self, queries, effort, threads):
        self.index.set_ef(max(effort, self.k))
        start = time.perf_counter()
        found = self.index.knn_query(queries, self.k, num_threads=threads)[0].astype(np.int64)
        return time.perf_counter() - start, found


class Usearch(Engine):
    name, any_kind = "usearch", False

    def new(self):
        from usearch.index import Index
        return Index(ndim=self.options.dim, metric="ip", dtype="f32", connectivity=degree_of(self.factory),
                     expansion_add=CONSTRUCTION)

    def build(self):
        self.index = self.new()
        self.index.add(np.arange(len(self.vectors)), self.vectors, threads=max(self.options.threads))

    def save(self):
        self.index.save(str(self.path))

    def load(self):
        self.index = self.new()
        self.index.load(str(self.path))

    def search(self, queries, effort, threads):
        self.index.expansion_search = effort
        start = time.perf_counter()
        found = self.index.search(queries, self.k, threads=threads)
        return time.perf_counter() - start, np.asarray(found.keys).astype(np.int64).reshape(len(queries), -1)


def recall(found, exact):
    return sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist())) / exact.size


def exact_answer(options):
    """Ids by the exact scan, lines of the report, and the queries."""
    out, lines = options.folder / "ids", []
    for threads in options.threads:
        ours = scan.Ours(argparse.Namespace(**{**vars(options), "threads": threads}), options.rows)
        rates = [options.queries / ours.search(options.queries, out=out) for _ in range(options.rounds + 1)][1:]
        lines.append({"index": "exact", "engine": "kindred", "threads": threads, "recall": 1.0,
                      "queries_per_second": statistics.median(rates), "least": min(rates), "most": max(rates),
                      "bytes": ours.search(1, which="code_bytes")})
        ours.close()
    exact = np.fromfile(out, np.int64).reshape(options.queries, options.k)
    queries = np.fromfile(f"{ours.path}.queries", np.float32).reshape(-1, options.dim)[:options.queries]
    return exact, lines, queries


def engines_of(options, factory):
    plain = re.fullmatch(r"HNSW\d+", factory)
    codes = [KindredAlike] if re.search(r"PQ|SQ", factory) else []
    return [kind(options, factory) for kind in (Kindred, *codes, Faiss, Hnswlib, Usearch)
            if (kind.any_kind or plain) and (not options.engines or kind.name in options.engines)]


def make_indexes(options, engines):
    kept = []

    def vectors():
        if not kept:
            kept.append(scan.read_vectors(options.folder / f"scan-{options.rows}x{options.dim}", options.rows,
                                          options.dim))
        return kept[0]

    for engine in engines:
        print(f"{engine.factory} of {engine.name}", file=sys.stderr, flush=True)
        engine.make(vectors)


def measure(options, engines, exact, queries):
    for engine in engines:
        engine.open()
    results = {(engine, effort, threads): ([], 0) for engine in engines for effort in engine.efforts
               for threads in options.threads}
    for round_ in range(options.rounds + 1):
        for effort in dict.fromkeys(effort for engine in engines for effort in engine.efforts):
            for threads in options.threads:
                for engine in engines:
                    if effort not in engine.efforts:
                        continue
                    time.sleep(0.05)  # threads of the one before stop spinning
                    seconds, found = engine.search(queries, effort, threads)
                    if round_:  # the first one reads in
                        rates, _ = results[engine, effort, threads]
                        results[engine, effort, threads] = (rates + [len(queries) / seconds], recall(found, exact))
    lines = [{"index": engine.factory, "engine": engine.label or engine.name, PARAMETERS[engine.kind]: effort or "default",
              "threads": threads, "recall": share, "queries_per_second": statistics.median(rates), "least": min(rates),
              "most": max(rates), "build_seconds": engine.seconds, "build_cpu_seconds": engine.cpu_seconds,
              "bytes": engine.bytes, "resident": engine.resident}
             for (engine, effort, threads), (rates, share) in results.items()]
    for engine in engines:
        engine.close()
    return lines


def show_head(options):
    print(f"{options.rows:,} x {options.dim}, k = {options.k}, {options.queries} queries at once, queries a second\n")
    columns = ["index", "engine", "built in", "of CPU", "file", "resident", "effort", f"recall@{options.k}",
               *(f"{threads} thread{'s' * (threads > 1)} (min, max)" for threads in options.threads)]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def show(lines):
    """A line of the table for each effort of an engine, with the rates by all numbers of threads."""
    rows = {}
    for line in lines:
        effort = next((f"{p} {line[p]}" for p in PARAMETERS.values() if p in line), "")
        rows.setdefault((line["index"], line["engine"], effort), []).append(line)
    for (index, engine, effort), same in rows.items():
        one = same[0]
        built = [f"{one[key]:,.0f} s" if key in one else "" for key in ("build_seconds", "build_cpu_seconds")]
        sizes = [f"{one[key] / 1e6:,.0f} MB" if key in one else "" for key in ("bytes", "resident")]
        rates = [f"{r['queries_per_second']:,.0f} ({r['least']:,.0f}, {r['most']:,.0f})" for r in same]
        print(f"| {' | '.join([index, engine, *built, *sizes, effort, format(one['recall'], '.4f'), *rates])} |",
              flush=True)


def plot_recall(options, report):
    curves = {}
    for r in report:
        if r["index"] != "exact" and r["threads"] == max(options.threads) and "default" not in r.values():
            curves.setdefault(f"{r['engine']} {r['index']}", []).append((r["recall"], r["queries_per_second"]))
    plot.line_plot(options.svg, f"{options.rows:,} vectors of {options.dim} floats, k = {options.k}, "
                   f"{max(options.threads)} threads", f"recall@{options.k}", "queries a second",
                   {name: sorted(curve) for name, curve in curves.items()},
                   x_ticks=[t for t in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1) if t >= min(r["recall"] for r in report)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500, help="at most 1,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="several: measured in turn")
    parser.add_argument("--ann", nargs="+", default=["HNSW32"], metavar="FACTORY")
    parser.add_argument("--engines", nargs="+", choices=["kindred", "faiss", "hnswlib", "usearch"], help="only these")
    parser.add_argument("--ef", type=int, nargs="+", default=[16, 32, 64, 128, 256], help="efforts of HNSW")
    parser.add_argument("--probes", type=int, nargs="+", default=[4, 16, 64, 256], help="efforts of IVF")
    parser.add_argument("--alone", action="store_true", help="one engine's index in memory at a time")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp"), help="where the vectors go")
    parser.add_argument("--build", type=pathlib.Path, default=scan.ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path, help="plot queries a second over recall, by the most threads")
    options = parser.parse_args()
    scan.Ours(argparse.Namespace(**{**vars(options), "threads": max(options.threads)}), options.rows).close()
    engines = [engines_of(options, factory) for factory in options.ann]
    groups = [[engine] for group in engines for engine in group] if options.alone else engines
    if options.build_only:
        for group in groups:
            make_indexes(options, group)
        return
    exact, report, queries = exact_answer(options)
    show_head(options)
    show(report)
    for group in groups:
        make_indexes(options, group)
        lines = measure(options, group, exact, queries)
        show(lines)
        report += lines
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.svg:
        plot_recall(options, report)


if __name__ == "__main__":
    main()
