"""The vocabulary of a plan: the closed sets of codes that its rows use, each with its Chinese label."""

from enum import StrEnum
from functools import lru_cache
from typing import Self

__all__ = [
    "Accumulation",
    "AnomalyKind",
    "AssignmentRole",
    "Direction",
    "Frequency",
    "HolidayPolicy",
    "Labelled",
    "Obligor",
    "Operator",
    "Qualitative",
    "RuleKind",
    "RuleUnitRole",
    "TaskForceRole",
    "UnitKind",
    "battle_of",
    "plan_of",
    "region_of",
]


class Labelled(StrEnum):
    """A code with a Chinese label; the code is what the API and the database carry."""

    _value_: str
    label: str

    def __new__(cls, value: str, label: str) -> Self:
        """Bind the label to the member without making it part of its value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member


class AssignmentRole(Labelled):
    """Role of a unit in a responsible-unit bracket."""

    LEAD = "lead", "牵头"
    RESPONSIBLE = "responsible", "负责"
    COOPERATING = "cooperating", "配合"


class TaskForceRole(Labelled):
    """Role of a person in a task force."""

    CONVENER = "convener", "召集人"
    VICE_CONVENER = "vice_convener", "副召集人"
    OFFICE_DIRECTOR = "office_director", "专班办公室主任"
    COORDINATOR = "coordinator", "协助领导"


class UnitKind(Labelled):
    """Kind of a responsible unit."""

    COUNTY_BUREAU = "county_bureau", "政府部门"
    PARTY_BODY = "party_body", "党委机构"
    JUDICIAL_BODY = "judicial_body", "法院、检察院"
    MASS_ORGANISATION = "mass_organisation", "群团组织"
    INSTITUTION = "institution", "事业单位"
    TOWNSHIP = "township", "乡镇"
    VERTICAL_AGENCY = "vertical_agency", "垂直管理单位"
    ENTERPRISE = "enterprise", "企业"
    STANDING_GROUP = "standing_group", "议事协调机构"
    COLLECTIVE = "collective", "集合称谓"


class Operator(Labelled):
    """How a figure is compared with its target value."""

    GTE = "gte", "不低于"
    GT = "gt", "高于"
    LTE = "lte", "不高于"
    LT = "lt", "低于"
    EQ = "eq", "等于"
    APPROX = "approx", "左右"
    RANGE = "range", "区间"


class Qualitative(Labelled):
    """Direction of an aim without a figure."""

    INCREASE = "increase", "提高"
    DECREASE = "decrease", "下降"
    IMPROVE = "improve", "向好"
    MAINTAIN = "maintain", "保持"
    ACHIEVE = "achieve", "完成"
    PREVENT = "prevent", "杜绝"


class Direction(Labelled):
    """Which way an indicator is better."""

    HIGHER = "higher", "越高越好"
    LOWER = "lower", "越低越好"
    STEADY = "steady", "保持"


class Accumulation(Labelled):
    """口径: what a reported figure of a period stands for."""

    CUMULATIVE = "cumulative", "累计"
    PERIOD = "period", "当期"
    POINT = "point", "时点"


class RuleKind(Labelled):
    """What a rule governs."""

    REPORTING = "reporting", "进度报送"
    MATERIAL = "material", "材料报送"
    BULLETIN = "bulletin", "简报通报"
    DISPATCH = "dispatch", "调度"
    CERTIFICATION = "certification", "评估认定"
    LEDGER = "ledger", "清单台账"
    SUPERVISION = "supervision", "督办"
    INSPECTION = "inspection", "巡查"
    RANKING = "ranking", "排名"
    SANCTION = "sanction", "追责问责"
    EVALUATION = "evaluation", "考核"
    COMMENDATION = "commendation", "表彰"
    PUBLICITY = "publicity", "宣传"


class RuleUnitRole(Labelled):
    """What a unit is to a rule."""

    RECEIVER = "receiver", "接收单位"
    CERTIFIER = "certifier", "评估认定单位"


class Frequency(Labelled):
    """Period of a rule."""

    DEKAD = "dekad", "旬"
    WEEK = "week", "周"
    MONTH = "month", "月"
    QUARTER = "quarter", "季"
    YEAR = "year", "年"


class Obligor(Labelled):
    """Who owes the reports of a rule."""

    TASK_REPORTER = "task_reporter", "任务的报送单位,一任务一份"
    LEAD_UNIT = "lead_unit", "牵头单位,一单位一份"
    TASK_FORCE = "task_force", "专班(由其办公室所在单位),一仗一份"


class HolidayPolicy(Labelled):
    """What happens to a due day that is no workday."""

    NONE = "none", "不调整"
    NEXT_WORKDAY = "next_workday", "顺延至下一工作日"
    PREVIOUS_WORKDAY = "previous_workday", "提前至上一工作日"


class AnomalyKind(Labelled):
    """What is wrong with a place of the document."""

    MISPRINT = "misprint", "错字"
    CONTRADICTION = "contradiction", "前后矛盾"
    DUPLICATE = "duplicate", "重复"
    OMISSION = "omission", "遗漏"
    AMBIGUITY = "ambiguity", "表述不明"
    NAMING = "naming", "名称不一"


@lru_cache(maxsize=10_000)
def region_of(code: str) -> str:
    """The code of the region that the code of a unit, a plan or anything of a plan begins with."""
    return code.split("-", 1)[0]


@lru_cache(maxsize=10_000)
def plan_of(code: str) -> str:
    """The code of the plan that the code of a battle, group or task begins with."""
    return "-".join(code.split("-")[:2])


@lru_cache(maxsize=10_000)
def battle_of(code: str) -> str:
    """The code of the battle that the code of a group or task begins with."""
    return "-".join(code.split("-")[:3])
