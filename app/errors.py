"""The errors that a caller can cause or must know of.

    AppError
    ├── BadRequestError        400  the request cannot be read
    ├── UnauthenticatedError   401  the caller has not said who they are
    │   └── InvalidCredentialsError 401  what they said is not believed
    ├── ForbiddenError         403  the caller may not do this
    ├── NotFoundError          404  nothing under this code
    ├── MethodNotAllowedError  405  the path has no such method
    ├── SlowBodyError          408  the body does not come in time
    ├── ConflictError          409  what is asked does not fit what is there
    │   ├── WrongStepError     409  the state does not allow this step; the allowed ones are listed
    │   └── StillRunningError  409  the same request is being carried out
    ├── PreconditionError      412  it has changed since the caller read it
    ├── ContentTooLargeError   413  the body is larger than allowed
    ├── UnsupportedMediaError  415  the body is no JSON by its own account
    ├── InvalidRequestError    422  a parameter or field is wrong
    │   ├── InvalidCursorError 422  the cursor is not one of this list
    │   ├── UnknownUnitError   422  no unit of this code or name
    │   ├── UnknownReferenceError 422  a rule or period that does not exist, or a report that is not owed
    │   ├── UnreadableFileError 422  a file that cannot be read as a form, or is not taken
    │   ├── AmbiguousError     422  a name or code means several things; they are listed
    │   └── KeyReusedError     422  the key of another request
    ├── RateLimitedError       429  more requests than the caller may make
    ├── HeadersTooLargeError   431  the request line and header are larger than allowed
    ├── UnavailableError       503  the database does not answer
    │   └── IssuerUnreachableError 503  the identity provider does not answer
    ├── TimedOutError          503  the request took longer than allowed
    └── InternalError          500  our fault

``slug`` is the last part of the problem's type URI and never changes; ``remedy`` is what its page advises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AmbiguousError",
    "AppError",
    "BadRequestError",
    "ConflictError",
    "ContentTooLargeError",
    "Fault",
    "ForbiddenError",
    "HeadersTooLargeError",
    "InternalError",
    "InvalidCredentialsError",
    "InvalidCursorError",
    "InvalidRequestError",
    "IssuerUnreachableError",
    "KeyReusedError",
    "MethodNotAllowedError",
    "NotFoundError",
    "PreconditionError",
    "RateLimitedError",
    "SlowBodyError",
    "StillRunningError",
    "TimedOutError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownReferenceError",
    "UnknownUnitError",
    "UnreadableFileError",
    "UnsupportedMediaError",
    "WrongStepError",
    "all_errors",
    "summary_of",
    "unknown_reference",
    "unreadable",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: JSON pointer (``/query/limit``), stable code, Chinese sentence."""

    pointer: str
    code: str
    detail: str

    def shown(self) -> dict[str, str]:
        """The fault as answers show it."""
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


class AppError(Exception):
    """Base of all; ``detail`` (Chinese) says what happened and what to do."""

    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, detail: str, *, faults: Sequence[Fault] = (), **extra: Any) -> None:
        """Keep the detail, the faults, and extension members of the problem such as ``candidates``."""
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.extra = extra


class BadRequestError(AppError):
    """The request cannot be read at all."""

    slug = "bad-request"
    status = 400
    title = "无法读取请求"
    remedy = "请检查请求的编码与格式:请求体须为合法的 JSON(UTF-8),查询参数须正确地做 URL 编码。"


class UnauthenticatedError(AppError):
    """Nobody is anybody without credentials; ``challenge`` is the ``WWW-Authenticate`` of the answer, ASCII."""

    slug = "unauthenticated"
    status = 401
    title = "须先认证"
    remedy = "请在请求头中写 Authorization: Bearer,后接管理员签发的 API 密钥,或身份提供方的登录令牌。"

    def __init__(self, detail: str, *, challenge: str) -> None:
        super().__init__(detail)
        self.challenge = challenge


