/* What preprocessor_config.json (transformers' CLIP and BiT image processors) or open_clip_config.json asks for. */
#include "base/json.h"
#include "image/codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EDGE 8192 /* a longer input edge is surely a mistake in the config */
#define MAX_CONFIG_BYTES ((size_t)1 << 20)

/* The defaults of both processors, for what the config leaves out. */
static const kin_preprocess clip_defaults = {
    .resize = true,
    .shortest_edge = 224,
    .filter = KIN_FILTER_BICUBIC,
    .center_crop = true,
    .crop_width = 224,
    .crop_height = 224,
    .rescale = 1.0F / 255.0F,
    .mean = {0.48145466F, 0.4578275F, 0.40821073F},
    .deviation = {0.26862954F, 0.26130258F, 0.27577711F},
};

/* "CLIPImageProcessor" also ends in "Fast" or "Pil", and was called CLIPFeatureExtractor. */
static kin_status check_type(const json_t *root, const char *file, kin_error *err) {
  static const char *const known[] = {"CLIPImageProcessor", "CLIPFeatureExtractor", "BitImageProcessor",
                                      "BitFeatureExtractor"};
  static const char *const suffixes[] = {"", "Fast", "Pil"};
  const char *type = NULL;
  kin_status status = kin_json_string(root, "image_processor_type", file, &type, err);
  if (status == KIN_OK && !type) status = kin_json_string(root, "feature_extractor_type", file, &type, err);
  if (status != KIN_OK || !type) return status;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    size_t n = strlen(known[i]);
    if (strncmp(type, known[i], n) != 0) continue;
    for (size_t s = 0; s < sizeof suffixes / sizeof suffixes[0]; s++)
      if (strcmp(type + n, suffixes[s]) == 0) return KIN_OK;
  }
  return kin_fail(err, KIN_ERR_UNSUPPORTED,
                  "%s: image processor \"%s\" isn't supported (CLIPImageProcessor and BitImageProcessor are)", file,
                  type);
}

/* Steps of other processors, which would change the pixels. */
static kin_status refuse_other_steps(const json_t *root, const char *file, kin_error *err) {
  static const char *const steps[] = {
      "do_pad", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis", "do_color_quantize", "offset"};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    bool wanted = false;
    kin_status status = kin_json_bool(root, steps[i], file, &wanted, err);
    if (status != KIN_OK) return status;
    if (wanted) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: \"%s\": true isn't supported", file, steps[i]);
  }
  return KIN_OK;
}

/* 224, or {"shortest_edge": 224}, or {"height": 224, "width": 224}. */
static kin_status read_resize(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  const json_t *size = json_object_get(root, "size");
  if (!size || json_is_null(size)) return KIN_OK;
  if (!json_is_object(size)) return kin_json_size(root, "size", file, 1, MAX_EDGE, &p->shortest_edge, err);
  p->shortest_edge = 0;
  kin_status status = kin_json_size(size, "shortest_edge", file, 1, MAX_EDGE, &p->shortest_edge, err);
  if (status == KIN_OK) status = kin_json_size(size, "width", file, 1, MAX_EDGE, &p->resize_width, err);
  if (status == KIN_OK) status = kin_json_size(size, "height", file, 1, MAX_EDGE, &p->resize_height, err);
  if (status != KIN_OK) return status;
  static const char *const others[] = {"longest_edge", "max_height", "max_width"};
  bool other = false;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    const json_t *value = json_object_get(size, others[i]);
    other = other || (value && !json_is_null(value));
  }
  bool exact = p->resize_width && p->resize_height && !p->shortest_edge;
  bool shortest = p->shortest_edge && !p->resize_width && !p->resize_height;
  if (other || (!exact && !shortest))
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: \"size\" must give \"shortest_edge\" alone, or \"height\" and \"width\"", file);
  return KIN_OK;
}

/* 224, or {"height": 224, "width": 224}. */
static kin_status read_crop(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  const json_t *size = json_object_get(root, "crop_size");
  if (!size || json_is_null(size)) return KIN_OK;
  if (!json_is_object(size)) {
    kin_status status = kin_json_size(root, "crop_size", file, 1, MAX_EDGE, &p->crop_width, err);
    p->crop_height = p->crop_width;
    return status;
  }
  p->crop_width = p->crop_height = 0;
  kin_status status = kin_json_size(size, "width", file, 1, MAX_EDGE, &p->crop_width, err);
  if (status == KIN_OK) status = kin_json_size(size, "height", file, 1, MAX_EDGE, &p->crop_height, err);
  if (status == KIN_OK && (!p->crop_width || !p->crop_height))
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: \"crop_size\" must give \"height\" and \"width\"", file);
  return status;
}

