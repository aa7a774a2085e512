// The module behind faiss.h: FAISS's classes, and the only C++ here. No exception leaves it.
#include "index/faiss.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <faiss/AutoTune.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/VectorTransform.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <memory>
#include <new>
#include <omp.h>
#include <random>
#include <vector>

namespace {

// Thrown through FAISS to stop it.
struct Stopped {};

// OpenMP's number of threads, which belongs to the calling thread, for as long as this lives.
class Threads {
public:
  explicit Threads(unsigned n) : before(omp_get_max_threads()) {
    omp_set_num_threads(static_cast<int>(n));
  }
  ~Threads() {
    omp_set_num_threads(before);
  }
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

private:
  int before;
};

class Progress {
public:
  explicit Progress(const kin_faiss_build &b) : build(b) {
  }
  void begin(const char *name, uint64_t n) {
    stage = name;
    total = n;
    done = 0;
    step(0);
  }
  void step(uint64_t n) {
    done = std::min(done + n, total);
    if (build.on_progress && !build.on_progress(build.user, stage, done, total)) throw Stopped();
  }

private:
  const kin_faiss_build &build;
  const char *stage = "";
  uint64_t done = 0, total = 0;
};

// ------------------------------------------------------------- vectors that stay in the vector file

struct RowsComputer final : faiss::DistanceComputer {
  // With a sign of -1 the nearest are the least, as graphs are made.
  explicit RowsComputer(const kin_faiss_rows &r, float s = 1) : rows(r), sign(s) {
  }
  void set_query(const float *x) override {
    query = x;
  }
  float operator()(int64_t i) override {
    return sign * rows.dot(query, at(i), rows.dim);
  }
  // Four at once, where FAISS asks for that (not 1.7).
  void distances_batch_4(const int64_t i, const int64_t j, const int64_t k, const int64_t l, float &a, float &b,
                         float &c, float &d) {
    const float *const four[4] = {at(i), at(j), at(k), at(l)};
    float out[4];
    rows.dot_four(query, four, rows.dim, out);
    a = sign * out[0], b = sign * out[1], c = sign * out[2], d = sign * out[3];
  }
  float symmetric_dis(int64_t i, int64_t j) override {
    return sign * rows.dot(at(i), at(j), rows.dim);
  }
  const float *at(int64_t i) const {
    return rows.at(rows.file, static_cast<uint64_t>(i));
  }
  const kin_faiss_rows &rows;
  const float *query = nullptr;
  float sign;
};

// The storage of an HNSW index.
struct Rows final : faiss::Index {
  Rows(const kin_faiss_rows &r, int64_t n)
      : faiss::Index(static_cast<int>(r.dim), faiss::METRIC_INNER_PRODUCT), rows(r) {
    ntotal = n;
  }
  void add(int64_t n, const float *) override {
    ntotal += n;
  }
  void reset() override {
    ntotal = 0;
  }
  void search(int64_t, const float *, int64_t, float *, int64_t *, const faiss::SearchParameters *) const override {
    throw faiss::FaissException("rows are searched through their links");
  }
  void reconstruct(int64_t i, float *out) const override {
    std::copy_n(rows.at(rows.file, static_cast<uint64_t>(i)), rows.dim, out);
  }
  faiss::DistanceComputer *get_distance_computer() const override {
    return new RowsComputer(rows);
  }
  const kin_faiss_rows rows;
};

// --------------------------------------------------------------------------------- flat indices inside

// The centres of a flat index, packed for this library's kernels.
class Packed {
public:
  Packed(const faiss::IndexFlat &from, const kin_faiss_rows &r) : rows(r), dim(from.d) {
    if (!from.ntotal) return;
    packed = rows.centres_new(rows.kernels, from.get_xb(), static_cast<size_t>(from.ntotal), static_cast<size_t>(dim),
                              from.metric_type == faiss::METRIC_L2);
    if (!packed) throw std::bad_alloc();
  }
  ~Packed() {
    rows.centres_free(packed);
  }
  Packed(const Packed &) = delete;
  Packed &operator=(const Packed &) = delete;
  explicit operator bool() const {
    return packed;
  }
  void nearest(int64_t n, const float *x, int64_t k, float *distances, int64_t *labels) const {
    bool enough = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : enough) if (n > BLOCK)
    for (int64_t i = 0; i < n; i += BLOCK)
      enough = rows.centres_nearest(packed, x + i * dim, static_cast<size_t>(std::min(BLOCK, n - i)),
                                    static_cast<size_t>(k), distances + i * k, labels + i * k) &&
               enough;
    if (!enough) throw std::bad_alloc();
  }

private:
  static constexpr int64_t BLOCK = 192;
  const kin_faiss_rows rows;
  const int64_t dim;
  kin_centres *packed = nullptr;
};