class InvalidCredentialsError(UnauthenticatedError):
    """The key or token is not believed."""

    slug = "invalid-credentials"
    title = "凭证无效"
    remedy = "detail 说明了原因:密钥可能抄错、过期、已吊销或限定了网段,令牌可能过期。请换用有效的,或请管理员重新签发。"


class ForbiddenError(AppError):
    """The caller is known and may not do this."""

    slug = "forbidden"
    status = 403
    title = "没有权限"
    remedy = "GET /api/v1/me 列出了您的角色与权限;需要更多权限,请联系管理员。各角色能做什么见 docs/permissions.md。"


class NotFoundError(AppError):
    """Nothing under this code or path."""

    slug = "not-found"
    status = 404
    title = "未找到"
    remedy = "请核对路径与编码。各类编码可从对应的列表接口取得,也可用 /api/v1/search 查找。"


class MethodNotAllowedError(AppError):
    """The path exists, the method does not."""

    slug = "method-not-allowed"
    status = 405
    title = "不支持此方法"
    remedy = "响应头 Allow 列出了该路径支持的方法。"


class SlowBodyError(AppError):
    """The body did not come in time."""

    slug = "body-timeout"
    status = 408
    title = "请求体接收超时"
    remedy = "请求体没有在时限内传完,未作任何处理:请检查网络,或把内容分成几次提交后重试。"


class ConflictError(AppError):
    """What is asked does not fit what is there."""

    slug = "conflict"
    status = 409
    title = "与现有内容冲突"
    remedy = (
        "给出 existing 的,是该任务该期已有进度报送:请对它修改、报送或更正,而不是另报一份;"
        "未给出的,detail 说明了原因,如与同时提交的内容冲突:什么也没有写入,请重新读取后再试。"
    )


class WrongStepError(ConflictError):
    """The state does not allow this step."""

    slug = "wrong-step"
    title = "当前状态不允许这一步"
    remedy = "allowed 列出了当前状态允许的步骤。"


class StillRunningError(ConflictError):
    """The same request, by its ``Idempotency-Key``, is being carried out."""

    slug = "still-running"
    title = "同一请求正在处理"
    remedy = "请等待响应头 Retry-After 所示的秒数后,以同样的 Idempotency-Key 重发同样的请求,将得到它的答复。"


class PreconditionError(AppError):
    """It has changed since the caller read it."""

    slug = "precondition-failed"
    status = 412
    title = "内容已被更改"
    remedy = "If-Match 与当前 ETag 不符:请重新读取后再改。"


class ContentTooLargeError(AppError):
    """The body is larger than allowed."""

    slug = "content-too-large"
    status = 413
    title = "请求体过大"
    remedy = "请求体超过了大小上限,未作任何处理:请把内容分成几次提交。"


class UnsupportedMediaError(AppError):
    """The body is not what this API reads, by its own Content-Type."""

    slug = "unsupported-media-type"
    status = 415
    title = "不支持的请求体类型"
    remedy = "请求体须为 UTF-8 编码的 JSON,请求头须写明 Content-Type: application/json。"


class InvalidRequestError(AppError):
    """A parameter or field is missing, unknown or out of bounds."""

    slug = "invalid-request"
    status = 422
    title = "请求内容不合要求"
    remedy = "errors 逐项指出了有问题的参数(pointer)、错误码(code)与原因(detail),改正后重试。"


class InvalidCursorError(InvalidRequestError):
    """The cursor was not given out by this list in this order."""

    slug = "invalid-cursor"
    title = "翻页游标无效"
    remedy = "cursor 只能使用上一页返回的 next_cursor,且排序(sort)须与上一页相同;从头查询请去掉 cursor。"


class UnknownUnitError(InvalidRequestError):
    """No unit has this code or printed name."""

    slug = "unknown-unit"
    title = "没有这个单位"
    remedy = "unit 可填单位编码(如 431228-fgj)或文件中印出的任一名称;可用 /api/v1/units?q= 查找。"


