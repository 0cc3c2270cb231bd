"""What ``liuzhang doctor`` looks at in the database."""

from datetime import timedelta

import asyncpg

import migrations
from app.cli.database import OLDEST_POSTGRESQL, check_service
from app.cli.failures import UsageError
from app.cli.findings import Finding, Verdict
from app.clock import system_clock
from app.db import PROTECTED, SERVICE_ROLE
from app.settings import Settings

__all__ = ["look_into"]

_CLOCK_WARN, _CLOCK_FAIL = timedelta(seconds=2), timedelta(minutes=1)
_LAG_WARN = timedelta(minutes=1)
# What a service connects with beside its pools: migrations, commands, somebody looking.
_SPARE_CONNECTIONS = 10
_OWNED = """
    SELECT count(*) FROM pg_shdepend d
    WHERE d.deptype = 'o' AND d.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
      AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_OPEN = """
    SELECT string_agg(relname, '、' ORDER BY relname) FROM pg_class
    WHERE relnamespace = CAST('public' AS regnamespace) AND relname = ANY ($1) AND NOT relrowsecurity
"""
_BROKEN_ENDS = """
    SELECT string_agg(h.chain, '、' ORDER BY h.chain) FROM audit_heads h LEFT JOIN LATERAL (
        SELECT e.position, e.hash FROM audit_entries e WHERE e.chain = h.chain ORDER BY e.position DESC LIMIT 1
    ) e ON true
    WHERE (e.position, e.hash) IS DISTINCT FROM (h.position, h.hash)
"""
_DISABLED = """
    SELECT string_agg(DISTINCT CAST(CAST(tgrelid AS regclass) AS text), '、') FROM pg_trigger
    WHERE tgname LIKE 'refuse%' AND tgenabled = 'D'
"""
_WEBHOOKS = """
    SELECT count(*) AS webhooks,
           count(*) FILTER (WHERE state = 'paused' AND pause_reason <> 'requested') AS paused,
           coalesce(sum((SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'dead')), 0)
               AS dead
    FROM webhooks w
"""


async def look_into(settings: Settings, url: str) -> list[Finding]:
    """All findings about the database at ``url``, the owner's address."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        structure = await _structure(connection)
        findings = [
            await _server(connection),
            await _clock(connection),
            structure,
            await _keys(connection, settings),
            await _connections(connection, settings),
        ]
        if structure.verdict is Verdict.OK:
            findings += [
                await _service_role(connection, settings.service_database_url or url),
                await _trail(connection),
                await _events(connection),
                await _webhooks(connection, settings),
            ]
    finally:
        await connection.close()
    if settings.read_database_url is not None:
        findings.append(await _replica(settings.read_database_url))
    return findings


