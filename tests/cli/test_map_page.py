"""The page of kindred map, in headless Chromium: what it draws, hovering, searching, legend, keys, fingers."""
import json
import unittest

import browser
from support import CommandTest, main
from test_cluster import npy, three_groups
from test_model_compare import Page

NAMES = ["odd/</script><img src=x onerror=alert(1)>.png", "plain/a&b \"c\" 'd'.png"]


class PageTest(CommandTest):
    def write(self, *args):
        self.run_kindred("map", *args, "--html", "map.html", "-q")
        return self.folder / "map.html"

    def write_vectors(self):
        """18 vectors in three classes, with names that must be escaped."""
        self.put("x.npy", npy(three_groups()))
        self.put("names.txt", "".join(f"{name}\n" for name in NAMES + [f"more/item {i}.txt" for i in range(16)]))
        self.put("labels.txt", "".join(f"<b>{'xyz'[i % 3]}\n" for i in range(17)) + "\n")
        return self.write("x.npy", "--names", "names.txt", "--labels-from", "labels.txt")


class MapPage(PageTest):
    def data(self, path):
        text = path.read_text()
        begin = text.index('id="data">') + len('id="data">')
        return json.loads(text[begin:text.index("</script>", begin)])

    def test_text(self):
        """Without a browser: the page holds all, escaped, and is well formed."""
        path = self.write_vectors()
        data = self.data(path)
        self.assertEqual(data["names"], NAMES + [f"more/item {i}.txt" for i in range(16)])
        self.assertEqual(data["folders"], [["", 0]])
        self.assertEqual([c["name"] for c in data["colours"]], ["none", "label", "cluster", "uniqueness"])
        self.assertEqual(data["colours"][data["start"]]["classes"], ["<b>x", "<b>y", "<b>z"])
        self.assertNotIn("<img src=x", path.read_text())
        page = Page(path.read_text())
        self.assertEqual(page.open, [])
        self.assertEqual([link for link in page.links if not link.startswith("data:")], [])

    def test_thumbnails(self):
        self.put_pictures(*(f"photos/{i}.png" for i in range(6)))
        self.put("photos/broken.png", b"no picture")
        args = ["map", "photos", "--model", self.clip, "--html", "map.html", "-q", "--method", "pca"]
        self.run_kindred(*args, status=3)
        data = self.data(self.folder / "map.html")
        self.assertEqual(sorted(data["thumbnails"]), list("012345"))
        self.assertIn("date", [c["name"] for c in data["colours"]])
        self.assertEqual((data["folders"], data["names"]), ([["photos/", 0]], [f"{i}.png" for i in range(6)]))
        self.run_kindred(*args, "--thumbnails", 2, status=3)
        self.assertEqual(len(self.data(self.folder / "map.html")["thumbnails"]), 2)
        self.assertIn("2 of the 6 pictures", "".join(Page((self.folder / "map.html").read_text()).text))

    def test_few(self):
        for rows in ([[1, 2]], [[0, 0]] * 3):
            self.put("x.npy", npy(rows))
            path = self.write("x.npy")
            self.assertEqual(len(self.data(path)["names"]), len(rows))


