#!/usr/bin/env python3
"""Approximate search: recall and queries a second of ours, faiss, hnswlib and usearch on the same vectors, in one run.

    python3 -m venv peers && peers/bin/pip install faiss-cpu hnswlib usearch numpy
    cmake --preset release && cmake --build build
    peers/bin/python bench/ann.py --rows 200000 --ann HNSW32 IVF1024,PQ64 --svg recall.svg

For a build against a newer FAISS than the installed one: bench/fetch_faiss.sh, whose head says how.
The vectors are clustered and seeded, made once into --folder (2.1 kB for each, and codes). faiss builds the same index by
the same factory string, hnswlib and usearch a graph of the same degree and the same efforts. Every round measures each
engine at each effort by each number of threads once, in turn, with all queries in one call; the table shows medians.
Nothing else should run meanwhile.
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
import time

import numpy as np

import plot
import scan

EFFORTS = {"HNSW": ("efSearch", (16, 32, 64, 128, 256)), "IVF": ("nprobe", (4, 16, 64, 256))}
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

    any_kind = True

    def __init__(self, options, factory):
        self.options, self.factory, self.kind, self.k = options, factory, kind_of(factory), options.k
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
        self.search(np.empty((1, self.options.dim)), EFFORTS[self.kind][1][0], max(self.options.threads))
        self.resident = resident(self.builder().pid) - before

    def search(self, queries, effort, threads):
        process = self.process(threads)
        probes, ef = (0, effort) if self.kind == "HNSW" else (effort, 0)
        print("ann", probes, ef, file=process.process.stdin, flush=True)
        out = self.options.folder / "ids"
        seconds = process.search(len(queries), out=out)
        return seconds, np.fromfile(out, np.int64).reshape(len(queries), self.options.k)

    def close(self):
        for process in self.processes.values():
            process.close()
        self.processes = {}


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
        faiss.ParameterSpace().set_index_parameter(self.index, EFFORTS[self.kind][0], effort)
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
    """Ids by the exact scan, a row of the table for each number of threads, and the queries."""
    out, rows = options.folder / "ids", []
    for threads in options.threads:
        ours = scan.Ours(argparse.Namespace(**{**vars(options), "threads": threads}), options.rows)
        rates = [options.queries / ours.search(options.queries, out=out) for _ in range(options.rounds + 1)][1:]
        rows.append({"index": "exact", "engine": "kindred", "threads": threads, "recall": 1.0,
                     "queries_per_second": statistics.median(rates), "least": min(rates), "most": max(rates)})
        ours.close()
    exact = np.fromfile(out, np.int64).reshape(options.queries, options.k)
    queries = np.fromfile(f"{ours.path}.queries", np.float32).reshape(-1, options.dim)[:options.queries]
    return exact, rows, queries


def engines_of(options, factory):
    plain = re.fullmatch(r"HNSW\d+", factory)
    return [kind(options, factory) for kind in (Kindred, Faiss, Hnswlib, Usearch)
            if (kind.any_kind or plain) and (not options.engines or kind.name in options.engines)]


def make_indexes(options):
    kept = []

    def vectors():
        if not kept:
            kept.append(scan.read_vectors(options.folder / f"scan-{options.rows}x{options.dim}", options.rows,
                                          options.dim))
        return kept[0]

    scan.Ours(argparse.Namespace(**{**vars(options), "threads": max(options.threads)}), options.rows).close()
    for factory in options.ann:
        for engine in engines_of(options, factory):
            engine.make(vectors)


def measure(options, factory, exact, queries):
    engines = engines_of(options, factory)
    for engine in engines:
        engine.open()
    parameter, efforts = EFFORTS[kind_of(factory)]
    results = {(engine, effort, threads): ([], 0) for engine in engines for effort in efforts
               for threads in options.threads}
    for round_ in range(options.rounds + 1):
        for effort in efforts:
            for threads in options.threads:
                for engine in engines:
                    time.sleep(0.05)  # threads of the one before stop spinning
                    seconds, found = engine.search(queries, effort, threads)
                    if round_:  # the first one reads in
                        rates, _ = results[engine, effort, threads]
                        results[engine, effort, threads] = (rates + [len(queries) / seconds], recall(found, exact))
    rows = [{"index": factory, "engine": engine.name, parameter: effort, "threads": threads, "recall": share,
             "queries_per_second": statistics.median(rates), "least": min(rates), "most": max(rates),
             "build_seconds": engine.seconds, "build_cpu_seconds": engine.cpu_seconds, "bytes": engine.bytes,
             "resident": engine.resident} for (engine, effort, threads), (rates, share) in results.items()]
    for engine in engines:
        engine.close()
    return parameter, rows


def show(parameter, rows):
    print(f"\n{rows[0]['index']}\n  {'engine':10}{'built in':>10}{'of CPU':>9}{'MB':>8}{'resident':>10}{parameter:>10}"
          f"{'threads':>9}{'recall':>9}{'queries/s: min':>17}{'median':>9}{'max':>9}")
    for r in rows:
        print(f"  {r['engine']:10}{r['build_seconds']:9.1f}s{r['build_cpu_seconds']:8.1f}s{r['bytes'] / 1e6:8.0f}"
              f"{r['resident'] / 1e6:10.0f}{r[parameter]:10}{r['threads']:9}{r['recall']:9.4f}{r['least']:17.1f}"
              f"{r['queries_per_second']:9.1f}{r['most']:9.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500, help="at most 1,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="several: measured in turn")
    parser.add_argument("--ann", nargs="+", default=["HNSW32"], metavar="FACTORY")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="only these of kindred, faiss, hnswlib, usearch")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp"), help="where the vectors go")
    parser.add_argument("--build", type=pathlib.Path, default=scan.ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path, help="plot queries a second over recall, by the most threads")
    options = parser.parse_args()
    make_indexes(options)
    if options.build_only:
        return
    exact, report, queries = exact_answer(options)
    print(f"{options.rows:,} x {options.dim}, k = {options.k}, {options.queries} queries at once")
    for r in report:
        print(f"kindred's exact scan, threads: {r['threads']}: {r['queries_per_second']:.1f} queries/s", flush=True)
    for factory in options.ann:
        parameter, rows = measure(options, factory, exact, queries)
        show(parameter, rows)
        report += rows
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.svg:
        lines = {}
        for r in report:
            if r["index"] != "exact" and r["threads"] == max(options.threads):
                lines.setdefault(f"{r['engine']} {r['index']}", []).append((r["recall"], r["queries_per_second"]))
        plot.line_plot(options.svg, f"{options.rows:,} vectors of {options.dim} floats, k = {options.k}, "
                       f"{max(options.threads)} threads", f"recall@{options.k}", "queries a second",
                       {name: sorted(line) for name, line in lines.items()},
                       x_ticks=[t for t in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1) if t >= min(r["recall"] for r in report)])


if __name__ == "__main__":
    main()
