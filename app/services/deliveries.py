"""What has come of each event on its way to a webhook, for its owner."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, cast, func, select, text

from app.db import Database, Query
from app.domain.actions import delivery_actions
from app.domain.audit import AuditAction
from app.domain.events import event_id, position_of
from app.errors import NotFoundError
from app.models import Event, Webhook, WebhookDelivery
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.webhook import DeliveryPage, DeliveryQuery, DeliveryRead
from app.services.audit import Act, record
from app.services.caller import Caller
from app.services.reader import Reader, decoded, page_request
from app.services.webhooks import webhook_of

__all__ = ["list_deliveries", "redeliver"]

_KEY = WebhookDelivery.position
_COLUMNS: Statement = (
    select(
        _KEY.label("sort_key"),
        WebhookDelivery.position,
        Event.type,
        WebhookDelivery.unit,
        WebhookDelivery.state,
        WebhookDelivery.tries,
        # Where a webhook as a whole is held up, so is each.
        func.greatest(WebhookDelivery.next_try_at, func.coalesce(Webhook.retry_at, WebhookDelivery.next_try_at)).label(
            "next_try_at"
        ),
        WebhookDelivery.settled_at,
        cast(WebhookDelivery.attempts, Text).label("attempts"),
    )
    .join(Event, Event.position == WebhookDelivery.position)
    .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
)
_OF = WebhookDelivery.webhook_id == bindparam("webhook", type_=Uuid)
_LISTING = Listing(
    statement=_COLUMNS,
    key=_KEY,
    sorts={"event": _KEY},
    conditions={"webhook": _OF, "state": WebhookDelivery.state == bindparam("state")},
)
_ONE = Query(_COLUMNS.where(_OF, WebhookDelivery.position == bindparam("position")))
_LOCK = Query(
    text("SELECT state FROM webhook_deliveries WHERE webhook_id = :webhook AND position = :position FOR UPDATE")
)
_AGAIN = Query(
    text("""
    UPDATE webhook_deliveries
    SET state = 'pending', tries = 0, next_try_at = CAST(:now AS timestamptz), settled_at = NULL
    WHERE webhook_id = :webhook AND position = :position
""")
)


async def list_deliveries(
    reader: Reader, webhook: UUID, query: DeliveryQuery, known: Known, *, caller: Caller
) -> Rendered:
    """One page of what a webhook was, or is to be, told.

    Raises:
        NotFoundError: the caller has no such webhook.
    """
    await webhook_of(reader.pool, webhook, caller)
    filters: dict[str, dict[str, Any]] = {"webhook": {"webhook": webhook}}
    if query.state is not None:
        filters["state"] = {"state": query.state.value}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_shown(row) for row in page.rows]
    return render(DeliveryPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def redeliver(db: Database, webhook: UUID, event: str, *, now: datetime, caller: Caller) -> DeliveryRead:
    """Send an event once more, whatever has become of it; of what waits for its unit it goes first.

    Raises:
        NotFoundError: the caller has no such webhook, or it was never to be told of this event, or long ago.
    """
    await webhook_of(db, webhook, caller)
    here = {"webhook": webhook, "position": position_of(event)}
    was = await db.fetch_value(_LOCK, **here)
    if was is None:
        raise NotFoundError(f"这个 Webhook 没有事件 {event} 的送达记录")
    await db.fetch(_AGAIN, **here, now=now)
    again = _shown(await db.fetch_row(_ONE, **here))
    before, after = ({"event": event, "state": state} for state in (was, again.state))
    act = Act(AuditAction.WEBHOOK_REDELIVER, str(webhook), before=before, after=after)
    await record(db, caller, [act], now=now)
    return again


def _shown(row: Any) -> DeliveryRead:
    names = ("type", "unit", "state", "tries", "next_try_at", "settled_at")
    shown = {name: row[name] for name in names}
    return DeliveryRead.model_validate(
        {
            "event": event_id(row["position"]),
            "attempts": decoded(row["attempts"]),
            "allowed_actions": delivery_actions(),
            **shown,
        }
    )