@unittest.skipUnless(browser.PROGRAM, "no Chromium")
class InBrowser(PageTest):
    PIXELS = """(() => { const c = document.getElementById("map"), d = c.getContext("2d").getImageData(0, 0, c.width,
        c.height).data, colours = {}; for (let i = 0; i < d.length; i += 4) { const k = d.slice(i, i + 3).join();
        colours[k] = (colours[k] || 0) + 1; } return colours; })()"""
    CARD = "(c => c.hidden ? null : c.innerText)(document.getElementById('card'))"
    SETTLED = "new Promise(r => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(r)), 320))"

    def setUp(self):
        super().setUp()
        self.path = self.write_vectors()

    def look(self, **options):
        page = browser.Browser(self.path, **options)
        self.addCleanup(page.__exit__)
        page.value(self.SETTLED)
        return page

    def check_colours(self, page, background):
        """The canvas is mostly of the background, and has the colours of the legend."""
        colours = page.value(self.PIXELS)
        self.assertEqual(max(colours, key=colours.get), background)
        legend = page.value("[...document.querySelectorAll('#legend i')].map(i => getComputedStyle(i).backgroundColor)")
        self.assertEqual(len(set(legend)), 4)
        for colour in legend:
            self.assertGreater(colours.get(colour[4:-1].replace(" ", ""), 0), 5)

    def find_dot(self, page):
        """Where on the screen a dot is."""
        return page.value("""(() => { const c = document.getElementById("map"), box = c.getBoundingClientRect(),
            d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; for (let i = 0; i < d.length; i += 4)
            if (d[i] !== d[0] && Math.abs(d[i] - d[i + 1]) > 60) { const p = i / 4; return [box.left + p % c.width +
            1, box.top + Math.floor(p / c.width) + 2]; } })()""")

    def test_desktop(self):
        page = self.look()
        self.check_colours(page, "255,255,255")
        self.assertIsNone(page.value(self.CARD))
        page.mouse("Moved", *self.find_dot(page))
        self.assertRegex(page.value(self.CARD), r"\.(txt|png)\nlabel: <b>[xyz]\ncluster \d\nuniqueness: ")
        page.mouse("Moved", 30, 880)
        page.wait_for(f"{self.CARD} === null")
        # Moving about changes the picture, and the whole map comes back.
        before = page.value(self.PIXELS)
        page.mouse("Wheel", 600, 500, deltaX=0, deltaY=-600)
        page.drag(600, 500, 420, 430)
        page.value(self.SETTLED)
        self.assertNotEqual(page.value(self.PIXELS), before)
        page.value("document.getElementById('whole').click()")
        page.value(self.SETTLED)
        page.mouse("Moved", 30, 880)
        page.value(self.SETTLED)
        self.assertEqual(page.value(self.PIXELS), before)
        self.assertEqual(page.errors, [])

    def test_search_legend_and_keys(self):
        page = self.look(dark=True)
        self.check_colours(page, "32,33,31")
        page.key("/")
        for letter in "SCRIPT>":
            page.key(letter, letter)
        page.wait_for("document.getElementById('hits').textContent === '1 of 18'")
        page.key("Enter", "\r")
        page.wait_for(f"({self.CARD} || '').includes('onerror')")
        page.key("Escape")
        page.key("Escape")
        page.wait_for("document.getElementById('hits').textContent === ''")
        self.assertEqual(page.value("document.querySelector('#legend').innerText.split('\\n')"),
                         ["<b>x", "6", "<b>y", "6", "<b>z", "5", "none", "1"])
        page.value("document.querySelectorAll('#legend button')[1].click()")
        self.assertEqual(page.value("document.getElementById('hits').textContent"), "6 of 18")
        page.value("{ const s = document.getElementById('colours'); s.value = 3; s.dispatchEvent(new Event('change')); }")
        self.assertEqual(page.value("document.getElementById('hits').textContent"), "")
        self.assertEqual(page.value("document.querySelectorAll('#legend .ends span').length"), 2)
        page.value("document.getElementById('map').focus()")
        for key in ("ArrowLeft", "+", "-", "Enter"):
            page.key(key)
        first = page.value(self.CARD)
        self.assertIn("label: ", first)
        for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
            page.key(key, modifiers=8)
        self.assertEqual(page.errors, [])

    def test_touch(self):
        page = self.look(width=390, height=780, touch=True)
        self.assertEqual(page.value("document.documentElement.scrollWidth"), 390)
        x, y = self.find_dot(page)
        for kind, points in (("Start", [{"x": x, "y": y}]), ("End", [])):
            page.call("Input.dispatchTouchEvent", type="touch" + kind, touchPoints=points)
        page.wait_for(f"({self.CARD} || '').includes('label: ')")
        before = page.value(self.PIXELS)
        for kind, gap in (("Start", 20), ("Move", 60), ("Move", 120), ("End", None)):
            points = [] if gap is None else [{"x": x + gap, "y": y, "id": 0}, {"x": x - gap, "y": y, "id": 1}]
            page.call("Input.dispatchTouchEvent", type="touch" + kind, touchPoints=points)
        page.value(self.SETTLED)
        self.assertNotEqual(page.value(self.PIXELS), before)
        self.assertEqual(page.errors, [])


if __name__ == "__main__":
    main()