// Assigns vectors to centres during k-means, and can be stopped.
struct Assigner final : faiss::IndexFlat {
  static constexpr int64_t CHUNK = 8192;
  Assigner(size_t dim, faiss::MetricType metric, const kin_faiss_rows &r, Progress &p)
      : faiss::IndexFlat(static_cast<int>(dim), metric), rows(r), progress(p) {
  }
  void search(int64_t n, const float *x, int64_t k, float *distances, int64_t *labels,
              const faiss::SearchParameters *) const override {
    const Packed packed(*this, rows);
    for (int64_t i = 0; i < n && packed; i += CHUNK) {
      progress.step(0);
      packed.nearest(std::min(CHUNK, n - i), x + i * d, k, distances + i * k, labels + i * k);
    }
    progress.step(1);
  }
  const kin_faiss_rows &rows;
  Progress &progress;
};

// The centres of an IVF index; as good as any other flat index to FAISS.
struct Centres final : faiss::IndexFlat {
  Centres(const faiss::IndexFlat &from, const kin_faiss_rows &r) : faiss::IndexFlat(from), packed(from, r) {
  }
  void search(int64_t n, const float *x, int64_t k, float *distances, int64_t *labels,
              const faiss::SearchParameters *parameters) const override {
    if (packed && !parameters)
      packed.nearest(n, x, k, distances, labels);
    else
      faiss::IndexFlat::search(n, x, k, distances, labels, parameters);
  }
  const Packed packed;
};

// --------------------------------------------------------------------------------- an index's parts

// f(part) for the index and all that it is made of.
template <class F> void visit(faiss::Index *index, const F &f) {
  if (!index) return;
  f(index);
  if (auto *p = dynamic_cast<faiss::IndexPreTransform *>(index)) visit(p->index, f);
  if (auto *p = dynamic_cast<faiss::IndexIDMap *>(index)) visit(p->index, f);
  if (auto *p = dynamic_cast<faiss::IndexHNSW *>(index)) visit(p->storage, f);
  if (auto *p = dynamic_cast<faiss::IndexIVF *>(index)) visit(p->quantizer, f);
  if (auto *p = dynamic_cast<faiss::IndexRefine *>(index)) {
    visit(p->base_index, f);
    visit(p->refine_index, f);
  }
}

faiss::IndexHNSWFlat *as_links(faiss::Index *index) {
  return dynamic_cast<faiss::IndexHNSWFlat *>(index);
}

void put_storage(faiss::IndexHNSW *index, faiss::Index *storage) {
  if (index->own_fields) delete index->storage;
  index->storage = storage;
  index->own_fields = true;
}

// Where the index compares whole vectors, let it do so by this library's means.
void adopt(faiss::Index *index, const kin_faiss_rows &rows) {
  if (auto *links = as_links(index)) put_storage(links, new Rows(rows, links->ntotal));
  visit(index, [&](faiss::Index *part) {
    auto *ivf = dynamic_cast<faiss::IndexIVF *>(part);
    auto *flat = ivf && ivf->own_fields ? dynamic_cast<faiss::IndexFlat *>(ivf->quantizer) : nullptr;
    if (!flat || flat->metric_type != faiss::METRIC_INNER_PRODUCT) return;
    ivf->quantizer = new Centres(*flat, rows);
    delete flat;
  });
}

// ------------------------------------------------------------------------------------- training, filling

// Product quantizers; not the polysemous training, which takes minutes and helps none of these searches.
faiss::ProductQuantizer *quantizer_of(faiss::Index *part) {
  if (auto *p = dynamic_cast<faiss::IndexIVFPQ *>(part)) {
    p->do_polysemous_training = false;
    return &p->pq;
  }
  if (auto *p = dynamic_cast<faiss::IndexPQ *>(part)) {
    p->do_polysemous_training = false;
    return &p->pq;
  }
  return nullptr;
}

// Vectors enough for every k-means inside: 64 for each list, and 256 for each of a quantizer's 256 centres.
uint64_t sample_size(faiss::Index *index, uint64_t rows) {
  uint64_t wanted = 65536;
  visit(index, [&](faiss::Index *part) {
    if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(part)) wanted = std::max<uint64_t>(wanted, 64 * ivf->nlist);
  });
  return std::min(wanted, rows);
}

