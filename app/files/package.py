"""An XLSX file before anything of it is read: a ZIP of XML parts, looked through once within fixed bounds.

Nothing is unpacked: the parts are read piece by piece, and no more than the bounds allow. What could reach out of the
file (external links, connections, macros, embedded objects, entities) makes it refused, whatever it is used for.
"""

import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, Protocol
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser
from openpyxl.utils.cell import coordinate_to_tuple, range_boundaries

from app.errors import unreadable

__all__ = ["Part", "inspect"]

MOST_PARTS: Final = 1000
MOST_BYTES: Final = 100 * 1024 * 1024
# XML of many like rows shrinks to a thirtieth; what shrinks more was made to.
MOST_RATIO: Final = 300
_SMALL: Final = 1024 * 1024
_PIECE: Final = 64 * 1024
_DEEPEST: Final = 64
# A sheet has as many merged ranges and uncomputed formulas as people make; more are made by machines to fill memory.
MOST_NOTED: Final = 100_000

_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_REACHING_OUT: Final = {
    "xl/externallinks/": "外部链接",
    "xl/embeddings/": "嵌入对象",
    "xl/activex/": "控件",
    "xl/ctrlprops/": "控件",
    "xl/querytables/": "外部数据",
    "xl/connections": "外部数据连接",
    "xl/macrosheets/": "宏",
    "xl/dialogsheets/": "宏",
    "xl/vbaproject": "宏",
    "customui/": "宏",
}


@dataclass(slots=True)
class Part:
    """What one part of the package has that whoever reads its cells cannot see.

    Attributes:
        merged: merged ranges as first column, first row, last column, last row, from 1.
        uncomputed: row and column, from 1, of formulas without a result.
        hidden: numbers of hidden rows.
    """

    merged: list[tuple[int, int, int, int]] = field(default_factory=list[tuple[int, int, int, int]])
    uncomputed: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    hidden: set[int] = field(default_factory=set[int])


