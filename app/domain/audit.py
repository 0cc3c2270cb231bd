"""The audit trail's vocabulary, and its chain of hashes: how one row seals the one before, and what breaks the seal.

Rows stand in chains, one a region and one for what concerns none. The hash of a row is::

    SHA-256(hash of the row before ‖ position as 8 bytes, big-endian ‖ the other columns, each as a field)

where the first row follows 32 zero bytes, a field is ``length:text,`` with the length of its UTF-8 in bytes, and a null
is ``-,``. The columns stand in the order of :data:`HASHED`; an instant is microseconds since 1970-01-01T00:00:00Z.
The function ``append_audit`` in the database computes the same; a test holds both equal.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.domain.plan import Labelled, region_of

__all__ = ["HASHED", "START", "AuditAction", "Break", "ChainCheck", "Head", "chain_of", "hash_of"]


class AuditAction(Labelled):
    """What somebody did."""

    SUBMISSION_CREATE = "submission.create", "新建报送"
    SUBMISSION_EDIT = "submission.edit", "修改报送"
    SUBMISSION_SUBMIT = "submission.submit", "报送"
    SUBMISSION_CERTIFY = "submission.certify", "认定报送"
    SUBMISSION_RETURN = "submission.return", "退回报送"
    SUBMISSION_CORRECT = "submission.correct", "更正报送"
    SUBMISSION_READ_DRAFT = "submission.read_draft", "查看其他单位的草稿"
    EXTENSION_GRANT = "extension.grant", "批准延期"
    WAIVER_GRANT = "waiver.grant", "批准免报或零报告"
    SCHEDULE_SET = "schedule.set", "设定序时进度"
    MATERIAL_CREATE = "material.create", "报送材料"
    ACCOUNT_CREATE = "account.create", "创建账号"
    ACCOUNT_CHANGE = "account.change", "改名、停用或恢复账号"
    ACCOUNT_GRANT = "account.grant", "设定账号的授权"
    KEY_ISSUE = "key.issue", "签发密钥"
    KEY_ROTATE = "key.rotate", "轮换密钥"
    KEY_REVOKE = "key.revoke", "吊销密钥"
    WEBHOOK_CREATE = "webhook.create", "建立 Webhook"
    WEBHOOK_CHANGE = "webhook.change", "修改或暂停 Webhook"
    WEBHOOK_DELETE = "webhook.delete", "删除 Webhook"
    WEBHOOK_TEST = "webhook.test", "试送 Webhook"
    WEBHOOK_ROTATE_SECRET = "webhook.rotate_secret", "轮换 Webhook 的签名密钥"
    WEBHOOK_RESUME = "webhook.resume", "恢复 Webhook"
    WEBHOOK_REDELIVER = "webhook.redeliver", "重送一个事件"
    CALENDAR_SUBSCRIPTION_CREATE = "calendar_subscription.create", "建立日历订阅"
    CALENDAR_SUBSCRIPTION_REVOKE = "calendar_subscription.revoke", "撤销日历订阅"
    PLAN_LOAD = "plan.load", "载入总体方案"
    WORK_ITEM_CREATE = "work_item.create", "建立清单事项"
    WORK_ITEM_CHANGE = "work_item.change", "修改清单事项"
    TARGET_GIVE = "target.give", "补登上级下达的目标值"
    CASE_REGISTER = "case.register", "台账登记"
    CASE_CHANGE = "case.change", "修改台账事项"
    CASE_ASSIGN = "case.assign", "交办"
    CASE_RECEIVE = "case.receive", "签收"
    CASE_START = "case.start", "开始办理"
    CASE_REPORT_DONE = "case.report_done", "报告办结"
    CASE_VERIFY = "case.verify", "核验"
    CASE_RETURN = "case.return", "退回台账事项"
    CASE_CLOSE = "case.close", "销号"
    CASE_REOPEN = "case.reopen", "重新立项"
    CASE_REMIND = "case.remind", "催办"
    CASE_ESCALATE = "case.escalate", "升级督办"
    CASE_RECHECK = "case.recheck", "回头看"
    CASE_ADD_EVIDENCE = "case.add_evidence", "补充佐证"
    BULLETIN_CREATE = "bulletin.create", "编制简报通报"
    BULLETIN_EDIT = "bulletin.edit", "修改简报通报"
    BULLETIN_DISCARD = "bulletin.discard", "作废简报通报的草稿"
    BULLETIN_ISSUE = "bulletin.issue", "印发简报通报"
    RANKING_RECORD = "ranking.record", "登记排名"
    RANKING_CORRECT = "ranking.correct", "更正排名"
    INSPECTION_RECORD = "inspection.record", "登记巡查"
    INSPECTION_CHANGE = "inspection.change", "修改巡查"
    SCHEME_CREATE = "scheme.create", "制定考核办法"
    FAULT_RECORD = "fault.record", "登记错报、瞒报"
    FAULT_ANSWER = "fault.answer", "单位申辩"
    FAULT_DECIDE = "fault.decide", "认定或撤销错报、瞒报"
    ASSESSMENT_MARK = "assessment.mark", "考核评分"
    ASSESSMENT_FREEZE = "assessment.freeze", "考核定案"
    APPEAL_FILE = "appeal.file", "考核申诉"
    APPEAL_DECIDE = "appeal.decide", "考核复核"


HASHED: Final = (
    *("chain", "at", "actor", "actor_name", "address", "request_id", "action", "subject", "plan", "unit"),
    *("before", "after"),
)
"""The columns that a hash covers, beside the position and the hash before."""

START: Final = bytes(32)
"""What the first row of a chain follows."""

_SERVICE = "service"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chain_of(plan: str | None, unit: str | None) -> str:
    """The chain of an act: the region that the codes of its unit and plan begin with, or that of the service itself."""
    return region_of(unit or plan or _SERVICE)


def hash_of(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """The hash of a row (``before`` and ``after`` as their text) that follows one with the hash ``previous``."""
    fields = "".join(_field(row[name]) for name in HASHED)
    return hashlib.sha256(previous + row["position"].to_bytes(8, "big", signed=True) + fields.encode()).digest()


def _field(value: str | datetime | None) -> str:
    if value is None:
        return "-,"
    text = str((value - _EPOCH) // timedelta(microseconds=1)) if isinstance(value, datetime) else value
    return f"{len(text.encode())}:{text},"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row of a chain, or any row as somebody noted it: where it stands, and its hash."""

    chain: str
    position: int
    hash: bytes

    def __str__(self) -> str:
        """As it is noted and given back: ``chain:position:hash``."""
        return f"{self.chain}:{self.position}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain is not as it was written, and how (Chinese)."""

    chain: str
    position: int
    detail: str

    def __str__(self) -> str:
        """As it is told (Chinese)."""
        return f"链 {self.chain} 第 {self.position} 条: {self.detail}"


