"""Reads a printed plan document into sections that a locator such as ``附件1/二/(一)/3`` names.

The numbering of official documents (GB/T 9704-2012, 7.3.3) gives the levels: ``一、`` then ``(一)`` then ``1.``.
The text before the plan's own title is the part ``通知``; the plan itself is ``总体方案``; a line that holds nothing
but ``附件N`` opens an attachment. Where an attachment stands more than once, its last text is ``附件N`` and the
earlier ones are ``附件N[1]``, ``附件N[2]`` in the order of their appearance.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Bracket", "Document", "Section", "UnknownLocatorError", "parse_bracket", "split_names", "squeeze"]

_ATTACHMENT = re.compile(r"附件(\d+)")
_HEADINGS = (
    re.compile(r"([一二三四五六七八九十]+)、(.*)"),
    re.compile(r"(\([一二三四五六七八九十]+\))(.*)"),
    re.compile(r"(\d+)\.(?!\d)(.*)"),
)
_BRACKET = re.compile(r"\(([^()]*)\)")
_LEAD_LABEL = re.compile(r"牵头[责费]任单位:(.+)")
_ROLE_RUN = re.compile(
    r"(?P<units>.+?)(?P<phrase>(?:按职责分工|依职责)?(?:牵头负责|牵头|负责|配合))(?:[,、]|$)",
)
_SEPARATOR = re.compile(r"[、,]|会同")
_OPEN_END = re.compile(r"等(部门)?$")
_NARROW = str.maketrans("（），：；．", "(),:;.")
_ROLES = {"牵头负责": "lead", "牵头": "lead", "负责": "responsible", "配合": "cooperating"}


class UnknownLocatorError(LookupError):
    """No section of the document has this locator."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """A responsible-unit bracket: ``(A牵头,B、C等负责)``.

    ``units`` keeps the order of print as pairs of role and printed name, a name being split at every separator.
    """

    text: str
    units: tuple[tuple[str, str], ...]
    open_ended: bool


@dataclass(slots=True)
class Section:
    """One numbered place of the document: its heading line and what follows, white space removed."""

    locator: str
    line: int
    heading: str
    text: str = field(default="")

    @property
    def title(self) -> str:
        """The heading up to the first full stop or bracket, without its number."""
        return re.split(r"[。(:]", self.heading, maxsplit=1)[0]

    @property
    def brackets(self) -> list[Bracket]:
        """Every responsible-unit bracket of the section, in print order."""
        found = (parse_bracket(match.group(1)) for match in _BRACKET.finditer(self.text))
        return [bracket for bracket in found if bracket is not None]


def squeeze(text: str) -> str:
    """Remove all white space, stray in print inside figures and brackets, and make full-width punctuation narrow."""
    return re.sub(r"\s+", "", text).translate(_NARROW)


def split_names(printed: str) -> list[str]:
    """Split an enumeration of printed names at its separators."""
    return [name for name in _SEPARATOR.split(printed) if name]


def parse_bracket(inner: str) -> Bracket | None:
    """Read the inside of a bracket, or return ``None`` where it names no responsible unit."""
    text = squeeze(inner)
    label = _LEAD_LABEL.fullmatch(text)
    if label:
        names = _OPEN_END.sub("", label.group(1))
        return Bracket(text, tuple(("lead", name) for name in split_names(names)), names != label.group(1))
    if not re.search(r"(牵头|负责|配合)$", text):
        return None
    units: list[tuple[str, str]] = []
    open_ended = False
    for run in _ROLE_RUN.finditer(text.removeprefix("由")):
        role = _ROLES[re.sub(r"^(按职责分工|依职责)", "", run.group("phrase"))]
        names = run.group("units")
        stripped = _OPEN_END.sub("", names)
        open_ended = open_ended or stripped != names
        units.extend((role, name) for name in split_names(stripped))
    return Bracket(text, tuple(units), open_ended)


class Document:
    """The sections of one printed plan, by locator, in print order."""

    def __init__(self, text: str, *, title: str) -> None:
        """Parse ``text`` (UTF-8 lines, one paragraph a line); ``title`` is the plan's own title line.

        Raises:
            ValueError: the title line does not occur, so nothing could be located.
        """
        self.sections: dict[str, Section] = {}
        lines = [squeeze(line) for line in text.splitlines()]
        wanted = squeeze(title)
        if wanted not in lines:
            raise ValueError(f"文件中没有总体方案的标题行“{title}”")
        last = Counter(m.group(1) for line in lines if (m := _ATTACHMENT.fullmatch(line)))
        seen: Counter[str] = Counter()
        path: list[tuple[int, str]] = []
        current = self._open("通知", 1, "")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            attachment = _ATTACHMENT.fullmatch(line)
            if attachment:
                which = attachment.group(1)
                seen[which] += 1
                suffix = "" if seen[which] == last[which] else f"[{seen[which]}]"
                path = [(0, f"附件{which}{suffix}")]
                current = self._open(path[0][1], number, "")
                continue
            if line == wanted and "总体方案" not in self.sections:
                path = [(0, "总体方案")]
                current = self._open("总体方案", number, line)
                continue
            if line.startswith("附件:"):
                path = [(9, "总体方案"), (9, "附件")]
                current = self._open("总体方案/附件", number, line)
            heading = self._heading(line) if path and path[0][0] == 0 else None
            if heading is None:
                current.text += line
                continue
            level, mark, rest = heading
            path = [*(step for step in path if step[0] < level), (level, mark)]
            current = self._open("/".join(step[1] for step in path), number, rest)
            current.text = rest

    def __getitem__(self, locator: str) -> Section:
        """Return the section at ``locator`` or raise :class:`UnknownLocatorError`."""
        try:
            return self.sections[locator]
        except KeyError:
            raise UnknownLocatorError(locator) from None

    def _open(self, locator: str, line: int, heading: str) -> Section:
        section = Section(locator, line, heading)
        self.sections[locator] = section
        return section

    @staticmethod
    def _heading(line: str) -> tuple[int, str, str] | None:
        for level, pattern in enumerate(_HEADINGS, 1):
            match = pattern.match(line)
            if match:
                return level, match.group(1), match.group(2)
        return None
