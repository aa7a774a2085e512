/* libFuzzer target: any bytes through the decoders, the orientation and the preprocessing. */
#include "image/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libdav1d loses a few bytes when an AVIF is damaged; that is not ours to mend. */
const char *__lsan_default_suppressions(void) {
  return "leak:libdav1d.so\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_image image;
  kin_error err;
  if (kin_image_decode(data, size, "fuzz", 1 << 20, &image, &err) != KIN_OK) return 0;
  const kin_preprocess p = {.resize = true,
                            .shortest_edge = 24,
                            .filter = (kin_filter)(size % 4),
                            .center_crop = true,
                            .crop_width = 20 + size % 9,
                            .crop_height = 20 + size % 9};
  uint8_t *out = malloc(p.crop_width * p.crop_height * 3);
  if (out && kin_preprocess_run(&p, &image, out, &err) != KIN_OK && err.status != KIN_ERR_LIMIT) abort();
  free(out);
  kin_image_free(&image);
  return 0;
}