/* PIL.Image.Resampling's numbers. */
static kin_status read_filter(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  static const kin_filter filters[] = {KIN_FILTER_NEAREST, KIN_FILTER_LANCZOS, KIN_FILTER_BILINEAR, KIN_FILTER_BICUBIC};
  size_t resample = 3;
  kin_status status = kin_json_size(root, "resample", file, 0, 5, &resample, err);
  if (status != KIN_OK) return status;
  if (resample >= sizeof filters / sizeof filters[0])
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: \"resample\": %zu isn't supported (0 nearest, 1 Lanczos, 2 bilinear and 3 bicubic are)", file,
                    resample);
  p->filter = filters[resample];
  return KIN_OK;
}

/* One number, or one for each of red, green and blue. */
static kin_status read_channels(const json_t *root, const char *key, const char *file, float out[3], kin_error *err) {
  const json_t *value = json_object_get(root, key);
  if (!value || json_is_null(value)) return KIN_OK;
  for (size_t i = 0; i < 3; i++) {
    const json_t *item = json_is_array(value) && json_array_size(value) == 3 ? json_array_get(value, i) : value;
    float number = (float)json_number_value(item);
    if (!json_is_number(item) || !isfinite(number))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" must be three numbers", file, key);
    out[i] = number;
  }
  return KIN_OK;
}

static kin_status read_numbers(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  bool rescale = true, normalize = true;
  double factor = 1.0 / 255.0;
  kin_status status = kin_json_bool(root, "do_rescale", file, &rescale, err);
  if (status == KIN_OK) status = kin_json_float(root, "rescale_factor", file, &factor, err);
  if (status == KIN_OK) status = kin_json_bool(root, "do_normalize", file, &normalize, err);
  if (status == KIN_OK) status = read_channels(root, "image_mean", file, p->mean, err);
  if (status == KIN_OK) status = read_channels(root, "image_std", file, p->deviation, err);
  if (status != KIN_OK) return status;
  p->rescale = rescale ? (float)factor : 1.0F;
  for (size_t i = 0; i < 3; i++) {
    if (!normalize) {
      p->mean[i] = 0.0F;
      p->deviation[i] = 1.0F;
    }
    if (!(p->deviation[i] > 0.0F))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: \"image_std\" must be greater than 0", file);
  }
  return KIN_OK;
}

/* Every photo must come out equally large and square; without a crop the resize has to see to it. */
static kin_status settle_output(const char *file, kin_preprocess *p, kin_error *err) {
  if (!p->center_crop) {
    if (!p->resize || !p->resize_width)
      return kin_fail(err, KIN_ERR_UNSUPPORTED,
                      "%s: without \"do_center_crop\" photos differ in size, unless \"size\" gives height and width",
                      file);
    p->crop_width = p->resize_width;
    p->crop_height = p->resize_height;
  }
  if (p->crop_width != p->crop_height)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: the encoder's input must be square, but is %zu x %zu", file,
                    p->crop_width, p->crop_height);
  return KIN_OK;
}

static kin_status read_config(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  kin_status status = check_type(root, file, err);
  if (status == KIN_OK) status = refuse_other_steps(root, file, err);
  if (status == KIN_OK) status = kin_json_bool(root, "do_resize", file, &p->resize, err);
  if (status == KIN_OK) status = read_resize(root, file, p, err);
  if (status == KIN_OK) status = read_filter(root, file, p, err);
  if (status == KIN_OK) status = kin_json_bool(root, "do_center_crop", file, &p->center_crop, err);
  if (status == KIN_OK) status = read_crop(root, file, p, err);
  if (status == KIN_OK) status = read_numbers(root, file, p, err);
  if (status == KIN_OK) status = settle_output(file, p, err);
  return status;
}

/* open_clip's Resize and CenterCrop, which are torchvision's on a Pillow picture. */
static kin_status read_open_clip(const json_t *root, const char *file, kin_preprocess *p, kin_error *err) {
  const json_t *vision = json_object_get(json_object_get(root, "model_cfg"), "vision_cfg");
  const json_t *config = json_object_get(root, "preprocess_cfg");
  size_t size = 224;
  const char *filter = "bicubic", *mode = "shortest";
  kin_status status = kin_json_size(vision, "image_size", file, 1, MAX_EDGE, &size, err);
  if (status == KIN_OK) status = kin_json_string(config, "interpolation", file, &filter, err);
  if (status == KIN_OK) status = kin_json_string(config, "resize_mode", file, &mode, err);
  if (status == KIN_OK) status = read_channels(config, "mean", file, p->mean, err);
  if (status == KIN_OK) status = read_channels(config, "std", file, p->deviation, err);
  if (status != KIN_OK) return status;
  /* "random" is a choice of training alone. */
  if (!strcmp(filter, "bilinear"))
    p->filter = KIN_FILTER_BILINEAR;
  else if (strcmp(filter, "bicubic") != 0 && strcmp(filter, "random") != 0)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: \"interpolation\" \"%s\" is not bicubic or bilinear", file, filter);
  p->crop_width = p->crop_height = size;
  p->crop_half_even = true;
  if (!strcmp(mode, "shortest")) {
    p->shortest_edge = size;
  } else if (!strcmp(mode, "squash")) {
    p->shortest_edge = 0;
    p->resize_width = p->resize_height = size;
    p->center_crop = false;
  } else {
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: \"resize_mode\" \"%s\" is not shortest or squash", file, mode);
  }
  for (size_t i = 0; i < 3; i++)
    if (!(p->deviation[i] > 0.0F)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"std\" must be greater than 0", file);
  return KIN_OK;
}

