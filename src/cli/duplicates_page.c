/* kindred duplicates: the page. */
#include "cli/duplicates.h"

#include <stdio.h>
#include <string.h>

enum { MOST_GROUPS = 500, MOST_COPIES = 24 };

/* The best one comes first. */
static const char style[] = ".pictures li:first-child img{outline:3px solid var(--best);outline-offset:-3px}\n"
                            ".pictures li:first-child .score,.texts li:first-child .score{color:var(--best);"
                            "font-weight:600}\n.score{display:block}.texts .score{display:inline}\n"
                            ".pictures img{object-fit:contain}\n";

/* Links are the same file as the one before: their number is told with it. */
static void put_group(FILE *out, const duplicates_job *j, const kin_copy *copies, size_t n) {
  const cli_item *best = duplicates_item(j, copies);
  size_t shown = 0, left = 0;
  fputs("<article>\n", out);
  cli_put_items_begin(out, best);
  for (size_t i = 0; i < n && !cli_signal(); i++) {
    char note[96 + 32];
    size_t links = 0;
    if (copies[i].kind == KIN_COPY_LINK) continue;
    while (i + links + 1 < n && copies[i + links + 1].kind == KIN_COPY_LINK) links++;
    if (shown == MOST_COPIES) {
      left++;
      continue;
    }
    duplicates_note(&copies[i], note);
    if (links) snprintf(note + strlen(note), 32, ", and %zu link%s", links, cli_plural(links));
    cli_put_item(out, duplicates_item(j, &copies[i]), note);
    shown++;
  }
  cli_put_items_end(out, best);
  if (left) fprintf(out, "<p>and %zu more</p>\n", left);
  fputs("</article>\n", out);
}

int duplicates_write_page(const duplicates_job *j, cli_page *page) {
  char items[32];
  const kin_duplicates *found = &j->found;
  const size_t shown = found->n_groups < MOST_GROUPS ? found->n_groups : MOST_GROUPS;
  FILE *out = cli_page_begin(page, "Duplicates", style);
  fprintf(out, "<p>%zu group%s among %s items: %zu cop%s beside the best, %.1f MB. The best of each comes first.</p>\n",
          found->n_groups, cli_plural(found->n_groups), cli_group_digits(j->n, items), j->copies,
          j->copies == 1 ? "y" : "ies", (double)j->bytes / 1e6);
  cli_progress_start("pictures", j->common.quiet);
  for (size_t g = 0; g < shown && !cli_signal(); g++) {
    put_group(out, j, found->copies + found->first[g], found->first[g + 1] - found->first[g]);
    cli_progress_update((cli_progress){.done = g + 1, .total = shown, .worked = g + 1});
  }
  cli_progress_stop();
  if (shown < found->n_groups) fprintf(out, "<p>and %zu more groups</p>\n", found->n_groups - shown);
  return cli_page_finish(page, j->v.session.context);
}
