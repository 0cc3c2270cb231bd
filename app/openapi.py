"""The OpenAPI document: one override that makes it say what this API does."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.deps import Changing, guard_of
from app.domain.permissions import Capability
from app.domain.plan import Labelled
from app.errors import (
    ContentTooLargeError,
    ForbiddenError,
    KeyReusedError,
    NotFoundError,
    RateLimitedError,
    SlowBodyError,
    StillRunningError,
    TimedOutError,
    UnauthenticatedError,
    UnsupportedMediaError,
)
from app.routers.answers import PROBLEM_JSON, problems
from app.schemas.base import Read

__all__ = ["OPEN", "OPEN_TO_SOME", "TAGS", "capability_of", "install_openapi", "operation_id"]

TAGS: list[dict[str, Any]] = [
    {"name": "plans", "description": "总体方案:一个地区、一个年度、一份文件。"},
    {"name": "battles", "description": "仗:总体方案的组成部分,各有工作专班、任务组与目标。"},
    {"name": "tasks", "description": "工作任务:文件中的编号条目,附责任括注(牵头、负责、配合)与目标。"},
    {"name": "units", "description": "责任单位:一个单位可有多个印刷名称,任一名称都能找到它。"},
    {"name": "targets", "description": "目标:要达到的数值,或没有数值的定性要求。"},
    {"name": "rules", "description": "规则:报送、调度、排名、巡查、追责、考核,都是带参数与出处的数据。"},
    {
        "name": "submissions",
        "description": "进度报送:一个单位就一项任务报一期的进度,经评估认定才算报出;更正是新的版本。",
    },
    {
        "name": "deadlines",
        "description": "期限与应报:谁应在何时前报什么,报了没有,迟了多久;可问过去任一时刻。",
    },
    {
        "name": "calendar-subscriptions",
        "description": "日历订阅:手机与 Outlook 可以订阅的地址,令牌在地址中,只给出期限。",
    },
    {"name": "materials", "description": "材料:工作信息(每月)与经验典型材料(每年),按篇数计入应报。"},
    {"name": "bulletins", "description": "简报、通报、总结:按截至时刻的数据生成,修改文字,编号印发,印发后不再改变。"},
    {"name": "anomalies", "description": "原文疑点:错字、矛盾、重复、遗漏、表述不明与名称不一。"},
    {"name": "search", "description": "检索:按名称、别名、拼音、首字母或正文查找以上各类条目。"},
    {"name": "accounts", "description": "账号、授权与 API 密钥(管理员);本人身份。"},
    {"name": "audit", "description": "审计记录:何人何时从何处做了何事,以哈希相链;只供审计角色查阅。"},
    {
        "name": "changes",
        "description": "事件流:报送、认定、退回、更正、临近期限、逾期、漏报、延期,按先后,可从任一处接着取。",
    },
    {"name": "webhooks", "description": "Webhook:事件发生后主动送往别的系统,签名,至少一次,同一单位的按先后。"},
    {
        "name": "cases",
        "description": "台账:督办单、重大隐患、企业问题、巡查发现、风险台账,从登记、交办到销号;应当督办的任务。",
    },
    {"name": "work-items", "description": "清单:任务之下的项目、任务、政策,项目按“六个一”判断是否完整,各版都保留。"},
    {"name": "rankings", "description": "排名:市八部门与乡镇的监管执法季度排名,谁居末三位、第几次、后果是什么。"},
    {
        "name": "inspections",
        "description": "巡查:一季一巡查、一考核、一通报、一曝光,发现的问题进台账;哪些单位还没有巡查。",
    },
    {"name": "health", "description": "运行状况与监控指标。"},
    {"name": "assessments", "description": "考核:办法、评分、试算、定案、申诉;每项得分都带着算式、数据与依据。"},
    {"name": "faults", "description": "过错:错报、瞒报和重大不良影响,登记、申辩、认定;只有认定的计入考核。"},
]

DESCRIPTION = """县级政府年度计划(“六仗”)的工作服务:承诺了什么、由谁牵头、要达到什么数值、依据原文哪一处。

**编码**:总体方案 `431228-2023`(GB/T 2260 地区代码-年度)、仗 `431228-2023-1`、任务组 `431228-2023-1-2`、
任务 `431228-2023-1-2-5`、条款 `431228-2023-1-2-5.1`、目标 `<所属编码>-T1`、单位 `431228-fgj`。编码稳定,可直接引用。

**凭证**:除公开的查询外,请求须带 `Authorization: Bearer …`,后接管理员签发的 API 密钥(`lz_` 开头)或身份提供方的登录令牌。
每个接口的 `x-capability` 是它所属的一类操作,各角色能做哪几类见 docs/permissions.md;`GET /api/v1/me` 给出本人的。
没有凭证或凭证无效为 401,没有权限为 403,看不到的与不存在的同为 404。

