/* Finding and loading the module that holds FAISS. */
#include "index/faiss.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "libkindred_faiss.so"
#define REMEDY "install libfaiss-dev and libopenblas-dev, then build again; or search exactly (--ann off)"

/* The folder of the library or program that this code is part of; release with free, NULL: not to be found out. */
static char *own_folder(void) {
  static const char here;
  char path[4096];
  Dl_info info;
  struct link_map *object = NULL;
  if (!dladdr1(&here, &info, (void **)&object, RTLD_DL_LINKMAP) || !object) return NULL;
  if (object->l_name[0] == '/')
    return kin_format("%.*s", (int)(strrchr(object->l_name, '/') - object->l_name), object->l_name);
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1); /* the program's own entry has no name */
  if (n <= 0) return NULL;
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash) return NULL;
  *slash = '\0';
  return kin_strdup(path);
}

/* Where the module lies beside this code: in a build's folder or one below, or installed. NULL: nowhere. */
static char *find_module(void) {
  static const char *const places[] = {"", "/..", "/../" KIN_LIBDIR};
  char *folder = own_folder(), *path = NULL;
  for (size_t i = 0; folder && i < sizeof places / sizeof *places && !path; i++) {
    path = kin_format("%s%s/" MODULE, folder, places[i]);
    if (!path || kin_file_exists(path)) continue;
    free(path);
    path = NULL;
  }
  free(folder);
  return path;
}

static kin_status load(const char *path, const kin_faiss_calls **out, kin_error *err) {
  const kin_faiss_calls *(*module)(void);
  /* NODELETE: OpenMP's and OpenBLAS's threads can't be taken away under them. */
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library) {
    const char *reason = dlerror();
    bool nowhere = strncmp(reason, MODULE, strlen(MODULE)) == 0; /* by its name alone it wasn't found */
    return nowhere ? kin_fail(err, KIN_ERR_UNSUPPORTED, "this build has no FAISS: " REMEDY)
                   : kin_fail(err, KIN_ERR_UNSUPPORTED, "FAISS can't be loaded: %s; " REMEDY, reason);
  }
  void *address = dlsym(library, "kin_faiss_module");
  if (address) memcpy(&module, &address, sizeof module);
  if (!address || module()->interface != KIN_FAISS_INTERFACE)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: of another version of Kindred; install it again", path);
  *out = module();
  return KIN_OK;
}

kin_status kin_faiss_load(const kin_faiss_calls **out, kin_error *err) {
  *out = NULL;
  const char *given = getenv("KINDRED_FAISS");
  if (given && *given) return load(given, out, err);
  char *path = find_module();
  kin_status status = load(path ? path : MODULE, out, err); /* by its name: where the system looks */
  free(path);
  return status;
}
