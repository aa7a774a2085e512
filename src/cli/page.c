/* The frame of a page, and what is put into pages. */
#include "cli/page.h"

#include "cli/cli.h"
#include "embed/path_json.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

enum { QUALITY = 82 };

int cli_page_open(const char *path, cli_page *out) {
  return cli_output_open(path, &out->output);
}

void cli_page_close(cli_page *page) {
  cli_output_close(&page->output);
}

/* ---------------------------------------------------------------- pieces */

void cli_put_escaped(FILE *out, const char *text) {
  char *valid = kin_replace_invalid(text);
  for (const char *at = valid ? valid : "?"; *at; at++) {
    unsigned char byte = (unsigned char)*at;
    if (byte == '&')
      fputs("&amp;", out);
    else if (byte == '<')
      fputs("&lt;", out);
    else if (byte == '>')
      fputs("&gt;", out);
    else if (byte == '"')
      fputs("&quot;", out);
    else if (byte < 0x20 || byte == 0x7F)
      fputs("\xEF\xBF\xBD", out);
    else
      putc(byte, out);
  }
  free(valid);
}

void cli_put_base64(FILE *out, const uint8_t *data, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    uint32_t three = (uint32_t)data[i] << 16;
    if (i + 1 < size) three |= (uint32_t)data[i + 1] << 8;
    if (i + 2 < size) three |= data[i + 2];
    putc(digits[three >> 18], out);
    putc(digits[three >> 12 & 63], out);
    putc(i + 1 < size ? digits[three >> 6 & 63] : '=', out);
    putc(i + 2 < size ? digits[three & 63] : '=', out);
  }
}

/* A JPEG of the picture, released with free(); NULL: it can't be read. */
static uint8_t *make_thumbnail(const char *path, uint32_t side, kin_image *image, size_t *size) {
  uint8_t *jpeg = NULL;
  *image = (kin_image){0};
  if (kin_image_thumbnail(path, 0, side, image, NULL) == KIN_OK)
    kin_image_encode_jpeg(image, QUALITY, &jpeg, size, NULL);
  return jpeg;
}

void cli_put_picture(FILE *out, const char *path, const char *alt, uint32_t side) {
  kin_image image;
  size_t size;
  uint8_t *jpeg = make_thumbnail(path, side, &image, &size);
  fputs("<img alt=\"", out);
  cli_put_escaped(out, alt);
  if (jpeg) {
    fprintf(out, "\" width=\"%u\" height=\"%u\" src=\"data:image/jpeg;base64,", image.width, image.height);
    cli_put_base64(out, jpeg, size);
  }
  fputs("\">", out);
  free(jpeg);
  kin_image_free(&image);
}

bool cli_put_thumbnail(FILE *out, const char *path, uint32_t side) {
  kin_image image;
  size_t size;
  uint8_t *jpeg = make_thumbnail(path, side, &image, &size);
  if (jpeg) cli_put_base64(out, jpeg, size);
  free(jpeg);
  kin_image_free(&image);
  return jpeg != NULL;
}

void cli_put_json_string(FILE *out, const char *text) {
  char *valid = kin_replace_invalid(text);
  putc('"', out);
  for (const char *at = valid ? valid : "?"; *at; at++) {
    const unsigned char byte = (unsigned char)*at;
    if (byte < 0x20 || byte == '"' || byte == '\\' || byte == '<' || byte == '>' || byte == '&')
      fprintf(out, "\\u%04x", byte);
    else
      putc(byte, out);
  }
  putc('"', out);
  free(valid);
}

const char *cli_file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

/* ----------------------------------------------------------------- frame */

static const char before_policy[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'";

static const char style_sheet[] =
    ":root{color-scheme:light dark;--page:#f6f6f4;--card:#fff;--text:#1d1d1b;--soft:#62625d;--line:#dededa;"
    "--best:#0b6b3a;--best-back:#e3f4ea;--other:#b3401f}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#161715;--card:#20211f;--text:#ecece8;--soft:#a3a39c;"
    "--line:#3a3b38;--best:#7fdba6;--best-back:#1c3527;--other:#ff9d7a}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--text);font:16px/1.45 system-ui,sans-serif}\n"
    "main{max-width:1320px;margin:0 auto;padding:clamp(12px,3vw,32px)}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}h2{font-size:1.2rem;margin:1.8em 0 .5em}\n"
    "p{margin:.3em 0 .8em;color:var(--soft);overflow-wrap:anywhere}\n"
    "small{display:block;font-weight:400;font-size:.8rem;color:var(--soft)}\n"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.5em .8em;text-align:right;vertical-align:top}\n"
    "tbody tr{border-top:1px solid var(--line)}\n"
    "th:first-child{text-align:left}thead th{overflow-wrap:anywhere;min-width:5.5em}\n"
    "thead th small{overflow-wrap:normal}\n"
    "article{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:0 0 16px}\n"
    ".pictures{list-style:none;margin:0;padding:0;display:grid;gap:10px;"
    "grid-template-columns:repeat(auto-fill,minmax(130px,1fr))}\n"
    ".pictures li{min-width:0;max-width:220px}\n"
    ".pictures img{width:100%;height:auto;aspect-ratio:4/3;object-fit:cover;border-radius:6px;display:block;"
    "background:var(--line);outline:1px solid var(--line);outline-offset:-1px}\n"
    "svg{width:100%;max-width:720px;height:auto;display:block}svg text{font-size:11px;fill:var(--soft)}"
    "svg line{stroke:var(--line)}\n"
    ".texts{margin:0;padding-left:1.2em}.texts li{margin:.25em 0;overflow-wrap:anywhere}\n"
    ".score{font-size:.85rem;font-variant-numeric:tabular-nums}\n"
    ".name{display:block;font-size:.8rem;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}\n"
    ".name b{font-weight:600;color:var(--text)}\n"
    "footer{color:var(--soft);font-size:.8rem;margin-top:24px}\n"
    "@media(max-width:640px){article{padding:12px}table{font-size:.85rem}th,td{padding:.45em .5em}thead "
    "th{min-width:0}small,.score{font-size:.72rem}svg text{font-size:18px}"
    ".pictures{grid-template-columns:repeat(auto-fill,minmax(96px,1fr));gap:8px}}\n";

static FILE *begin(cli_page *page, const char *title, const char *style, const char *more_policy) {
  FILE *out = page->output.file;
  fprintf(out, "%s%s\">\n<link rel=\"icon\" href=\"data:,\"><title>", before_policy, more_policy);
  cli_put_escaped(out, title);
  fprintf(out, "</title>\n<style>\n%s%s</style></head><body><main>\n<h1>", style_sheet, style ? style : "");
  cli_put_escaped(out, title);
  fputs("</h1>\n", out);
  return out;
}

FILE *cli_page_begin(cli_page *page, const char *title, const char *style) {
  return begin(page, title, style, "");
}

FILE *cli_page_begin_with_script(cli_page *page, const char *title, const char *style) {
  return begin(page, title, style, "; script-src 'unsafe-inline'");
}

int cli_page_finish(cli_page *page, const kin_context *context) {
  if (cli_signal()) return cli_stopped();
  fprintf(page->output.file, "<footer>kindred %s, %u thread%s, %s</footer>\n</main></body></html>\n", KINDRED_VERSION,
          kin_context_threads(context), cli_plural(kin_context_threads(context)), kin_context_isa_name(context));
  return cli_output_commit(&page->output);
}