**可以办的步骤**:接口能对它做什么的,都有 `allowed_actions`:您现在可以采取的步骤,既为当前状态所允许,又在您的权限之内,
按办理的先后排列;没有列出的会被拒绝,或者已无必要;带 `as_of` 的查询总是空的。没有这个字段的,接口不能对它做什么:
方案的内容由命令载入(上级后来下达的目标值可以补登),
材料、延期、免报、审计记录与事件是既成的记录。各步骤由哪个接口办理,见 docs/api.md。

**列表**:`{"items": […], "next_cursor": …, "total": …}`;`limit` 为 1-500,默认 50;下一页把 `next_cursor` 原样放入
`cursor`;`include_total=true` 时给出总数。未列明的查询参数一律返回 422,不会被忽略。

**重发**:凡有改动的请求都可带 `Idempotency-Key`(如一个 UUID);断线后以同样的键重发同样的请求,不会再次生效,
得到的是首次的答复(响应头 `Idempotency-Replayed: true`)。未被接受的请求没有生效,重发时重新判断。

**缓存**:每个成功响应都有 `ETag`,带 `If-None-Match` 再次请求,内容未变时返回 304。

**错误**:一律为 `application/problem+json`(RFC 9457),`type` 可直接打开查看说明,`errors` 逐项指出问题所在;
`instance` 是请求编号,与响应头 `X-Request-ID` 相同,可由客户端在请求头中自定(8-128 个字母、数字、`.`、`_`、`-`)。

