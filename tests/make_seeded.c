/* make_seeded NAME...: make sure that the seeded models lie in the cache, and print their directories. */
#include "seeded.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *dir = seeded_model(argv[i]);
    puts(dir);
    free(dir);
  }
  return 0;
}