void copy_rows(const kin_faiss_rows &rows, uint64_t first, uint64_t n, uint64_t stride_of, uint64_t stride_to,
               std::vector<float> &out) {
  out.resize(n * rows.dim);
  for (uint64_t i = 0; i < n; i++)
    std::copy_n(rows.at(rows.file, first + i * stride_of / stride_to), rows.dim, out.data() + i * rows.dim);
}

// The parts that are trained by k-means, made to report, to stop and not to write warnings, while this lives.
class Training {
public:
  Training(faiss::Index *trained, const kin_faiss_rows &r, Progress &p) : index(trained), rows(r), progress(p) {
    visit(index, [this](faiss::Index *part) { prepare(part); });
    progress.begin("training", iterations);
  }
  ~Training() {
    visit(index, [](faiss::Index *part) {
      if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(part)) ivf->clustering_index = nullptr;
      if (auto *pq = quantizer_of(part)) pq->assign_index = nullptr;
      if (auto *opq = rotation_of(part)) opq->pq = nullptr;
    });
  }
  Training(const Training &) = delete;
  Training &operator=(const Training &) = delete;

private:
  void prepare(faiss::Index *part) {
    if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(part)) {
      ivf->clustering_index = assigner(static_cast<size_t>(ivf->d), ivf->metric_type);
      ivf->cp.min_points_per_centroid = 1;
      iterations += static_cast<uint64_t>(ivf->cp.niter);
    }
    if (auto *pq = quantizer_of(part)) {
      prepare(*pq);
      iterations += pq->M * static_cast<uint64_t>(pq->cp.niter);
    }
    if (auto *opq = rotation_of(part)) {
      quantizers.push_back(
          std::make_unique<faiss::ProductQuantizer>(static_cast<size_t>(opq->d_out), static_cast<size_t>(opq->M), 8));
      opq->pq = quantizers.back().get();
      prepare(*opq->pq);
      iterations += opq->pq->M * static_cast<uint64_t>(opq->niter_pq_0 + opq->niter * (opq->niter_pq + 1));
    }
  }
  void prepare(faiss::ProductQuantizer &pq) {
    pq.assign_index = assigner(pq.dsub, faiss::METRIC_L2);
    pq.cp.min_points_per_centroid = 1;
  }
  Assigner *assigner(size_t dim, faiss::MetricType metric) {
    assigners.push_back(std::make_unique<Assigner>(dim, metric, rows, progress));
    return assigners.back().get();
  }
  static faiss::OPQMatrix *rotation_of(faiss::Index *part) {
    auto *p = dynamic_cast<faiss::IndexPreTransform *>(part);
    return p && !p->chain.empty() ? dynamic_cast<faiss::OPQMatrix *>(p->chain[0]) : nullptr;
  }
  faiss::Index *index;
  const kin_faiss_rows &rows;
  Progress &progress;
  uint64_t iterations = 0;
  std::vector<std::unique_ptr<Assigner>> assigners;
  std::vector<std::unique_ptr<faiss::ProductQuantizer>> quantizers;
};

void train(faiss::Index *index, const kin_faiss_rows &rows, uint64_t n, Progress &progress) {
  if (index->is_trained) return;
  std::vector<float> sample;
  const uint64_t size = sample_size(index, n);
  copy_rows(rows, 0, size, n, size, sample);
  const Training training(index, rows, progress);
  index->train(static_cast<int64_t>(size), sample.data());
}

kin_links view(faiss::IndexHNSWFlat &index) {
  faiss::HNSW &hnsw = index.hnsw;
  return {hnsw.neighbors.data(),
          hnsw.offsets.data(),
          hnsw.cum_nneighbor_per_level.data(),
          static_cast<int>(hnsw.entry_point),
          hnsw.max_level,
          static_cast<uint64_t>(index.ntotal)};
}

