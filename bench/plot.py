"""Line plots as SVG files: logarithmic or linear axes, colours for light and dark pages, nothing to install."""
import html
import math

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 180, 44, 56
LIGHT = ("#0b62c4", "#c4450b", "#2b8a3e", "#8a3ab9", "#b08900", "#5c6770")
DARK = ("#6cb2ff", "#ff9e6b", "#7ddb8f", "#d3a4f5", "#f0cf5a", "#aab4bd")

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.axis { stroke: #57606a; stroke-width: 1 }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
"""


def number(x):
    """1500 -> "1,500", 2000000 -> "2M", 0.001 -> "0.001"."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "")):
        if suffix and abs(x) >= unit:
            return f"{x / unit:g}{suffix}"
    return f"{x:,.10g}"


class Axis:
    """Maps values to pixels, and knows where its ticks are."""

    def __init__(self, values, start, end, log, ticks=None):
        low, high = min(values), max(values)
        self.log = log
        if log:
            self.low, self.high = math.log10(low), math.log10(high)
            pad = 0.04 * (self.high - self.low or 1)
            self.low, self.high = self.low - pad, self.high + pad
        else:
            self.low, self.high = min(0, low), high * 1.05 or 1
        self.start, self.end = start, end
        self.ticks = ticks or (self.log_ticks() if log else self.linear_ticks())

    def at(self, value):
        x = math.log10(value) if self.log else value
        return self.start + (x - self.low) / (self.high - self.low) * (self.end - self.start)

    def log_ticks(self):
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        steps = (1,) if self.high - self.low > 2.5 else (1, 2, 5)
        ticks = [s * 10.0 ** d for d in decades for s in steps]
        return [t for t in ticks if self.low <= math.log10(t) <= self.high]

    def linear_ticks(self):
        rough = (self.high - self.low) / 5
        scale = 10 ** math.floor(math.log10(rough))
        step = next(s * scale for s in (1, 2, 5, 10) if s * scale >= rough)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def spread(positions, gap):
    """Move labels down so that none covers another."""
    out = {}
    last = -math.inf
    for name, y in sorted(positions.items(), key=lambda p: p[1]):
        last = out[name] = max(y, last + gap)
    return out


def line_plot(path, title, x_label, y_label, series, log_x=True, log_y=True, x_ticks=None):
    """series: name -> [(x, y), ...], at most six. Written to `path`."""
    points = [p for line in series.values() for p in line]
    xs = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT, log_x, x_ticks)
    ys = Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP, log_y)
    colours = "".join(f".s{i} {{ stroke: {c} }} .f{i} {{ fill: {c} }}\n" for i, c in enumerate(LIGHT))
    dark = "".join(f".s{i} {{ stroke: {c} }} .f{i} {{ fill: {c} }}\n" for i, c in enumerate(DARK))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
           f"<title>{html.escape(title)}</title>", f"<style>{STYLE}{colours}@media (prefers-color-scheme: dark) {{",
           "text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #8b949e }", f"{dark}}}</style>",
           f'<text class="title" x="{LEFT}" y="24">{html.escape(title)}</text>']
    for t in xs.ticks:
        x = xs.at(t)
        out.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                   f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{number(t)}</text>')
    for t in ys.ticks:
        y = ys.at(t)
        out.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(t)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none"/>'
               f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_label)}</text>'
               f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>')
    labels = spread({name: ys.at(line[-1][1]) for name, line in series.items()}, 16)
    for i, (name, line) in enumerate(series.items()):
        way = "L".join(f"{xs.at(x):.1f} {ys.at(y):.1f}" for x, y in line)
        out.append(f'<path class="line s{i}" d="M{way}"/>')
        out += [f'<circle class="f{i}" cx="{xs.at(x):.1f}" cy="{ys.at(y):.1f}" r="3"/>' for x, y in line]
        out.append(f'<text class="f{i}" x="{WIDTH - RIGHT + 10}" y="{labels[name] + 4:.1f}">{html.escape(name)}</text>')
    out.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out))