class UnknownReferenceError(InvalidRequestError):
    """A rule or period that does not exist, or a report that nobody owes."""

    slug = "unknown-reference"
    title = "所指的规则、报送期或应报不存在"
    remedy = (
        "请核对规则编码(/api/v1/rules)、报送期写法(如 2023-04、2023-Q2)以及该单位的应报(/api/v1/obligations?unit=)。"
    )


class AmbiguousError(InvalidRequestError):
    """A name or code means several things in different plans or regions."""

    slug = "ambiguous"
    title = "名称或编码不唯一"
    remedy = "candidates 列出了全部候选;请改用完整编码,或加上 plan 参数限定总体方案。"


class KeyReusedError(InvalidRequestError):
    """The ``Idempotency-Key`` was used for another request."""

    slug = "idempotency-key-reused"
    title = "Idempotency-Key 已用于另一请求"
    remedy = "同一个键只能用来重发同一请求;内容有改动的是新的请求,请换一个键(如新的 UUID)。"


class UnreadableFileError(InvalidRequestError):
    """A file that is no form, or has what is not taken."""

    slug = "unreadable-file"
    title = "无法读取文件"
    remedy = (
        "errors 的 code 与 detail 说明了原因。请用下载的表填写,保存为 XLSX,或保存为 CSV(UTF-8 或 GB18030);"
        "其中不能有密码、宏、外部链接与合并的数据行。"
    )


class RateLimitedError(AppError):
    """The caller has made more requests than it may."""

    slug = "rate-limited"
    status = 429
    title = "请求过于频繁"
    remedy = "请等待响应头 Retry-After 所示的秒数后再试;RateLimit 与 RateLimit-Policy 给出余量与限额。"


class HeadersTooLargeError(AppError):
    """The request line and the header are larger than allowed."""

    slug = "headers-too-large"
    status = 431
    title = "请求头过大"
    remedy = "请求行与请求头超过了大小上限:请缩短网址、Cookie 或其他请求头。"


class UnavailableError(AppError):
    """The database does not answer."""

    slug = "unavailable"
    status = 503
    title = "服务暂不可用"
    remedy = "数据库暂时无法连接,请稍后重试;持续出现请联系管理员。"


class TimedOutError(AppError):
    """The request, or one of its statements, took longer than allowed and was stopped."""

    slug = "timed-out"
    status = 503
    title = "处理超时"
    remedy = "处理超过时限,已停止:查询请缩小范围;写入请先查询是否已生效,再决定是否重试;持续出现请联系管理员。"


class IssuerUnreachableError(UnavailableError):
    """Whether a token is to be believed cannot be known now."""

    slug = "issuer-unavailable"
    title = "身份提供方暂不可用"
    remedy = "身份提供方暂时无法访问,无法核验登录令牌,请稍后重试;API 密钥不受影响。"


class InternalError(AppError):
    """An error of ours."""

    slug = "internal-error"
    status = 500
    title = "服务内部错误"
    remedy = "这是服务自身的错误,请把 instance(请求编号)告诉管理员。"


def unreadable(code: str, detail: str) -> UnreadableFileError:
    """The refusal of a whole file for one reason."""
    return UnreadableFileError(detail, faults=[Fault("/body", code, detail)])


def unknown_reference(pointer: str, code: str, detail: str) -> UnknownReferenceError:
    """The refusal of one name that leads nowhere."""
    return UnknownReferenceError(detail, faults=[Fault(pointer, code, detail)])


def summary_of(faults: Sequence[Fault]) -> str:
    """What a request with several faults is refused for (Chinese): the first of them."""
    return "未接受: " + ";".join(fault.detail for fault in faults[:3])


def all_errors() -> list[type[AppError]]:
    """Every error that has a page of its own, by slug."""

    def walk(base: type[AppError]) -> list[type[AppError]]:
        return [leaf for child in base.__subclasses__() for leaf in (child, *walk(child))]

    return sorted(walk(AppError), key=lambda error: error.slug)
