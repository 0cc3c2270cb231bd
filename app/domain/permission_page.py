"""The permissions as a page for readers, made of the table and the rules themselves: it cannot say otherwise."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from app.domain.permissions import ROLE_CAPABILITIES, RULES, Capability
from app.domain.roles import ROLE_BOUNDS, Grant, Role, format_grant

__all__ = ["PermissionRow", "permission_page", "permission_table"]

EXAMPLES = {
    Role.READER: Grant(Role.READER, plan="431228-2023", unit="431228-jyj"),
    Role.REPORTER: Grant(Role.REPORTER, unit="431228-jyj"),
    Role.CERTIFIER: Grant(Role.CERTIFIER, plan="431228-2023", unit="431228-tjj"),
    Role.COORDINATOR: Grant(Role.COORDINATOR, battle="431228-2023-6"),
    Role.SUPERVISOR: Grant(Role.SUPERVISOR),
    Role.AUDITOR: Grant(Role.AUDITOR, plan="431228-2023"),
    Role.ADMINISTRATOR: Grant(Role.ADMINISTRATOR),
}

INTRODUCTION = """\
<!-- 由 app/domain/permission_page.py 生成,请勿手改。 -->
# 权限

没有明确允许的一律不允许。每次请求先看本人的任一角色能否做这类操作(下表),不能的不读取任何数据即以 403 拒绝;\
再按每条规则核对授权所限定的总体方案、单位和仗。一人可以持有多项授权,各项相加;\
唯一的例外是任何人都不能认定本人所属单位的进度。
"""


@dataclass(frozen=True, slots=True)
class PermissionRow:
    """One kind of operation, the roles that take part in it, and what its rules say: Chinese, rule before reason."""

    capability: Capability
    roles: frozenset[Role]
    rules: tuple[tuple[str, str], ...]


def permission_table() -> tuple[PermissionRow, ...]:
    """Return every kind of operation in its order; ``rules`` are pairs of a function's name and its docstring."""
    return tuple(
        PermissionRow(
            capability,
            frozenset(role for role in Role if capability in ROLE_CAPABILITIES[role]),
            tuple((rule.__name__, inspect.getdoc(rule) or "") for rule in RULES[capability]),
        )
        for capability in Capability
    )


def permission_page() -> str:
    """Return ``docs/permissions.md``: Markdown in Chinese, ending in a newline."""
    return "\n".join([INTRODUCTION, *_matrix(), *_roles(), *_rules()])


def _matrix() -> Iterator[str]:
    yield "## 角色与操作\n"
    yield f"| 操作 | {' | '.join(role.label for role in Role)} |"
    yield f"|---|{':-:|' * len(Role)}"
    for row in permission_table():
        marks = " | ".join("✓" if role in row.roles else " " for role in Role)
        yield f"| {row.capability.label} `{row.capability}` | {marks} |"
    yield "\n“查阅方案”和“查阅进度”可由部署的设置对所有人公开,其余操作不能公开。\n"


def _roles() -> Iterator[str]:
    yield "## 授权的写法\n"
    yield "授权写作 `角色[:单位或仗][@总体方案]`,账号管理和身份提供方的声明用同一写法。"
    yield "不写总体方案,即为全部总体方案。\n"
    yield "| 角色 | 总体方案 | 单位 | 仗 | 说明 | 例 |"
    yield "|---|---|---|---|---|---|"
    for role, bounds in ROLE_BOUNDS.items():
        needs = " | ".join(need.label for need in (bounds.plan, bounds.unit, bounds.battle))
        yield f"| {role.label} `{role}` | {needs} | {bounds.sentence} | `{format_grant(EXAMPLES[role])}` |"
    yield ""


def _rules() -> Iterator[str]:
    yield "## 规则"
    for row in permission_table():
        yield f"\n### {row.capability.label}"
        for name, text in row.rules:
            yield f"\n`{name}`\n\n{text}"
    yield ""