**日期与时刻**:日期为 `YYYY-MM-DD`;时刻为带 `+08:00` 的 RFC 3339 格式;数值为精确的 JSON 数字。
"""

IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "客户端已有内容的 ETag;内容未变时返回 304",
    "schema": {"type": "string"},
    "example": '"3f1c9a0b5d7e4f2a8c6b1d3e5f7a9b0c"',
}


IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "本次请求的编号,如 UUID:以同样的键重发同样的请求,不会再次生效,得到的是首次的答复",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257, "pattern": r"^([!#-~]{1,255}|\"[!#-~]{1,255}\")$"},
    "example": "0197f3a2-6c1e-7d40-9b7a-5d2f8c1e4a60",
}
IDEMPOTENCY_REPLAYED: dict[str, Any] = {
    "description": "为 true 时,这是首次请求的答复,本次没有再次生效",
    "schema": {"type": "string", "enum": ["true"]},
}
SECURITY_SCHEMES: dict[str, Any] = {
    "credentials": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "API 密钥(以 `lz_` 开头,由管理员为脚本与系统的账号签发),"
            "或身份提供方(OpenID Connect)的登录令牌(JWT),都放在 `Authorization: Bearer` 之后。"
        ),
    }
}
# Open to everyone: whether the process lives and the database answers, and, from this machine, the metrics.
OPEN = {"get_liveness", "get_readiness"}
OPEN_TO_SOME = {"get_metrics"}


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    common = {"name": name, "in": "header", "required": True}
    return {**common, "description": description, "schema": {"type": "string"}, "example": example}


# What the service sends, and what it takes for an answer.
WEBHOOKS: dict[str, Any] = {
    "event": {
        "post": {
            "operationId": "receive_event",
            "summary": "事件送达",
            "description": "服务送往 Webhook 网址的请求,正文与 /changes 中的事件相同。至少一次,请按 webhook-id 去重;"
            "同一单位的依次送达。核对签名的办法见 docs/events.md。",
            "tags": ["webhooks"],
            "parameters": [
                _header("webhook-id", "事件编号,重送时不变", "evt_1024"),
                _header("webhook-timestamp", "送出时刻,Unix 秒", "1684373400"),
                _header(
                    "webhook-signature", "签名,空格分开的一个或几个", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EventRead"}}},
            },
            "responses": {
                "2XX": {"description": "已送达"},
                "410": {"description": "不再接收:Webhook 随即暂停"},
                "default": {"description": "失败,稍后再送"},
            },
        }
    }
}


def operation_id(route: APIRoute) -> str:
    """The name of the route function: stable, snake_case, unique (held by a test)."""
    return route.name


def capability_of(route: APIRoute) -> Capability | None:
    """The kind of operation that a route is guarded as, or ``None`` where nothing guards it."""
    guard = guard_of(route.dependant)
    return None if guard is None else guard.capability


def install_openapi(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Make ``app.openapi()`` return the finished document of what ``routers`` serve.

    Raises:
        RuntimeError: an operation is guarded by nothing, and is none of the few that may be.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    capabilities = {operation_id(route): capability_of(route) for route in routes}
    bare = {name for name, capability in capabilities.items() if capability is None} - OPEN - OPEN_TO_SOME
    changing = {operation_id(route) for route in routes if isinstance(guard_of(route.dependant), Changing)}
    if bare:
        raise RuntimeError(f"guarded by nothing: {', '.join(sorted(bare))}")

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary="县级政府年度计划的任务、责任单位、目标与规则",
                description=DESCRIPTION,
                routes=app.routes,
                tags=TAGS,
                license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
                servers=[{"url": "/", "description": "本服务"}],
            )
            schema["components"]["securitySchemes"] = SECURITY_SCHEMES
            schema["webhooks"] = WEBHOOKS
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    _protect(operation, capabilities[operation["operationId"]])
                    if operation["operationId"] in changing:
                        _make_repeatable(operation)
                    if "{" in path:
                        # With a slash encoded in it, it leads nowhere.
                        _declare(operation, _NOWHERE)
                    _finish(operation)
            _explain_codes(schema["components"]["schemas"])
            _restore_examples(schema["components"]["schemas"])
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document


# What the middleware can answer before a route is asked: to any request, and to one with a body.
_ANY: dict[int | str, dict[str, Any]] = problems(RateLimitedError, TimedOutError)
_WITH_BODY: dict[int | str, dict[str, Any]] = problems(SlowBodyError, ContentTooLargeError, UnsupportedMediaError)
_REPEATED: dict[int | str, dict[str, Any]] = problems(StillRunningError, KeyReusedError)
_NOWHERE: dict[int | str, dict[str, Any]] = problems(NotFoundError)
_RETRY_AFTER: dict[str, Any] = {"description": "多少秒后可以重试", "schema": {"type": "integer", "minimum": 1}}


def _declare(operation: dict[str, Any], answers: dict[int | str, dict[str, Any]]) -> None:
    for status, declared in answers.items():
        answer = operation["responses"].setdefault(str(status), _refusal(""))
        if declared["description"] not in answer["description"]:
            answer["description"] = ";".join(filter(None, (answer["description"], declared["description"])))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _protect(operation: dict[str, Any], capability: Capability | None) -> None:
    """Say which credentials an operation takes, and how it refuses those who have none."""
    if operation["operationId"] in OPEN:
        operation["security"] = []
        return
    # A deployment may open the plan to everyone; by default it is.
    optional = capability in {None, Capability.READ_PLAN}
    operation["security"] = [*([{}] if optional else []), {"credentials": []}]
    if capability is not None:
        operation["x-capability"] = capability.value
    for error in (UnauthenticatedError, ForbiddenError):
        operation["responses"].setdefault(str(error.status), _refusal(error.title))


def _refusal(title: str) -> dict[str, Any]:
    return {
        "description": title,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _make_repeatable(operation: dict[str, Any]) -> None:
    """Say of what changes something that it can be sent again."""
    _declare(operation, _REPEATED)
    operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    operation["responses"]["409"].setdefault("headers", {})["Retry-After"] = _RETRY_AFTER
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            answer.setdefault("headers", {})["Idempotency-Replayed"] = IDEMPOTENCY_REPLAYED


def _finish(operation: dict[str, Any]) -> None:
    """Errors are problem+json, a 304 has no body, every answer carries the request id, If-None-Match is taken."""
    _declare(operation, _ANY)
    if "requestBody" in operation:
        _declare(operation, _WITH_BODY)
    for status in ("429", "503"):
        operation["responses"][status].setdefault("headers", {})["Retry-After"] = _RETRY_AFTER
    if "304" in operation["responses"]:
        operation.setdefault("parameters", []).append(IF_NONE_MATCH)
    for status, answer in operation["responses"].items():
        if status == "304":
            answer.pop("content", None)
        elif not status.startswith("2"):
            answer["content"] = {PROBLEM_JSON: answer.pop("content", {})["application/json"]}
        if status == "401":
            answer["headers"] = {
                "WWW-Authenticate": {"description": "所需的凭证(RFC 6750)", "schema": {"type": "string"}}
            }
        answer.setdefault("headers", {})["X-Request-ID"] = {"description": "请求编号", "schema": {"type": "string"}}


def _explain_codes(schemas: dict[str, Any]) -> None:
    """Give every set of codes its Chinese labels, readable by people and by programs."""
    labelled = {kind.__name__: kind for kind in Labelled.__subclasses__()}
    for name, schema in schemas.items():
        # A docstring speaks to those who read the code; what users read is Chinese or nothing.
        if schema.get("description", "").isascii():
            schema.pop("description", None)
        kind = labelled.get(name)
        if kind is not None:
            schema["description"] = "、".join(f"{code.value} {code.label}" for code in kind)
            schema["x-enum-descriptions"] = [code.label for code in kind]


def _restore_examples(schemas: dict[str, Any]) -> None:
    """Put the examples back as written: on its way through FastAPI every null is dropped from them."""

    def every(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for child in kind.__subclasses__():
            yield child
            yield from every(child)

    for model in every(Read):
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "example" in extra and model.__name__ in schemas:
            schemas[model.__name__]["example"] = extra["example"]