class _Feeder(Protocol):
    def setContentHandler(self, handler: ContentHandler) -> None: ...  # noqa: N802
    def feed(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def inspect(content: bytes) -> dict[str, Part]:
    """Look a whole XLSX file through; its parts by their names.

    Raises:
        UnreadableFileError: it is none, or has what is not taken.
    """
    _tell_apart(content)
    try:
        with zipfile.ZipFile(BytesIO(content)) as package:
            entries = package.infolist()
            _refuse_oversized(entries)
            _refuse_other_kinds(package, [entry.filename for entry in entries])
            parts = {entry.filename: _look_through(package, entry) for entry in entries if not entry.is_dir()}
    except (zipfile.BadZipFile, zlib.error, ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError):
        raise unreadable("broken_file", "文件已损坏,无法读取:请用电子表格软件重新保存为 .xlsx 后再试") from None
    return parts


def _tell_apart(content: bytes) -> None:
    if content.startswith(_OLD_OFFICE):
        if _ENCRYPTED in content:
            raise unreadable("password", "文件设有密码,无法读取:请取消密码后重新保存")
        raise unreadable("old_format", "这是旧格式(.xls、.et 等)的文件:请另存为“Excel 工作簿(.xlsx)”后再试")


def _refuse_oversized(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_PARTS or len({entry.filename for entry in entries}) < len(entries):
        raise unreadable("zip_bomb", "文件的内部构成异常,不予读取")
    # Reading stops where the declared size ends, so that these bounds are those of what is really read.
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES or any(
        entry.file_size > _SMALL and entry.file_size > MOST_RATIO * max(entry.compress_size, 1) for entry in entries
    ):
        raise unreadable("zip_bomb", f"文件解压后过大(至多 {MOST_BYTES // 1024 // 1024} MiB),不予读取")
    if any(entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for entry in entries):
        raise unreadable("broken_file", "文件的压缩方式不是 XLSX 所用的,无法读取:请用电子表格软件重新保存")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise unreadable("password", "文件设有密码,无法读取:请取消密码后重新保存")


def _refuse_other_kinds(package: zipfile.ZipFile, names: list[str]) -> None:
    lowered = [name.lower().replace("\\", "/").lstrip("/") for name in names]
    if "mimetype" in lowered and b"opendocument" in package.read("mimetype")[:200]:
        raise unreadable("other_format", "这是 OpenDocument(.ods)文件:请另存为“Excel 工作簿(.xlsx)”后再试")
    if "xl/workbook.bin" in lowered:
        raise unreadable("other_format", "这是二进制工作簿(.xlsb):请另存为“Excel 工作簿(.xlsx)”后再试")
    for prefix, what in _REACHING_OUT.items():
        if any(name.startswith(prefix) for name in lowered):
            raise unreadable("active_content", f"文件含有{what},不予读取:请去除后另存为“Excel 工作簿(.xlsx)”")
    if "xl/workbook.xml" not in lowered or "[content_types].xml" not in lowered:
        raise unreadable("not_a_workbook", "这不是 XLSX 工作簿:请用电子表格软件另存为“Excel 工作簿(.xlsx)”后再试")


def _look_through(package: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Part:
    """Read one part to its end, and note what matters of it."""
    looker = _Looker()
    is_xml = entry.filename.lower().endswith((".xml", ".rels", ".vml"))
    parser: _Feeder = DefusedExpatParser(namespaceHandling=0, forbid_dtd=True)
    parser.setContentHandler(looker)
    try:
        with package.open(entry) as source:
            while piece := source.read(_PIECE):
                if is_xml:
                    parser.feed(piece)
        if is_xml:
            parser.close()
    except DefusedXmlException:
        raise unreadable("entities", "文件的 XML 含有 DTD 或实体,不予读取") from None
    except SAXException:
        # A .vml of older programs is not always XML, and nobody reads it.
        if not entry.filename.lower().endswith(".vml"):
            raise unreadable("broken_file", "文件内部的 XML 有误,无法读取:请用电子表格软件重新保存") from None
    return looker.part


class _Looker(ContentHandler):
    """Goes through the XML of a part; names are taken without their prefix, which programs choose as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Part()
        self._depth = 0
        self._row = 0
        self._column = 0
        self._in_value = False
        self._has_formula = False
        self._has_value = False

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        self._depth += 1
        if self._depth > _DEEPEST:
            raise unreadable("broken_file", "文件内部的 XML 嵌套过深,不予读取")
        match name.rpartition(":")[2]:
            case "c":
                place = attrs.get("r")
                self._row, self._column = coordinate_to_tuple(place) if place else (self._row, self._column + 1)
                self._has_formula = self._has_value = False
            case "f":
                self._has_formula = True
            case "v":
                self._in_value = True
            case "row":
                number = attrs.get("r")
                self._row, self._column = int(number) if number else self._row + 1, 0
                if attrs.get("hidden") in {"1", "true"}:
                    self.part.hidden.add(self._row)
            case "mergeCell":
                left, top, right, bottom = range_boundaries(attrs.get("ref") or "")
                self.part.merged.append((left or 1, top or 1, right or 1, bottom or 1))
                _refuse_flood(len(self.part.merged))
            case "Relationship":
                self._refuse_outside(attrs)
            case "Override" | "Default" if "macroenabled" in (attrs.get("ContentType") or "").lower():
                raise unreadable(
                    "active_content", "这是启用宏的工作簿(.xlsm):请另存为不含宏的“Excel 工作簿(.xlsx)”后再试"
                )
            case _:
                pass

    def characters(self, content: str) -> None:
        if self._in_value and content:
            self._has_value = True

    def endElement(self, name: str) -> None:  # noqa: N802
        self._depth -= 1
        match name.rpartition(":")[2]:
            case "v":
                self._in_value = False
            case "c" if self._has_formula and not self._has_value:
                self.part.uncomputed.add((self._row, self._column))
                _refuse_flood(len(self.part.uncomputed))
            case _:
                pass

    @staticmethod
    def _refuse_outside(attrs: AttributesImpl) -> None:
        """A link that a reader may click is no part of what is read; all else that lies outside is refused."""
        if (attrs.get("TargetMode") or "").lower() != "external":
            return
        if not (attrs.get("Type") or "").endswith("/hyperlink"):
            raise unreadable("external_reference", "文件引用了外部的内容,不予读取:请断开外部链接后重新保存")


def _refuse_flood(count: int) -> None:
    if count > MOST_NOTED:
        raise unreadable("zip_bomb", "文件的内部构成异常,不予读取")
