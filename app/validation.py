"""Chinese sentences for the validation errors of Pydantic, shared by the API's problems and the seed reader."""

from collections.abc import Mapping
from typing import Any

__all__ = ["explain_validation"]

_SENTENCES: dict[str, str] = {
    "missing": "缺少必填项",
    "extra_forbidden": "不认识这个参数或字段",
    "json_invalid": "不是合法的 JSON",
    "string_type": "须为字符串",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "至多 {max_length} 个字符",
    "string_pattern_mismatch": "格式不符,须匹配 {pattern}",
    "string_unicode": "不是合法的 UTF-8 文本",
    "int_type": "须为整数",
    "int_parsing": "须为整数",
    "int_parsing_size": "整数超出范围",
    "int_from_float": "须为整数,不能有小数",
    "float_type": "须为数字",
    "float_parsing": "须为数字",
    "decimal_type": "须为数字",
    "decimal_parsing": "须为数字",
    "decimal_max_digits": "数字至多 {max_digits} 位",
    "decimal_max_places": "小数至多 {decimal_places} 位",
    "decimal_whole_digits": "整数部分至多 {whole_digits} 位",
    "finite_number": "须为有限数",
    "bool_type": "须为 true 或 false",
    "bool_parsing": "须为 true 或 false",
    "greater_than": "须大于 {gt}",
    "greater_than_equal": "须不小于 {ge}",
    "less_than": "须小于 {lt}",
    "less_than_equal": "须不大于 {le}",
    "enum": "须为以下之一: {expected}",
    "literal_error": "须为以下之一: {expected}",
    "date_type": "须为 YYYY-MM-DD 的日期",
    "date_parsing": "须为 YYYY-MM-DD 的日期",
    "date_from_datetime_parsing": "须为 YYYY-MM-DD 的日期",
    "date_from_datetime_inexact": "须为日期,不带时刻",
    "datetime_type": "须为带时区的 RFC 3339 时刻",
    "datetime_parsing": "须为带时区的 RFC 3339 时刻",
    "datetime_from_date_parsing": "须为带时区的 RFC 3339 时刻",
    "timezone_aware": "时刻须带时区",
    "list_type": "须为数组",
    "dict_type": "须为对象",
    "model_type": "须为对象",
    "model_attributes_type": "须为对象",
    "too_short": "至少 {min_length} 项",
    "too_long": "至多 {max_length} 项",
    "uuid_parsing": "须为 UUID",
    "uuid_type": "须为 UUID",
    "inconsistent_scheme": "{said}",
}


def explain_validation(kind: str, context: Mapping[str, Any], fallback: str = "") -> str:
    """Return one Chinese sentence for a Pydantic error of type ``kind`` with its ``ctx``.

    A ``value_error`` carries its own sentence, raised by this project in Chinese; an unknown kind gets a general one.
    """
    if kind == "value_error":
        return str(context.get("error") or fallback)
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        return "值不合要求"
    if kind in {"enum", "literal_error"}:
        context = {**context, "expected": str(context.get("expected", "")).replace(" or ", "、").replace(", ", "、")}
    return sentence.format_map(context)
