"""Boxes of data joined by arrows that carry the names of methods, as SVG."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

COLORS = dict(own='#b45309', may='#1d4ed8', fixed='#374151', config='#047857', note='#6b7280')
MEANING = dict(
    own='every class supplies it',
    may='some classes override it',
    fixed='no class overrides it',
    config='built from the config',
)
LINE = 18  # pixels from one line of text to the next
CHAR = 7.3  # width in pixels of a monospaced character of 12 pixels


@dataclass
class Label:
    """A line beside an arrow.

    Attributes:
        name: ``Class.method``, of which the class is left out in the picture where it is the diagram's own; or a part.
        note: What it does with what.
        kind: One of ``MEANING``; None to look at who overrides the method.
    """

    name: str
    note: str = ''
    kind: str | None = None


@dataclass
class Node:
    """A box: the data between two steps."""

    title: str
    text: str = ''


@dataclass
class Box:
    """The rectangle that a node was drawn as."""

    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


@dataclass
class Canvas:
    """An SVG that grows downward.

    Attributes:
        width: In pixels.
        owner: The class whose methods go without its name.
        kind_of: Name -> one of ``MEANING``.
        names: All names drawn.
    """

    width: int
    owner: str
    kind_of: Callable[[str], str]
    parts: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    height: float = 0

    def node(self, x: float, y: float, width: float, node: Node) -> Box:
        """Draw a box."""
        box = Box(x, y, width, 46 if node.text else 30)
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{box.height}" rx="6" fill="#f3f4f6" stroke="#9ca3af"/>'
        )
        self.text(x + 12, y + 20, node.title, '#111827', size=13, bold=True)
        if node.text:
            self.text(x + 12, y + 37, node.text, COLORS['note'], size=12)
        self.height = max(self.height, box.bottom)
        return box

    def text(
        self, x: float, y: float, text: str, color: str, size: int = 12, bold: bool = False, mono: bool = False
    ) -> None:
        """Draw a line of text, its left end at x, its base line at y."""
        family = "'DejaVu Sans Mono', Menlo, Consolas, monospace" if mono else "'DejaVu Sans', Verdana, sans-serif"
        weight = ' font-weight="bold"' if bold else ''
        self.parts.append(
            f'<text x="{x}" y="{y}" font-family="{family}" font-size="{size}"{weight} fill="{color}">'
            f'{escape(text)}</text>'
        )

    def arrow(self, *points: tuple[float, float], head: bool = True) -> None:
        """Draw a line along points, with a head at the last one."""
        path = ' '.join(f'{x},{y}' for x, y in points)
        end = ' marker-end="url(#head)"' if head else ''
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="#6b7280" stroke-width="1.5"{end}/>')

    def kind(self, label: Label) -> str:
        """The kind of a label, a key of ``MEANING``."""
        self.names.append(label.name)
        return label.kind or self.kind_of(label.name)

    def labels(self, x: float, y: float, labels: list[Label]) -> None:
        """Draw lines of names, the first one's top at y."""
        for i, label in enumerate(labels):
            base = y + LINE * i + 13
            shown = label.name.removeprefix(f'{self.owner}.')
            kind = self.kind(label)
            self.text(x, base, shown, COLORS[kind], bold=kind == 'own', mono=True)
            if label.note:
                self.text(x + CHAR * len(shown) + 10, base, label.note, COLORS['note'], size=11)

    def lane(self, x: float, y: float, width: float, items: list[Node | list[Label]]) -> list[Box]:
        """Draw nodes below each other, with the labels of a list beside the arrow between them; returns the boxes."""
        boxes = []
        for item in items:
            if isinstance(item, Node):
                boxes.append(self.node(x, y, width, item))
                y = boxes[-1].bottom
                continue
            length = LINE * len(item) + 18
            self.arrow((x + 20, y), (x + 20, y + length - 2))
            self.labels(x + 34, y + 5, item)
            y += length
        return boxes

    def fork(self, source: Box, lanes: list[tuple[float, str, list]], width: float) -> list[list[Box]]:
        """Lanes from the bottom of a box, each of (x, heading, items); returns the boxes of each."""
        bend = source.bottom + 14
        y = source.bottom + 48
        drawn = []
        for x, title, items in lanes:
            to_box = isinstance(items[0], Node)
            corners = (source.x + 20, bend), (x + 20, bend), (x + 20, y - 2 * to_box)
            self.arrow((source.x + 20, source.bottom), *corners, head=to_box)
            self.text(x + 34, bend + 20, title, '#111827', size=13, bold=True)
            drawn.append(self.lane(x, y, width, items))
        return drawn

    def back(self, source: Box, target: Box, label: Label) -> None:
        """A loop from the left side of a box up to that of an earlier one."""
        start = source.y + 15
        end = target.y + target.height / 2
        x = source.x - 16
        self.arrow((source.x, start), (x, start), (x, end), (target.x - 2, end))
        middle = (start + end) / 2
        shown = label.name.removeprefix(f'{self.owner}.')
        half = CHAR * len(shown) / 2
        self.parts.append(f'<g transform="translate({x - 6} {middle + half}) rotate(-90)">')
        self.text(0, 0, shown, COLORS[self.kind(label)], mono=True)
        self.parts.append('</g>')

    def svg(self, title: str) -> str:
        """The picture, with a legend of the colors below."""
        x = 20
        y = self.height + 34
        for kind, meaning in MEANING.items():
            self.parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLORS[kind]}"/>')
            self.text(x + 18, y, meaning, COLORS['fixed'])
            x += 205
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {y + 18}" width="{self.width}">\n'
            f'<title>{escape(title)}</title>\n'
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="#6b7280"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{y + 18}" fill="#ffffff"/>\n'
        )
        return head + '\n'.join(self.parts) + '\n</svg>\n'
