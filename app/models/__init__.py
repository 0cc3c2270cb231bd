"""The tables, by aggregate. Importing this package registers all of them with ``Base.metadata``."""

from app.models.account import Account, AccountGrant, ApiKey
from app.models.anomaly import Anomaly
from app.models.assessment import Appeal, Assessment, AssessmentScheme, Mark, ReportingFault
from app.models.audit import AuditEntry, AuditHead
from app.models.base import Base
from app.models.battle import Battle, TaskForce, TaskForceHead, TaskForceMember
from app.models.bulletin import Bulletin
from app.models.calendar_subscription import CalendarSubscription
from app.models.case import Case, CaseEvidence, CaseStep, RaisedCaseReminder
from app.models.event import Event, OutboxEvent, RaisedReminder, ReminderProgress
from app.models.given_figure import GivenFigure
from app.models.idempotency import IdempotencyKey
from app.models.inspection import Inspection, InspectionFinding, InspectionRevision
from app.models.material import Material
from app.models.obligation import ComplianceCount, Extension, Obligation, Waiver
from app.models.plan import Plan, Region, SuperiorDocument
from app.models.ranking import Ranking, RankingEntry, RankingRevision
from app.models.rule import Rule, RuleUnit, RuleVersion
from app.models.schedule import ProgressSchedule, ScheduleStretch
from app.models.search import SearchEntry
from app.models.submission import Observation, Submission, SubmissionRevision, SubmissionTransition
from app.models.target import Indicator, Target
from app.models.task import Assignment, Clause, Task, TaskGroup
from app.models.unit import Unit, UnitAlias
from app.models.webhook import Webhook, WebhookDelivery
from app.models.work_item import WorkItem, WorkItemRevision

__all__ = [
    "Account",
    "AccountGrant",
    "Anomaly",
    "ApiKey",
    "Appeal",
    "Assessment",
    "AssessmentScheme",
    "Assignment",
    "AuditEntry",
    "AuditHead",
    "Base",
    "Battle",
    "Bulletin",
    "CalendarSubscription",
    "Case",
    "CaseEvidence",
    "CaseStep",
    "Clause",
    "ComplianceCount",
    "Event",
    "Extension",
    "GivenFigure",
    "IdempotencyKey",
    "Indicator",
    "Inspection",
    "InspectionFinding",
    "InspectionRevision",
    "Mark",
    "Material",
    "Obligation",
    "Observation",
    "OutboxEvent",
    "Plan",
    "ProgressSchedule",
    "RaisedCaseReminder",
    "RaisedReminder",
    "Ranking",
    "RankingEntry",
    "RankingRevision",
    "Region",
    "ReminderProgress",
    "ReportingFault",
    "Rule",
    "RuleUnit",
    "RuleVersion",
    "ScheduleStretch",
    "SearchEntry",
    "Submission",
    "SubmissionRevision",
    "SubmissionTransition",
    "SuperiorDocument",
    "Target",
    "Task",
    "TaskForce",
    "TaskForceHead",
    "TaskForceMember",
    "TaskGroup",
    "Unit",
    "UnitAlias",
    "Waiver",
    "Webhook",
    "WebhookDelivery",
    "WorkItem",
    "WorkItemRevision",
]