// Makes the graph of an HNSW index: the few rows whose highest level is above the lowest are linked
// by FAISS, the others by graph.h.
class Linker {
public:
  Linker(faiss::IndexHNSWFlat &to, const kin_faiss_rows &r) : index(to), rows(r) {
  }
  ~Linker() {
    rows.graph_free(graph);
  }
  Linker(const Linker &) = delete;
  Linker &operator=(const Linker &) = delete;
  void add(uint64_t first, uint64_t n) {
    index.hnsw.prepare_level_tab(n);
    index.storage->add(static_cast<int64_t>(n), nullptr);
    index.ntotal += static_cast<int64_t>(n);
    std::vector<std::vector<int32_t>> levels(1);
    for (uint64_t row = first; row < first + n; row++) {
      const auto level = static_cast<size_t>(index.hnsw.levels[row] - 1);
      if (levels.size() <= level) levels.resize(level + 1);
      levels[level].push_back(static_cast<int32_t>(row));
    }
    std::vector<omp_lock_t> locks(static_cast<size_t>(index.ntotal));
    for (auto &lock : locks) omp_init_lock(&lock);
    std::mt19937 random(789);
    for (size_t level = levels.size(); level-- > 0;) {
      std::shuffle(levels[level].begin(), levels[level].end(), random); // neighbours in the file aren't added at once
      if (level == 0 && index.hnsw.max_level > 0)
        link_lowest(levels[level]);
      else
        link(levels[level], static_cast<int>(level), locks);
    }
    for (auto &lock : locks) omp_destroy_lock(&lock);
  }

private:
  void link_lowest(const std::vector<int32_t> &list) {
    const kin_links links = view(index);
    const bool ready = graph ? rows.graph_renew(graph, &links)
                             : (graph = rows.graph_new(rows.context, rows.file, &links, nullptr, 0)) != nullptr;
    if (!ready || !rows.graph_link(graph, list.data(), list.size(), static_cast<size_t>(index.hnsw.efConstruction)))
      throw std::bad_alloc();
  }
  // What IndexHNSW::add does.
  void link(const std::vector<int32_t> &list, int level, std::vector<omp_lock_t> &locks) {
    const auto n = static_cast<int64_t>(list.size());
#pragma omp parallel if (n > 100)
    {
      faiss::VisitedTable visited(static_cast<int>(index.ntotal));
      RowsComputer distance(rows, -1);
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < n; i++) {
        const int32_t row = list[static_cast<size_t>(i)];
        distance.set_query(distance.at(row));
        index.hnsw.add_with_locks(distance, level, row, locks, visited);
      }
    }
  }
  faiss::IndexHNSWFlat &index;
  const kin_faiss_rows &rows;
  kin_graph *graph = nullptr;
};

// In steps that grow with a graph: each costs some time for every row that is there already.
void fill(faiss::Index *index, const kin_faiss_rows &rows, uint64_t n, Progress &progress) {
  std::vector<float> vectors;
  faiss::IndexHNSWFlat *const links = as_links(index);
  std::unique_ptr<Linker> linker;
  if (links) linker = std::make_unique<Linker>(*links, rows);
  progress.begin("adding", n);
  for (uint64_t row = 0, step; row < n; row += step) {
    step = std::min(std::max<uint64_t>(1024, links ? row / 100 : std::min<uint64_t>(row, 8192)), n - row);
    if (linker) {
      linker->add(row, step);
    } else {
      copy_rows(rows, row, step, 1, 1, vectors);
      index->add(static_cast<int64_t>(step), vectors.data());
    }
    progress.step(step);
  }
}

// ------------------------------------------------------------------------------------------------- files

struct Writer final : faiss::IOWriter {
  size_t operator()(const void *data, size_t size, size_t n) override {
    return write(user, data, size * n) ? n : 0;
  }
  bool (*write)(void *user, const void *data, size_t size) = nullptr;
  void *user = nullptr;
};

struct Reader final : faiss::IOReader {
  size_t operator()(void *out, size_t size, size_t n) override {
    const size_t whole = size ? std::min(n, left / size) : 0;
    std::copy_n(data, whole * size, static_cast<uint8_t *>(out));
    data += whole * size;
    left -= whole * size;
    return whole;
  }
  const uint8_t *data = nullptr;
  size_t left = 0;
};

// ------------------------------------------------------------------------------------------------ errors

// FAISS's message without the place in its source.
const char *reason(const std::exception &e) {
  const char *text = e.what(), *colon = nullptr;
  for (const char *c = text; (c = std::strstr(c, ": ")); c += 2) colon = c + 2;
  return colon && *colon ? colon : text;
}

template <class F> kin_status guard(kin_error *err, kin_status failure, const char *what, const F &f) {
  try {
    f();
    return KIN_OK;
  } catch (const Stopped &) {
    return kin_fail(err, KIN_ERR_CANCELLED, "stopped");
  } catch (const std::bad_alloc &) {
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %s", what);
  } catch (const std::exception &e) {
    return kin_fail(err, failure, "%s: FAISS says: %s", what, reason(e));
  } catch (...) {
    return kin_fail(err, failure, "%s: FAISS failed", what);
  }
}

} // namespace