async def _server(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    row = await connection.fetchrow(
        "SELECT current_setting('server_version') AS version, pg_encoding_to_char(encoding) AS encoding, "
        "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate) AS collation "
        "FROM pg_database d WHERE datname = current_database()"
    )
    assert row is not None, "one is connected to it"
    told = f"PostgreSQL {row['version']},编码 {row['encoding']},排序规则 {row['collation']}"
    if connection.get_server_version().major < OLDEST_POSTGRESQL:
        return Finding("数据库", Verdict.FAIL, told, f"请升级到 PostgreSQL {OLDEST_POSTGRESQL} 或更新")
    if row["encoding"] != "UTF8":
        return Finding("数据库", Verdict.FAIL, told, "请以编码 UTF8 重建数据库")
    if row["collation"] not in {"C", "POSIX", "C.UTF-8", "C.UTF8", "C.utf8"}:
        return Finding("数据库", Verdict.WARN, told, "列表次序会与印发的次序不同;请以排序规则 C 或 C.UTF-8 重建数据库")
    return Finding("数据库", Verdict.OK, told)


async def _clock(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    before = system_clock()
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    after = system_clock()
    # What lies between question and answer is no difference.
    apart = max(before - theirs, theirs - after, timedelta())
    told = f"本机 {after.isoformat(timespec='seconds')},与数据库相差 {apart.total_seconds():.1f} 秒"
    if apart > _CLOCK_FAIL:
        return Finding("时钟", Verdict.FAIL, told, "期限以本机时钟为准;请在两台机器上启用 NTP 对时")
    if apart > _CLOCK_WARN:
        return Finding("时钟", Verdict.WARN, told, "请在两台机器上启用 NTP 对时")
    return Finding("时钟", Verdict.OK, told)


async def _structure(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    known = migrations.revisions()
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return Finding("表结构", Verdict.FAIL, "还没有表", "请运行 liuzhang migrate")
    current = await connection.fetchval("SELECT version_num FROM alembic_version")
    if current not in known:
        return Finding(
            "表结构", Verdict.FAIL, f"版本 {current} 不为本程序所知", "数据库由更新的版本升级过;请升级本程序"
        )
    if current != known[0]:
        return Finding("表结构", Verdict.FAIL, f"版本 {current},最新为 {known[0]}", "请运行 liuzhang migrate")
    return Finding("表结构", Verdict.OK, f"版本 {current},已是最新")


async def _keys(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    """Whether there is a key that works here, told by the environment that is part of every key."""
    if await connection.fetchval("SELECT to_regclass('api_keys')") is None:
        return Finding("API 密钥", Verdict.WARN, "还没有密钥表", "请运行 liuzhang migrate")
    valid = await connection.fetchval(
        "SELECT count(*) FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.revoked_at IS NULL "
        "AND a.disabled_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
    )
    told = f"有效的 {valid} 个;本环境({settings.environment})只接受以 lz_{settings.environment}_ 开头的"
    if valid == 0 and settings.oidc_issuer is None:
        return Finding(
            "API 密钥", Verdict.WARN, told, "没有人能登录;请运行 liuzhang account create 名称 --grant administrator"
        )
    return Finding("API 密钥", Verdict.OK, told)


async def _connections(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    limit = int(await connection.fetchval("SHOW max_connections"))
    pools = 2 if settings.read_database_url is None else 1
    # Each process has one more, to lead with or to wait for its turn.
    wanted = settings.workers * (settings.pool_size * pools + 1)
    told = (
        f"{settings.workers} 个进程 ×({settings.pool_size} 个连接 × {pools} 个连接池 + 1)= {wanted},数据库至多 {limit}"
    )
    if wanted > limit:
        return Finding(
            "连接数", Verdict.FAIL, told, "请减小 LIUZHANG_POOL_SIZE 或 LIUZHANG_WORKERS,或增大 max_connections"
        )
    if wanted + _SPARE_CONNECTIONS > limit:
        return Finding("连接数", Verdict.WARN, told, f"请为维护留出约 {_SPARE_CONNECTIONS} 个连接")
    return Finding("连接数", Verdict.OK, told)


async def _service_role(connection: "asyncpg.Connection[asyncpg.Record]", url: str) -> Finding:
    """Whether the service, which logs in with ``url``, can work as its role, and policies hold for it."""
    try:
        await check_service(url)
    except UsageError as error:
        return Finding("服务的角色", Verdict.FAIL, str(error), "在此之前服务不能启动")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        told = f"服务登录不了: {error or type(error).__name__}"
        return Finding("服务的角色", Verdict.FAIL, told, "请检查 LIUZHANG_SERVICE_DATABASE_URL")
    owned = await connection.fetchval(_OWNED, SERVICE_ROLE)
    if owned:
        told = f"{SERVICE_ROLE} 是 {owned} 个对象的属主,对它们不受约束"
        return Finding("服务的角色", Verdict.FAIL, told, f"请执行 REASSIGN OWNED BY {SERVICE_ROLE} TO CURRENT_USER")
    open_tables = await connection.fetchval(_OPEN, list(PROTECTED))
    if open_tables:
        told = f"表 {open_tables} 没有启用行级安全"
        return Finding("服务的角色", Verdict.FAIL, told, "请对它们执行 ALTER TABLE … ENABLE ROW LEVEL SECURITY")
    return Finding("服务的角色", Verdict.OK, f"{SERVICE_ROLE} 可用,不是任何东西的属主,受行级安全约束")


async def _trail(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Whether each chain ends where it is said to; to check every row takes a while."""
    broken = await connection.fetchval(_BROKEN_ENDS)
    if broken:
        told = f"链 {broken} 的链尾记录与最后一条不符,有人在数据库中直接改动过"
        return Finding("审计记录", Verdict.FAIL, told, "请运行 liuzhang audit-verify 查明,并与另行记下的链尾、备份对照")
    disabled = await connection.fetchval(_DISABLED)
    if disabled:
        told = f"表 {disabled} 上拒绝改动的触发器被停用"
        return Finding("审计记录", Verdict.FAIL, told, "请查明是谁停用的,执行 ALTER TABLE … ENABLE ALWAYS TRIGGER 恢复")
    chains, entries = await connection.fetchrow("SELECT count(*), coalesce(sum(position), 0) FROM audit_heads") or (
        0,
        0,
    )
    return Finding(
        "审计记录", Verdict.OK, f"{chains} 条链共 {entries} 条,链尾相符;逐条核对请运行 liuzhang audit-verify"
    )


async def _events(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    waiting, oldest = await connection.fetchrow("SELECT count(*), min(at) FROM outbox") or (0, None)
    if oldest is not None and (late := system_clock() - oldest) > _LAG_WARN:
        told = f"{waiting} 个事件还没有进入事件流,最早的已等 {late.total_seconds():.0f} 秒"
        return Finding("事件", Verdict.WARN, told, "请确认服务在运行;在运行的,查看日志中来自 liuzhang.leader 的警告")
    return Finding("事件", Verdict.OK, "都已进入事件流" if not waiting else f"{waiting} 个正在进入事件流")


async def _webhooks(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    row = await connection.fetchrow(_WEBHOOKS)
    assert row is not None, "a count of nothing is 0"
    told = f"{row['webhooks']} 个,其中 {row['paused']} 个因送不到而暂停;死信 {row['dead']} 个"
    if row["webhooks"] and (settings.webhook_key is None or settings.webhook_targets is None):
        remedy = "请设置 LIUZHANG_WEBHOOK_KEY(与原来的相同)与 LIUZHANG_WEBHOOK_TARGETS,否则一个也送不出"
        return Finding("Webhook", Verdict.FAIL, told, remedy)
    if row["paused"] or row["dead"]:
        remedy = "请所属账号查看 /webhooks/{id}/deliveries;接收方恢复后 POST /webhooks/{id}/resume"
        return Finding("Webhook", Verdict.WARN, told, remedy)
    return Finding("Webhook", Verdict.OK, told)


async def _replica(url: str) -> Finding:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return Finding(
            "只读数据库",
            Verdict.FAIL,
            f"连接不上: {error or type(error).__name__}",
            "请检查 LIUZHANG_READ_DATABASE_URL",
        )
    try:
        if not await connection.fetchval("SELECT pg_is_in_recovery()"):
            return Finding("只读数据库", Verdict.OK, "不是副本,没有延迟")
        # Nothing to replay is no lag, however long ago the last change was.
        lag: timedelta | None = await connection.fetchval(
            "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN interval '0' "
            "ELSE now() - pg_last_xact_replay_timestamp() END"
        )
    finally:
        await connection.close()
    if lag is None or lag > _LAG_WARN:
        return Finding("只读数据库", Verdict.WARN, f"副本延迟 {lag or '未知'}", "请检查流复制")
    return Finding("只读数据库", Verdict.OK, f"副本延迟 {lag.total_seconds():.1f} 秒")
