/* Loads a decoder's shared library at run time. */
#include "image/codec.h"

#include <dlfcn.h>
#include <string.h>

kin_status kin_library_open(const kin_encoded *in, const char *const *names, const char *what, const char *package,
                            const kin_symbol *symbols, size_t n, void **handle, kin_error *err) {
  void *library = NULL;
  /* NODELETE: loading it again for every picture would cost more than the memory it keeps. */
  for (size_t i = 0; names[i] && !library; i++) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: reading %s needs the library %s, which isn't installed: install %s",
                    in->name, what, names[0], package);
  for (size_t i = 0; i < n; i++) {
    void *address = dlsym(library, symbols[i].name);
    if (!address) {
      dlclose(library);
      return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: the installed library for %s lacks %s: update %s", in->name, what,
                      symbols[i].name, package);
    }
    memcpy(symbols[i].function, &address, sizeof address);
  }
  *handle = library;
  return KIN_OK;
}