struct kin_faiss {
  std::unique_ptr<faiss::Index> index;
};

namespace {

kin_status make(const kin_faiss_rows *rows, const kin_faiss_build *build, kin_faiss **out, kin_error *err) {
  *out = nullptr;
  return guard(err, KIN_ERR_ARGUMENT, build->factory, [&] {
    const Threads threads(build->threads);
    Progress progress(*build);
    auto made = std::make_unique<kin_faiss>();
    made->index.reset(faiss::index_factory(static_cast<int>(rows->dim), build->factory, faiss::METRIC_INNER_PRODUCT));
    adopt(made->index.get(), *rows);
    train(made->index.get(), *rows, build->rows, progress);
    adopt(made->index.get(), *rows);
    fill(made->index.get(), *rows, build->rows, progress);
    *out = made.release();
  });
}

kin_status write(kin_faiss *faiss, bool (*write)(void *user, const void *data, size_t size), void *user,
                 kin_error *err) {
  faiss::IndexHNSWFlat *links = as_links(faiss->index.get());
  faiss::Index *storage = links ? links->storage : nullptr;
  kin_status status = guard(err, KIN_ERR_IO, "the index can't be written", [&] {
    faiss::IndexFlat none(faiss->index->d, faiss::METRIC_INNER_PRODUCT);
    Writer writer;
    writer.write = write;
    writer.user = user;
    if (links) links->storage = &none;
    faiss::write_index(faiss->index.get(), &writer);
  });
  if (links) links->storage = storage;
  return status;
}

kin_status read(const kin_faiss_rows *rows, const uint8_t *data, size_t size, kin_faiss **out, kin_error *err) {
  *out = nullptr;
  return guard(err, KIN_ERR_FORMAT, "the index can't be read", [&] {
    Reader reader;
    reader.data = data;
    reader.left = size;
    auto made = std::make_unique<kin_faiss>();
    made->index.reset(faiss::read_index(&reader));
    if (static_cast<size_t>(made->index->d) != rows->dim) throw faiss::FaissException("another number of floats");
    adopt(made->index.get(), *rows);
    *out = made.release();
  });
}

void release(kin_faiss *faiss) {
  delete faiss;
}

uint64_t count(const kin_faiss *faiss) {
  return static_cast<uint64_t>(faiss->index->ntotal);
}

void describe(const kin_faiss *faiss, kin_faiss_kind *out) {
  faiss::Index *index = faiss->index.get();
  *out = {};
  out->lossless =
      as_links(index) || dynamic_cast<faiss::IndexFlat *>(index) || dynamic_cast<faiss::IndexIVFFlat *>(index);
  visit(index, [out](faiss::Index *part) {
    if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(part)) out->lists = ivf->nlist;
    if (dynamic_cast<faiss::IndexHNSW *>(part)) out->graph = true;
  });
}

bool get_links(const kin_faiss *faiss, kin_links *out) {
  faiss::IndexHNSWFlat *links = as_links(faiss->index.get());
  if (!links || links->ntotal == 0) return false;
  *out = view(*links);
  return true;
}

kin_status set_effort(kin_faiss *faiss, size_t probes, size_t ef, kin_error *err) {
  return guard(err, KIN_ERR_ARGUMENT, "the effort of the search", [&] {
    visit(faiss->index.get(), [&](faiss::Index *part) {
      if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(part)) ivf->nprobe = std::min(ivf->nlist, probes);
      if (auto *hnsw = dynamic_cast<faiss::IndexHNSW *>(part)) hnsw->hnsw.efSearch = static_cast<int>(ef);
    });
  });
}

kin_status search(const kin_faiss *faiss, const float *queries, size_t n, size_t k, int64_t *rows, kin_error *err) {
  return guard(err, KIN_ERR_ARGUMENT, "the search", [&] {
    const Threads alone(1);
    std::vector<float> scores(n * k);
    faiss->index->search(static_cast<int64_t>(n), queries, static_cast<int64_t>(k), scores.data(), rows);
  });
}

} // namespace

const kin_faiss_calls *kin_faiss_module(void) {
  static const kin_faiss_calls calls = {KIN_FAISS_INTERFACE, make,       write, read, release, count, describe,
                                        get_links,           set_effort, search};
  return &calls;
}
