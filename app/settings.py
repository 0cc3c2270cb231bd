"""The settings of the service: the only reader of the environment."""

import os
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.client.environment import VARIABLES
from app.validation import explain_validation

__all__ = ["Settings", "SettingsError", "listed", "read_settings"]

PREFIX = "LIUZHANG_"


class SettingsError(ValueError):
    """A setting is unknown or wrong; the message (Chinese) names it and says what is allowed."""


class Settings(BaseSettings):
    """Every setting, read from ``LIUZHANG_*`` variables and from ``.env``; unknown ones are refused."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = Field(default="127.0.0.1", description="监听地址")
    port: int = Field(default=8000, ge=1, le=65535, description="监听端口")
    workers: int = Field(default=1, ge=1, le=64, description="服务进程数")
    data_dir: Path = Field(default=Path(".data"), description="内嵌 PostgreSQL 的数据目录")
    database_url: str | None = Field(
        default=None,
        pattern=r"^postgres(ql)?://",
        description="外部 PostgreSQL(15 及以上)的地址;留空则启动内嵌的 PostgreSQL",
    )
    service_database_url: str | None = Field(
        default=None,
        pattern=r"^postgres(ql)?://",
        description="服务自身连接外部 PostgreSQL 的地址,以 liuzhang_service 或其成员登录;留空则同上,并改用该角色",
    )
    read_database_url: str | None = Field(
        default=None, pattern=r"^postgres(ql)?://", description="只读查询所用的地址,如只读副本;留空则同上"
    )
    pg_bin: Path | None = Field(default=None, description="内嵌 PostgreSQL 的程序目录;留空则取自 Python 包")
    pool_size: int = Field(default=4, ge=1, le=200, description="每个服务进程的数据库连接数")
    fragment_cache_size: int = Field(default=20_000, ge=0, description="每个服务进程缓存的片段数")
    statement_timeout: int = Field(default=30, ge=1, le=3600, description="一条数据库语句的时限,秒")
    request_timeout: int = Field(default=60, ge=1, le=3600, description="处理一个请求的时限,秒")
    shutdown_timeout: int = Field(default=60, ge=1, le=3600, description="停止时等待未完成的请求的时限,秒")
    shutdown_delay: int = Field(
        default=0, ge=0, le=300, description="停止时先报告未就绪、仍接受请求的秒数;供负载均衡器转走请求"
    )
    max_body_size: int = Field(default=2 * 1024 * 1024, ge=1024, description="请求体的大小上限,字节")
    max_file_size: int = Field(default=10 * 1024 * 1024, ge=1024, description="上传文件(XLSX、CSV)的大小上限,字节")
    body_timeout: int = Field(default=30, ge=1, le=3600, description="接收请求体的时限,秒")
    idempotency_lifetime: int = Field(
        default=86_400, ge=60, le=31_536_000, description="Idempotency-Key 及其答复保留的时长,秒"
    )
    rate_limit: str | None = Field(
        default=None,
        pattern=r"^[1-9]\d{0,8}/(second|minute|hour|day)$",
        description="每个调用方的请求限额,如 600/minute;留空则不限",
    )
    rate_limit_redis_url: str | None = Field(
        default=None, pattern=r"^rediss?://", description="各服务进程共用限额时 Redis 的地址;留空则各进程各自计数"
    )
    trusted_proxies: str | None = Field(
        default=None, description="可信的反向代理的网段,逗号分隔;只采信它们写的 X-Forwarded-For"
    )
    cors_origins: str | None = Field(
        default=None,
        pattern=r"^(\*|https?://[^/,\s]+(,\s*https?://[^/,\s]+)*)$",
        description="可跨域调用的网页来源,逗号分隔,如 https://oa.example.org;留空则一律不许",
    )
    hsts_max_age: int = Field(
        default=0, ge=0, description="Strict-Transport-Security 的秒数;0 为不发;只在全程 HTTPS 时设置"
    )
    environment: str = Field(
        default="prod",
        pattern=r"^[a-z][a-z0-9]{0,15}$",
        description="环境名,写在 API 密钥中;测试与正式环境须不同,密钥不能混用",
    )
    public_plan: bool = Field(default=True, description="方案(任务、单位、目标、规则等)不经认证即可查阅")
    public_progress: bool = Field(default=False, description="进度、应报与按时率不经认证即可查阅;草稿除外")
    oidc_issuer: str | None = Field(default=None, description="身份提供方(OpenID Connect)的地址,即令牌的 iss")
    oidc_audience: str | None = Field(default=None, description="令牌的受众(aud),即本服务在身份提供方的编号")
    oidc_algorithms: str = Field(default="RS256", description="令牌可用的签名算法,逗号分隔")
    oidc_jwks_url: str | None = Field(default=None, description="身份提供方的公钥集地址;留空则由其发现文档得知")
    oidc_ca_file: Path | None = Field(default=None, description="身份提供方的根证书(PEM);留空则用公共根证书")
    oidc_grants_claim: str = Field(default="liuzhang_grants", min_length=1, description="令牌中列出授权的声明")
    oidc_leeway: int = Field(default=30, ge=0, le=120, description="与身份提供方的时钟误差,秒")
    oidc_key_lifetime: int = Field(default=3600, ge=1, description="公钥缓存时长,秒")
    oidc_key_maximum_age: int = Field(default=86_400, ge=1, description="身份提供方无法访问时公钥最长使用时长,秒")
    oidc_refetch_interval: int = Field(default=60, ge=1, description="重取公钥的最短间隔,秒")
    oidc_timeout: int = Field(default=5, ge=1, le=60, description="身份提供方须在此时间内应答,秒")
    webhook_targets: str | None = Field(
        default=None,
        description="Webhook 可送往的主机,逗号分隔,如 oa.example.gov.cn,*.example.gov.cn;留空则不能建立 Webhook",
    )
    webhook_networks: str | None = Field(
        default=None, description="Webhook 可送往的内网网段,逗号分隔;不在公网、又不在其中的地址一律不送"
    )
    webhook_key: str | None = Field(
        default=None, min_length=32, description="导出各 Webhook 签名密钥的总密钥,至少 32 个字符;更换则全部密钥随之更换"
    )
    webhook_timeout: int = Field(default=10, ge=1, le=60, description="Webhook 接收方须在此时间内答复,秒")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="日志级别")
    log_format: Literal["text", "json"] = Field(default="text", description="日志格式:text 便于阅读,json 每行一个对象")
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+",
        description="OpenTelemetry 收集器的地址(OTLP/HTTP),如 http://127.0.0.1:4318;留空则不追踪",
    )


def listed(text: str | None) -> list[str]:
    """The parts of a setting that is a list, with commas between; none where it is not set."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a ``LIUZHANG_*`` variable is unknown, or a value is not allowed.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    # The client commands have variables of their own, which may stand in the same environment.
    given = {*(os.environ.keys() - VARIABLES.keys()), *dotenv_values(".env")}
    unknown = sorted(name for name in given if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(f"不认识的设置: {'、'.join(unknown)};可用的设置: {'、'.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(item['loc'][0]).upper().removeprefix(PREFIX)}: "
            f"{explain_validation(item['type'], item.get('ctx', {}), item['msg'])}"
            for item in error.errors(include_url=False)
        ]
        raise SettingsError("设置有误: " + ";".join(lines)) from None
