"""The settings: read from the environment and ``.env``, refused where unknown or wrong."""

import os
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import PREFIX, Settings, SettingsError, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory without ``.env`` and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings()
    return str(caught.value)


def test_everything_has_a_default_that_works_on_one_machine() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.data_dir == Path(".data")
    assert settings.database_url is None
    assert settings.service_database_url is None
    assert settings.read_database_url is None
    assert settings.pg_bin is None
    assert settings.pool_size == 4
    assert settings.fragment_cache_size == 20_000
    assert settings.log_level == "info"
    assert (settings.statement_timeout, settings.request_timeout) == (30, 60)
    assert (settings.max_body_size, settings.body_timeout) == (2 * 1024 * 1024, 30)
    assert settings.rate_limit is None
    assert settings.rate_limit_redis_url is None
    assert settings.trusted_proxies is None
    assert settings.cors_origins is None
    assert settings.hsts_max_age == 0


def test_every_setting_is_described_in_chinese() -> None:
    assert all(field.description and not field.description.isascii() for field in Settings.model_fields.values())


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUZHANG_PORT", "9000")
    monkeypatch.setenv("LIUZHANG_DATABASE_URL", "postgresql://u:p@db:5432/plans")
    monkeypatch.setenv("LIUZHANG_FRAGMENT_CACHE_SIZE", "0")
    monkeypatch.setenv("LIUZHANG_DATA_DIR", "/srv/liuzhang")
    settings = read_settings()
    assert settings.port == 9000
    assert settings.database_url == "postgresql://u:p@db:5432/plans"
    assert settings.fragment_cache_size == 0
    assert settings.data_dir == Path("/srv/liuzhang")


def test_the_file_is_read_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# 端口\nLIUZHANG_PORT=9001\nLIUZHANG_WORKERS=3\n", encoding="utf-8")
    assert (read_settings().port, read_settings().workers) == (9001, 3)
    monkeypatch.setenv("LIUZHANG_PORT", "9002")
    assert (read_settings().port, read_settings().workers) == (9002, 3)


def test_an_unknown_variable_is_refused_with_the_list_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUZHANG_PROT", "9000")
    monkeypatch.setenv("LIUZHANG_DATABSE_URL", "postgresql://db")
    message = refusal()
    unknown, _, known = message.partition(";")
    assert unknown == "不认识的设置: LIUZHANG_DATABSE_URL、LIUZHANG_PROT"
    assert all(f"LIUZHANG_{name.upper()}" in known for name in Settings.model_fields)


def test_variables_of_others_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DATABASE_URL", "mysql://db")
    settings = read_settings()
    assert (settings.port, settings.database_url) == (8000, None)


def test_an_unknown_name_in_the_file_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LIUZHANG_PROT=9000\n", encoding="utf-8")
    assert refusal().startswith("不认识的设置: LIUZHANG_PROT;")


def test_the_file_may_hold_what_is_meant_for_others(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\nLIUZHANG_PORT=9001\n", encoding="utf-8")
    assert read_settings().port == 9001


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUZHANG_DATABASE_URL", "")
    assert read_settings().database_url is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", "须为整数"),
        ("PORT", "0", "须不小于 1"),
        ("PORT", "65536", "须不大于 65535"),
        ("WORKERS", "0", "须不小于 1"),
        ("WORKERS", "65", "须不大于 64"),
        ("POOL_SIZE", "0", "须不小于 1"),
        ("POOL_SIZE", "201", "须不大于 200"),
        ("FRAGMENT_CACHE_SIZE", "-1", "须不小于 0"),
        ("FRAGMENT_CACHE_SIZE", "many", "须为整数"),
        ("DATABASE_URL", "mysql://db", "格式不符,须匹配 ^postgres(ql)?://"),
        ("READ_DATABASE_URL", "db:5432", "格式不符,须匹配 ^postgres(ql)?://"),
        ("STATEMENT_TIMEOUT", "0", "须不小于 1"),
        ("REQUEST_TIMEOUT", "1h", "须为整数"),
        ("MAX_BODY_SIZE", "1023", "须不小于 1024"),
        ("BODY_TIMEOUT", "3601", "须不大于 3600"),
        ("RATE_LIMIT", "600", r"格式不符,须匹配 ^[1-9]\d{0,8}/(second|minute|hour|day)$"),
        ("RATE_LIMIT_REDIS_URL", "cache:6379", "格式不符,须匹配 ^rediss?://"),
        ("CORS_ORIGINS", "oa.example.org", r"格式不符,须匹配 ^(\*|https?://[^/,\s]+(,\s*https?://[^/,\s]+)*)$"),
        ("HSTS_MAX_AGE", "-1", "须不小于 0"),
        ("LOG_LEVEL", "loud", "须为以下之一: 'debug'、'info'、'warning'、'error'"),
    ],
)
def test_a_wrong_value_is_told_in_chinese_with_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"LIUZHANG_{name}", value)
    assert refusal() == f"设置有误: LIUZHANG_{name}: {said}"
    monkeypatch.delenv(f"LIUZHANG_{name}")
    (tmp_path / ".env").write_text(f"LIUZHANG_{name}={value}\n", encoding="utf-8")
    assert refusal() == f"设置有误: LIUZHANG_{name}: {said}"


def test_several_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUZHANG_PORT", "abc")
    monkeypatch.setenv("LIUZHANG_WORKERS", "0")
    assert refusal() == "设置有误: LIUZHANG_PORT: 须为整数;LIUZHANG_WORKERS: 须不小于 1"


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().port = 1


@pytest.mark.parametrize(
    "wrong", [{"webhook_targets": "https://oa.example.gov.cn/path"}, {"webhook_networks": "10.20.1.1/16"}]
)
def test_where_webhooks_may_go_is_checked_at_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="LIUZHANG_WEBHOOK_"):
        create_app(Settings(database_url="postgresql://unused", **wrong))  # type: ignore[arg-type]
