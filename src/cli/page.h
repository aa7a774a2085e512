/* The frame of the pages that commands write: one file with its style and pictures in it, light and dark, that needs
 * no network.
 *
 *   cli_page page;
 *   status = cli_page_open(path, &page);                    before the long work
 *   FILE *out = cli_page_begin(&page, "Clusters", style);   then write the body to `out`
 *   status = cli_page_finish(&page, context);               footer; the file appears
 *   cli_page_close(&page);                                  in any case
 *
 * The frame styles body, headings, p, small, table (in a div.scroll), article, ol.pictures > li, ul.texts > li, .name,
 * .score, footer, svg charts 640 wide with their lines and texts, and defines the colours --page --card --text --soft
 * --line --best --best-back --other. */
#ifndef KIN_CLI_PAGE_H
#define KIN_CLI_PAGE_H

#include "cli/output.h"
#include "kindred.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct cli_page {
  cli_output output;
} cli_page;

/* Each prints its error and returns an exit status. */
int cli_page_open(const char *path, cli_page *out);
/* Write the head; `style` is more CSS, or NULL. `title` is put in <title> and in an <h1>. */
FILE *cli_page_begin(cli_page *page, const char *title, const char *style);
/* The same for a page that has a script of its own, which the body holds in a <script>. */
FILE *cli_page_begin_with_script(cli_page *page, const char *title, const char *style);
int cli_page_finish(cli_page *page, const kin_context *context);
/* Release; what wasn't finished is removed. */
void cli_page_close(cli_page *page);

/* A name as HTML text, fit for attributes too, whatever bytes it holds. */
void cli_put_escaped(FILE *out, const char *text);
void cli_put_base64(FILE *out, const uint8_t *data, size_t size);
/* An <img> with the picture in it, its longer side at most `side` pixels; an empty one where it can't be read. */
void cli_put_picture(FILE *out, const char *path, const char *alt, uint32_t side);
/* The base64 of a JPEG of it alone; false, with nothing written, where it can't be read. */
bool cli_put_thumbnail(FILE *out, const char *path, uint32_t side);
/* A string of JSON, in its quotes, that may stand in a <script>. */
void cli_put_json_string(FILE *out, const char *text);
/* What of a path is behind its last slash. */
const char *cli_file_name(const char *path);

#endif