static kin_status load(const char *dir, const char *name,
                       kin_status (*read)(const json_t *, const char *, kin_preprocess *, kin_error *),
                       kin_preprocess *out, kin_error *err) {
  char *path = kin_format("%s/%s", dir, name);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", dir);
  json_t *root;
  kin_preprocess p = clip_defaults;
  kin_status status = kin_json_load(path, MAX_CONFIG_BYTES, &root, err);
  if (status == KIN_OK) {
    status = read(root, path, &p, err);
    json_decref(root);
  }
  if (status == KIN_OK) *out = p;
  free(path);
  return status;
}

kin_status kin_preprocess_load(const char *dir, kin_preprocess *out, kin_error *err) {
  return load(dir, "preprocessor_config.json", read_config, out, err);
}

kin_status kin_preprocess_load_open_clip(const char *dir, kin_preprocess *out, kin_error *err) {
  return load(dir, "open_clip_config.json", read_open_clip, out, err);
}

void kin_preprocess_levels(const kin_preprocess *p, float out[3][256]) {
  for (size_t c = 0; c < 3; c++)
    for (size_t level = 0; level < 256; level++)
      out[c][level] = ((float)((double)level * (double)p->rescale) - p->mean[c]) / p->deviation[c];
}

/* The size that the resize step gives. */
static kin_status resized_size(const kin_preprocess *p, uint32_t in_width, uint32_t in_height, uint32_t *width,
                               uint32_t *height, kin_error *err) {
  uint64_t w = in_width, h = in_height;
  if (p->resize && p->shortest_edge) {
    uint64_t shorter = w < h ? w : h, longer = w < h ? h : w;
    uint64_t stretched = p->shortest_edge * longer / shorter;
    if (stretched > INT32_MAX)
      return kin_fail(err, KIN_ERR_LIMIT, "%u x %u pixels are too elongated to resize the shorter edge to %zu",
                      in_width, in_height, p->shortest_edge);
    bool portrait = w < h;
    w = portrait ? p->shortest_edge : stretched;
    h = portrait ? stretched : p->shortest_edge;
  } else if (p->resize) {
    w = p->resize_width;
    h = p->resize_height;
  }
  *width = (uint32_t)w;
  *height = (uint32_t)h;
  return KIN_OK;
}

/* One axis of the reference's center_crop: the crop's first pixel in the picture, how many it takes,
 * and how many zeros come before them where the picture is smaller than the crop. */
typedef struct span {
  uint32_t first, count;
  size_t padding;
} span;

static span crop_span(uint32_t size, size_t crop, bool half_even) {
  if (size >= crop) {
    size_t rest = size - crop, first = rest / 2;
    if (half_even && rest % 2 && first % 2) first++;
    return (span){(uint32_t)first, (uint32_t)crop, 0};
  }
  return (span){0, size, (crop - size + 1) / 2};
}

kin_status kin_preprocess_plan(const kin_preprocess *p, uint32_t width, uint32_t height, uint8_t *out, kin_resize *job,
                               kin_error *err) {
  *job = (kin_resize){.width = width, .height = height, .orientation = 1, .filter = p->filter};
  kin_status status = resized_size(p, width, height, &job->out_width, &job->out_height, err);
  if (status != KIN_OK) return status;
  const span x = crop_span(job->out_width, p->crop_width, p->crop_half_even),
             y = crop_span(job->out_height, p->crop_height, p->crop_half_even);
  job->stride = p->crop_width * 3;
  if (x.count < p->crop_width || y.count < p->crop_height) memset(out, 0, job->stride * p->crop_height);
  job->region = (kin_region){x.first, y.first, x.count, y.count};
  job->out = out + y.padding * job->stride + x.padding * 3;
  return KIN_OK;
}

kin_status kin_preprocess_run(const kin_preprocess *p, const kin_image *image, uint8_t *out, kin_error *err) {
  if (!image->rgb || image->width == 0 || image->height == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "cannot preprocess an empty picture");
  kin_resize job;
  kin_status status = kin_preprocess_plan(p, image->width, image->height, out, &job, err);
  if (status != KIN_OK) return status;
  return kin_image_resize_region(image, job.out_width, job.out_height, job.filter, &job.region, job.out, job.stride,
                                 err);
}
