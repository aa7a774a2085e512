"""Every analysis's page in headless Chromium, wide and narrow, light and dark: nothing overflows, and all can be read."""
import itertools
import unittest

import browser
from support import CommandTest, main
from test_cluster import npy, three_groups

# What is wider than the page, but for what scrolls by itself or is cut with an ellipsis.
WIDE = """[...document.querySelectorAll("body *")].filter(e => e.getClientRects().length && !e.closest(".scroll, .name, svg") &&
    e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 100))"""
# Texts whose contrast with what lies behind them is below WCAG's AA, 4.5. Only plain backgrounds are known to it.
FAINT = """(() => {
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = [];
  for (let node; node = texts.nextNode();) {
    const e = node.parentElement, style = getComputedStyle(e);
    if (!node.data.trim() || !e.getClientRects().length || e.closest("script, style")) continue;
    const pair = [light(colour(e.closest("svg") ? style.fill : style.color)), light(behind(e))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) faint.push(contrast.toFixed(2) + " " + node.data.trim().slice(0, 60));
  }
  return faint; })()"""
# Letters below 9 pixels, those of charts as they are drawn.
SMALL = """[...document.querySelectorAll("svg text")].filter(e => parseFloat(getComputedStyle(e).fontSize) *
    e.getScreenCTM().a < 9).map(e => e.textContent)"""


@unittest.skipUnless(browser.PROGRAM, "no Chromium")
class Pages(CommandTest):
    def write_all(self):
        """{page: how it is made}, of pictures with long names where the command takes any."""
        self.put_pictures(*(f"photos/{c}/a photo with quite a long name {i}.png" for c in ("cats", "dogs", "many_legged_beasts")
                            for i in range(4)))
        self.put("photos/copy.png", (self.folder / "photos/cats/a photo with quite a long name 1.png").read_bytes())
        self.put("x.npy", npy(three_groups(20)))
        self.put("names.txt", "".join("anunbrokenname" * 9 + f"{i}\n" for i in range(60)))
        self.put("changes.npy", npy([[1, i % 5, 0.1] for i in range(60)] + [[1, -i % 5, 30] for i in range(60)]))
        see, named = ["--model", self.clip], ["x.npy", "--names", "names.txt"]
        pages = {
            "words": ["classify", "photos", "the cat", "an empty road with snow", "--threshold", "0.5", *see],
            "examples": ["classify", "--knn", "1", "--train", "photos", *see],
            "cluster": ["cluster", "photos", *see], "cluster-names": ["cluster", *named],
            "anomalies": ["anomalies", "photos", *see], "anomalies-names": ["anomalies", *named],
            "recent": ["anomalies", "recent", "changes.npy", "--window", "30"],
            "duplicates": ["duplicates", "photos", *see], "duplicates-names": ["duplicates", *named],
            "sample": ["sample", "photos", *see], "uniqueness": ["sample", *named, "--uniqueness"],
            "map": ["map", "photos", *see], "map-names": ["map", *named],
            "compare": ["model", "compare", self.clip, self.dino, "photos"],
        }
        for name, args in pages.items():
            self.run_kindred(*args, "--html", f"{name}.html", "-q")
        return pages

    def test_all_can_be_read(self):
        pages = self.write_all()
        self.put("blank.html", "<!doctype html>")
        with browser.Browser(self.folder / "blank.html") as b:
            for name, width, dark in itertools.product(pages, (400, 1280), (False, True)):
                b.emulate(width, 800, dark)
                b.open(self.folder / f"{name}.html")
                with self.subTest(page=name, width=width, dark=dark):
                    self.assertLessEqual(b.value("document.documentElement.scrollWidth"), width)
                    self.assertEqual(b.value(WIDE), [])
                    self.assertEqual(b.value(FAINT), [])
                    self.assertEqual(b.value(SMALL), [])
                    self.assertEqual(b.value("[...document.images].filter(i => !i.naturalWidth).length"), 0)
            self.assertEqual(b.errors, [])


if __name__ == "__main__":
    main()