class ChainCheck:
    """Checks one chain, row by row in the order of positions, in constant memory."""

    def __init__(self, chain: str, noted: Mapping[int, bytes]) -> None:
        """``noted`` are hashes that somebody noted outside the database, by position."""
        self.head = Head(chain, 0, START)
        self._noted = dict(noted)

    def row(self, row: Mapping[str, Any]) -> Iterator[Break]:
        """What is wrong with the next row."""
        chain, position, before = self.head.chain, row["position"], self.head
        missing = position - before.position - 1
        if missing:
            yield Break(chain, before.position + 1, f"缺少 {missing} 条(第 {before.position + 1} 至 {position - 1} 条)")
        elif row["previous_hash"] != before.hash:
            yield Break(chain, position, "与前一条不衔接:所记的前一条的哈希不是前一条的哈希")
        if hash_of(row["previous_hash"], row) != row["hash"]:
            yield Break(chain, position, "内容与哈希不符,已被改动")
        noted = self._noted.pop(position, None)
        if noted is not None and noted != row["hash"]:
            yield Break(chain, position, "哈希与另行记下的不同,此条或其前各条已被改写")
        self.head = Head(chain, position, row["hash"])

    def end(self, head: Head | None) -> Iterator[Break]:
        """What is wrong at the end of the chain; ``head`` is where the database says that it ends."""
        last = self.head
        if head is None:
            if last.position:
                yield Break(last.chain, last.position, "没有链尾记录,链尾记录已被删除,或各条是另行写入的")
        elif head.position > last.position:
            yield Break(
                last.chain, last.position + 1, f"缺少末尾 {head.position - last.position} 条(至第 {head.position} 条)"
            )
        elif head != last:
            yield Break(last.chain, last.position, "链尾记录与最后一条不符,链尾记录已被改动,或有另行写入的条目")
        for position in sorted(self._noted):
            if position > last.position:
                yield Break(last.chain, position, "另行记下的此条已不存在")
